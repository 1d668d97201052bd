/*
 * From the arguments to an exit status. Every action but --help and --version loads the settings
 * first and prints what is wrong with them; then it either runs the runtime until a signal or the
 * backend ends it, or executes one command (src/cli) and exits.
 *
 * What has to happen before anything else opens a file, allocates or starts a thread is done here:
 * the standard descriptors, what keeps others from reading our memory (protect.c), malloc's and
 * Jansson's process-wide settings, the signal mask, and the fork of process 1.
 *
 * In a container without an init the runtime is process 1, and the kernel makes it the parent of
 * every orphan: of what the gateway's tools leave running in sessions of their own, and of a health
 * check that outlives its caller. Nobody else can reap those, and each one that ends unreaped keeps
 * a process id until the container can start nothing any more.
 *
 * Reaping any child from within the runtime would take exit statuses from the threads that wait for
 * theirs (base/process.c). So process 1 does nothing else, and the runtime is its child; no other
 * process in the runtime has to know. When the runtime ends, so does process 1, and the kernel
 * kills whatever is left in the namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/secret.h"
#include "base/watch.h"
#include "cli/commands.h"
#include "config/config.h"
#include "config/usage.h"
#include "protect.h"
#include "runtime.h"
#include "signals.h"

/* The commit that was built; "" when it is not known. Set by the Makefile. */
#ifndef MISSION_CONTROL_COMMIT
#define MISSION_CONTROL_COMMIT ""
#endif

static const char component[] = "Runtime";

/*
 * Two arenas, because each one retains memory and our threads mostly wait. A fixed mmap threshold,
 * because glibc raises it after the first large buffer is freed; later ones would then come from
 * the heap, stay there, and be copied to grow.
 */
enum { MALLOC_ARENAS = 2, LARGE_BUFFER_BYTES = 128 * 1024 };

/* What a worker may have open at a time, and what all else may; a quarter goes to the HTTP server.
 */
enum { DESCRIPTORS_PER_WORKER = 8, DESCRIPTORS_BESIDE = 64 };

/* Reaps all that have ended. Returns whether the runtime was among them, with its status. */
static bool init_reap(pid_t runtime, int *exit_status)
{
    bool ended = false;
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != runtime)
            continue;
        ended = true;
        *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return ended;
}

/*
 * Does nothing unless this is process 1 of its PID namespace. Then forks: the child returns false
 * and goes on as the runtime; the parent returns true once that has ended, with the status to exit
 * with (128 + n after signal n). Also returns false if it cannot fork, which is logged.
 */
static bool init_run(int *exit_status)
{
    if (getpid() != 1)
        return false;
    pid_t runtime = fork();
    if (runtime == 0)
        return false;
    if (runtime < 0) {
        log_warn(component, "cannot fork, so orphans of this container are not reaped: %s",
            strerror(errno));
        return false;
    }
    sigset_t all;
    sigfillset(&all);
    do {
        int number = sigwaitinfo(&all, NULL);
        if (number > 0 && number != SIGCHLD)
            kill(runtime, number);
    } while (!init_reap(runtime, exit_status));
    return true;
}

/* The health server's connections, up to 1,024, must not use up what the workers need. */
static void raise_descriptor_limit(const struct config *config)
{
    rlim_t needed =
        (DESCRIPTORS_BESIDE + (rlim_t)DESCRIPTORS_PER_WORKER * config->delivery_workers) / 3 * 4;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < needed)
        log_warn(component,
            "the limit of %llu open files is low for %u agents at a time; allow %llu or more "
            "(LimitNOFILE, ulimit -n)",
            (unsigned long long)limit.rlim_cur, config->delivery_workers,
            (unsigned long long)needed);
}

static void log_gateway(const struct config *config)
{
    if (config->gateway_url[0] == '\0')
        log_warn(component, "Gateway: disabled, because OPENCLAW_GATEWAY_URL is set to nothing; no "
                            "agent is asked, and notifications wait");
    else
        log_info(component, "Gateway: %s%s", config->gateway_url,
            config->gateway_command != NULL ? ", run by this process (OPENCLAW_GATEWAY_COMMAND)"
                                            : "");
}

/* What an operator compares with what was meant. The address is logged once it is bound. */
static void log_startup(const struct config *config)
{
    log_info(component, "=== Mission Control Runtime Service ===");
    log_info(component, "Account ID: %s", config->account_id);
    log_info(component, "Convex URL: %s", config->convex_url);
    log_gateway(config);
    log_info(component, "State directory: %s", config->state_dir);
    log_info(component, "Workers: %u", config->delivery_workers);
    if (config->openclaw_version != NULL)
        log_info(component, "Runtime Service v%s OpenClaw v%s", config->runtime_version,
            config->openclaw_version);
    else
        log_info(component, "Runtime Service v%s, OpenClaw version being detected",
            config->runtime_version);
    if (config->origins[OPTION_DELIVERY_CONTEXT_FETCH_BATCH_SIZE] != CONFIG_FROM_DEFAULT)
        log_info(component, "DELIVERY_CONTEXT_FETCH_BATCH_SIZE has no effect: each worker reads "
                            "the context of the notification that it handles");
}

