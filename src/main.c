/* Arguments, settings, signals: starts the runtime, waits for a signal, stops it. */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_guard.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/redact.h"
#include "command/doctor.h"
#include "command/healthcheck.h"
#include "command/spool_command.h"
#include "config/config.h"
#include "config/usage.h"
#include "reload.h"
#include "runtime.h"

static const char component[] = "Runtime";

/*
 * Many arenas would keep memory of threads that mostly wait. Large buffers come from the system and
 * go back to it, always: left alone, malloc keeps them for itself once one was freed, and copies
 * them to grow.
 */
enum { MALLOC_ARENAS = 2, LARGE_BUFFER_BYTES = 128 * 1024 };

/* What signals act on. */
struct running {
    int signal_fd;
    struct runtime *runtime;
    const struct config *config;
    const struct config_source *source;
};

static void read_settings_again(const struct running *running)
{
    char state[64];
    /* systemd takes the reload for done when it hears READY=1 with a later time (sd_notify(3)). */
    snprintf(
        state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
    notify_send(state, NOTIFY_LIMIT_MS);
    reload_settings(running->runtime, running->config, running->source);
    notify_send("READY=1", NOTIFY_LIMIT_MS);
}

static void log_work(const struct running *running)
{
    runtime_log_work(running->runtime);
}

static void toggle_hold(const struct running *running)
{
    runtime_toggle_hold(running->runtime);
}

/* What each signal does that does not end the run. */
static const struct signal_action {
    int number;
    void (*act)(const struct running *running);
} signal_actions[] = {
    {SIGHUP, read_settings_again},
    {SIGUSR1, log_work},
    {SIGUSR2, toggle_hold},
};

enum { SIGNAL_ACTIONS = sizeof signal_actions / sizeof signal_actions[0] };

static void fill_ending_signals(sigset_t *ending)
{
    sigemptyset(ending);
    sigaddset(ending, SIGTERM);
    sigaddset(ending, SIGINT);
}

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    /* If it were inherited as ignored, the kernel would reap our children before we do. */
    signal(SIGCHLD, SIG_DFL);
}

/* The health server's connections, up to 1,024, must not use up what the workers need. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_signals(void)
{
    sigset_t waited_for;
    fill_ending_signals(&waited_for);
    for (size_t i = 0; i < SIGNAL_ACTIONS; i++)
        sigaddset(&waited_for, signal_actions[i].number);
    return signalfd(-1, &waited_for, SFD_CLOEXEC);
}

/* False when the signal has no action: it ends the run. */
static bool act_on_signal(const struct running *running, int number)
{
    for (size_t i = 0; i < SIGNAL_ACTIONS; i++)
        if (signal_actions[i].number == number) {
            signal_actions[i].act(running);
            return true;
        }
    return false;
}

/* Does what is due by the clock; how long it may be until the next time, in milliseconds. */
static int do_what_is_due(struct runtime *runtime)
{
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t wait_ms = log_write_repeats();
    if (watchdog_ms > 0 && runtime_is_alive(runtime))
        notify_send("WATCHDOG=1", 0);
    return (int)(watchdog_ms > 0 && watchdog_ms < wait_ms ? watchdog_ms : wait_ms);
}

/* What ends the run: a signal's number, or 0 when the runtime itself asks for it. */
static int wait_for_end(const struct running *running)
{
    struct pollfd sources[] = {
        {.fd = running->signal_fd, .events = POLLIN},
        {.fd = runtime_stop_fd(running->runtime), .events = POLLIN},
    };
    struct signalfd_siginfo info = {0};
    for (;;) {
        if (poll(sources, 2, do_what_is_due(running->runtime)) <= 0)
            continue;
        if (sources[0].revents == 0)
            break;
        if (read(running->signal_fd, &info, sizeof info) == sizeof info &&
            !act_on_signal(running, (int)info.ssi_signo))
            break;
    }
    return sources[0].revents != 0 ? (int)info.ssi_signo : 0;
}

/* The stop that the backend asked for leaves a supervisor its first signal: it means that stop. */
static volatile sig_atomic_t signals_that_change_nothing;

static void exit_at_once(int number)
{
    if (signals_that_change_nothing > 0) {
        signals_that_change_nothing--;
        return;
    }
    /* Past every hook: what is still open belongs to the stop that is being cut short. */
    syscall(SYS_exit_group, 128 + number);
}

