#include <openssl/crypto.h>
#include <signal.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "options.h"
#include "sandbox.h"
#include "server.h"

/* Hundreds of agents at once need more descriptors than the usual soft limit allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int complain(const struct error *error, int status)
{
    fprintf(stderr, "mission-control-sandbox: %s\n", error->text);
    return status;
}

static int serve(struct sandbox *sandbox)
{
    struct server *server;
    struct error error;
    struct server_handler handler = sandbox_handler(sandbox);
    const struct options *options = &sandbox->options;
    int result = server_create(options->host, options->port, &handler, &server, &error);
    if (result != 0)
        return complain(&error, result == ERROR_UNREACHABLE ? EX_UNAVAILABLE : EX_OSERR);
    bool is_ipv6 = strchr(options->host, ':') != NULL;
    printf("listening on http://%s%s%s:%u\n", is_ipv6 ? "[" : "", options->host, is_ipv6 ? "]" : "",
        server_port(server));
    fflush(stdout);
    result = server_run(server, &error);
    server_destroy(server);
    return result == 0 ? EX_OK : complain(&error, EX_OSERR);
}

static int run(struct options *options)
{
    struct sandbox sandbox;
    block_signals();
    raise_descriptor_limit();
    sandbox_init(&sandbox, options);
    int status = serve(&sandbox);
    sandbox_fini(&sandbox);
    OPENSSL_cleanup();
    return status;
}

int main(int argument_count, char **arguments)
{
    struct options options;
    struct error error;
    int status = EX_OK;
    if (options_read(argument_count, arguments, &options, &error) != 0) {
        status = complain(&error, EX_USAGE);
        fputs("Try --help.\n", stderr);
    } else if (options.help) {
        options_print_help();
    } else if (options.version) {
        puts("mission-control-sandbox " MISSION_CONTROL_VERSION);
    } else {
        status = run(&options);
    }
    options_fini(&options);
    return status;
}