static int exit_status_of(int code)
{
    switch (code) {
    case ERROR_LOCKED:
        return EX_TEMPFAIL;
    case ERROR_INVALID:
        return EX_CONFIG;
    case ERROR_UNREACHABLE:
        return EX_UNAVAILABLE;
    default:
        return EX_OSERR;
    }
}

/* Returns the exit status. */
static int run_with_signals(const struct config *config, const char *env_file, int signal_fd)
{
    struct runtime *runtime;
    struct error error;
    int result = runtime_start(&runtime, config, &error);
    if (result != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return exit_status_of(result);
    }
    log_info(component, "Runtime service started successfully");
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    int number = signals_wait_for_end(signal_fd, runtime, config, env_file);
    /* Before anything that can block, including a line of the log. */
    signals_watch_for_second(number != 0);
    notify_send("STOPPING=1", 0);
    log_info(component, "Shutting down... (%s)",
        number == SIGTERM  ? "SIGTERM"
        : number == SIGINT ? "SIGINT"
                           : "requested by the backend");
    runtime_stop(runtime);
    log_info(component, "Shutdown complete");
    return EX_OK;
}

/* From here on a thread that hangs ends the process. Returns the exit status. */
static int run_watched(const struct config *config, const char *env_file, int signal_fd)
{
    struct watched_thread watched;
    struct error error;
    if (watch_start(&error) != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return EX_OSERR;
    }
    watch_enter(&watched, "main");
    int status = run_with_signals(config, env_file, signal_fd);
    watch_leave();
    watch_stop();
    return status;
}

static int run_runtime(const struct config *config, const char *env_file)
{
    int signal_fd;
    int status;
    struct error error;
    signals_block();
    if (init_run(&status))
        return status;
    raise_descriptor_limit(config);
    log_startup(config);
    if (signals_open(&signal_fd, &error) != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return EX_OSERR;
    }
    status = run_watched(config, env_file, signal_fd);
    close(signal_fd);
    return status;
}

/* Prints and frees the text. */
static int print_and_free(struct text *text)
{
    int status = print_text(text);
    text_fini(text);
    return status;
}

static int print_settings(const struct config *config)
{
    struct text text = {0};
    config_describe(config, &text);
    return print_and_free(&text);
}

static int print_usage(void)
{
    struct text text = {0};
    usage_append(&text);
    return print_and_free(&text);
}

static int print_version(void)
{
    struct text text = {0};
    text_append(&text, "mission-control-runtime " MISSION_CONTROL_VERSION);
    if (sizeof MISSION_CONTROL_COMMIT > 1)
        text_append(&text, " (" MISSION_CONTROL_COMMIT ")");
    text_append(&text, "\n");
    return print_and_free(&text);
}

static int run_action(const struct arguments *arguments, const struct config *config)
{
    /* A peer that closes its connection must not kill the process. */
    signal(SIGPIPE, SIG_IGN);
    switch (arguments->action) {
    case ARGUMENTS_CHECK_CONFIG:
        return print_settings(config);
    case ARGUMENTS_HEALTHCHECK:
        return command_healthcheck(config);
    case ARGUMENTS_DOCTOR:
        return command_doctor(config, arguments->json);
    case ARGUMENTS_SPOOL:
        return command_spool(config, arguments);
    case ARGUMENTS_HOLD:
    case ARGUMENTS_RELEASE:
        return command_hold(config, arguments->action == ARGUMENTS_HOLD);
    default:
        return run_runtime(config, arguments->env_file);
    }
}

static int run_with_config(const struct arguments *arguments)
{
    struct config config;
    struct problems problems = {0};
    int result = config_load(&config, environ, arguments->env_file, &problems);
    problems_write(&problems, stderr);
    problems_fini(&problems);
    if (result != 0)
        return exit_status_of(result);
    log_configure(config.log_level, config.log_as_json == 1);
    result = run_action(arguments, &config);
    config_fini(&config);
    return result;
}

/* If fd 0-2 were closed, the next open() would reuse one, and the log would be written into it. */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct error error;
    fill_standard_descriptors();
    bool is_protected = protect_memory();
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
    protect_environment();
    json_guard_start();
    json_object_seed(0);
    if (arguments_parse(argc, argv, &arguments, &error) != 0) {
        fprintf(stderr, "mission-control-runtime: %s\n", error.text);
        return EX_USAGE;
    }
    if (arguments.action == ARGUMENTS_HELP)
        return print_usage();
    if (arguments.action == ARGUMENTS_VERSION)
        return print_version();
    if (!is_protected)
        log_warn(component,
            "%s=on: processes of the same user can read this one's memory, and a crash may write "
            "its secrets to disk; unset it when you have finished debugging",
            PROTECT_DEBUG_VARIABLE);
    int status = run_with_config(&arguments);
    log_flush();
    redact_forget_all();
    return status;
}