/* During the stop a second signal ends the process without further ado; others wait for nobody. */
static void watch_for_second_signal(bool first_came)
{
    sigset_t ending;
    signals_that_change_nothing = first_came ? 0 : 1;
    fill_ending_signals(&ending);
    struct sigaction action = {.sa_handler = exit_at_once};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}

static void announce(const struct config *config)
{
    log_info(component, "=== Mission Control Runtime Service ===");
    log_info(component, "Account ID: %s", config->account_id);
    log_info(component, "Convex URL: %s", config->convex_url);
    if (config->openclaw_version != NULL)
        log_info(component, "Runtime Service v%s OpenClaw v%s", config->runtime_version,
            config->openclaw_version);
    else
        log_info(component, "Runtime Service v%s, OpenClaw version being detected",
            config->runtime_version);
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

/* Runs the runtime from its start to its end; returns the exit status. */
static int run_with_signals(
    const struct config *config, const struct config_source *source, int signal_fd)
{
    struct runtime *runtime;
    struct error error;
    int result = runtime_start(&runtime, config, &error);
    if (result != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return exit_status_of(result);
    }
    log_info(component, "Runtime service started successfully");
    notify_send("READY=1", NOTIFY_LIMIT_MS);
    const struct running running = {
        .signal_fd = signal_fd, .runtime = runtime, .config = config, .source = source};
    int number = wait_for_end(&running);
    notify_send("STOPPING=1", 0);
    log_info(component, "Shutting down... (%s)",
        number == SIGTERM  ? "SIGTERM"
        : number == SIGINT ? "SIGINT"
                           : "asked for by the backend");
    watch_for_second_signal(number != 0);
    runtime_stop(runtime);
    log_info(component, "Shutdown complete");
    return EX_OK;
}

static int run(const struct config *config, const struct config_source *source)
{
    block_signals();
    raise_descriptor_limit();
    announce(config);
    /* Before the threads, which may use up the descriptors: nothing else would end the process. */
    int signal_fd = open_signals();
    if (signal_fd < 0) {
        log_error(component, "Fatal error: no descriptor for signals: %s", strerror(errno));
        return EX_OSERR;
    }
    int status = run_with_signals(config, source, signal_fd);
    close(signal_fd);
    return status;
}

static int check_config(const struct config *config)
{
    struct text text = {0};
    config_describe(config, &text);
    int result = text.failed ? EX_OSERR : EX_OK;
    if (!text.failed)
        fputs(text.data, stdout);
    text_fini(&text);
    return result;
}

static int print_usage(void)
{
    struct text text = {0};
    usage_append(&text);
    int result = text.failed ? EX_OSERR : EX_OK;
    if (!text.failed)
        fputs(text.data, stdout);
    text_fini(&text);
    return result;
}

static int act(const struct arguments *arguments, const struct config *config,
    const struct config_source *source)
{
    /* Else the other side could end the process by closing a line that is being written to. */
    signal(SIGPIPE, SIG_IGN);
    switch (arguments->action) {
    case ARGUMENTS_CHECK_CONFIG:
        return check_config(config);
    case ARGUMENTS_HEALTHCHECK:
        return command_healthcheck(config);
    case ARGUMENTS_DOCTOR:
        return command_doctor(config, arguments->json);
    case ARGUMENTS_SPOOL:
        return command_spool(config, arguments);
    default:
        return run(config, source);
    }
}

/* Loads the settings, says what is wrong with them, and acts on them if nothing is. */
static int with_config(const struct arguments *arguments)
{
    const struct config_source source = {.environment = environ, .env_file = arguments->env_file};
    struct config config;
    struct problems problems = {0};
    int result = config_load(&config, &source, &problems);
    problems_write(&problems, stderr);
    problems_fini(&problems);
    if (result != 0)
        return result == ERROR_NO_MEMORY ? EX_OSERR : EX_CONFIG;
    log_configure(config.log_level, config.log_format);
    result = act(arguments, &config, &source);
    config_fini(&config);
    return result;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct error error;
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
    json_guard_start();
    json_object_seed(0);
    if (arguments_parse(argc, argv, &arguments, &error) != 0) {
        fprintf(stderr, "mission-control-runtime: %s\n", error.text);
        return EX_USAGE;
    }
    if (arguments.action == ARGUMENTS_HELP)
        return print_usage();
    if (arguments.action == ARGUMENTS_VERSION) {
        printf("mission-control-runtime %s\n", MISSION_CONTROL_VERSION);
        return EX_OK;
    }
    int status = with_config(&arguments);
    log_flush();
    redact_forget_all();
    return status;
}
