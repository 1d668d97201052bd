/*
 * mission-control-sandbox: a stand-in for the backend and the gateway, for the demo, the tests and
 * the benchmark (docs/sandbox.md). One thread serves everything, so no state needs a lock. Signals
 * are blocked and read from a signalfd (server.c); SIGTERM and SIGINT end the program with status
 * 0.
 */
#include <openssl/crypto.h>
#include <signal.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "options.h"
#include "sandbox.h"
#include "server.h"

/* Hundreds of concurrent runs need more descriptors than the default soft limit allows. */
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

static int report_error(const struct error *error, int status)
{
    fprintf(stderr, "mission-control-sandbox: %s\n", error->text);
    return status;
}

static int serve_until_signal(struct sandbox *sandbox)
{
    struct server *server;
    struct error error;
    struct server_handler handler = sandbox_handler(sandbox);
    const struct options *options = &sandbox->options;
    int result = server_create(options->host, options->port, &handler, &server, &error);
    if (result != 0)
        return report_error(&error, result == ERROR_UNREACHABLE ? EX_UNAVAILABLE : EX_OSERR);
    bool is_ipv6 = strchr(options->host, ':') != NULL;
    printf("listening on http://%s%s%s:%u\n", is_ipv6 ? "[" : "", options->host, is_ipv6 ? "]" : "",
        server_port(server));
    fflush(stdout);
    if (server_is_on_all_addresses(server))
        fputs("mission-control-sandbox: listening on all addresses of this machine: whoever "
              "reaches one can read and change the board\n",
            stderr);
    result = server_run(server, &error);
    server_destroy(server);
    return result == 0 ? EX_OK : report_error(&error, EX_OSERR);
}

static int run_sandbox(struct options *options)
{
    struct sandbox sandbox;
    block_signals();
    raise_descriptor_limit();
    sandbox_init(&sandbox, options);
    int status = serve_until_signal(&sandbox);
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
        status = report_error(&error, EX_USAGE);
        fputs("See --help.\n", stderr);
    } else if (options.help) {
        options_print_help();
    } else if (options.version) {
        puts("mission-control-sandbox " MISSION_CONTROL_VERSION);
    } else {
        status = run_sandbox(&options);
    }
    options_fini(&options);
    return status;
}
