/*
 * All signals are blocked before any thread starts and are read from a signalfd by the main thread,
 * which has nothing else to do while the runtime runs. So there is no handler, and nothing has to
 * be async-signal-safe, until the shutdown begins.
 *
 * During the shutdown the main thread is busy joining threads and cannot read the signalfd. Then a
 * handler takes over SIGTERM and SIGINT, which does nothing but exit: a second signal means that
 * the operator does not want to wait. The handler is installed before the first line about the
 * shutdown is logged, because a full pipe can delay that line by a second.
 *
 * The main loop also does the periodic work: it writes the log's repeat counts and pings systemd's
 * watchdog, the latter only while no control thread has stalled.
 *
 * SIGHUP: read the settings again and take over what can change while the runtime runs, which is
 * the log level and the two tokens. If any setting is invalid, nothing changes. Everything else is
 * compared with the settings of the startup and only reported.
 *
 * A token is a secret of one account at one address. If that account or address has changed as
 * well, the new token must not be sent to the old address, where it is at best refused and at worst
 * disclosed, so the old token is kept until the restart.
 *
 * The settings of the startup stay constant for all threads: convex and gateway each have a lock
 * for their token, and the log level is atomic.
 */
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/sync.h"
#include "config/options.h"
#include "config/values.h"

static const char component[] = "Reload";

/* In every message, so that the log does not fold the same messages of two reloads into one. */
static unsigned reloads;

static void log_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const char *text = problems->items[i].text;
        if (problems->items[i].severity != PROBLEM_WARNING)
            log_error(component, "Reload %u: %s", reloads, text);
        else
            log_warn(component, "Reload %u: %s", reloads, text);
    }
}

static bool is_reloadable(size_t id)
{
    return id == OPTION_LOG_LEVEL || id == OPTION_SERVICE_TOKEN ||
           id == OPTION_OPENCLAW_GATEWAY_TOKEN;
}

static bool option_value_differs(
    const struct option *option, const struct config *config, const struct config *fresh)
{
    struct text old = {0};
    struct text new = {0};
    option_append_value(option, config, &old);
    option_append_value(option, fresh, &new);
    bool unequal = old.length_bytes != new.length_bytes ||
                   (old.length_bytes > 0 && memcmp(old.data, new.data, old.length_bytes) != 0);
    text_fini(&old);
    text_fini(&new);
    return unequal;
}

static bool option_differs(
    enum option_id id, const struct config *config, const struct config *fresh)
{
    return option_value_differs(&config_options[id], config, fresh);
}

/* The tokens whose account and address have not changed. */
static unsigned find_usable_tokens(const struct config *config, const struct config *fresh)
{
    unsigned usable = 0;
    if (!option_differs(OPTION_ACCOUNT_ID, config, fresh) &&
        !option_differs(OPTION_CONVEX_URL, config, fresh))
        usable |= TOKEN_SERVICE;
    if (!option_differs(OPTION_OPENCLAW_GATEWAY_URL, config, fresh))
        usable |= TOKEN_GATEWAY;
    return usable;
}

static void warn_of_restart_options(const struct config *config, const struct config *fresh)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!is_reloadable(i) && option_value_differs(&config_options[i], config, fresh))
            log_warn(component, "Reload %u: %s has changed, which requires a restart", reloads,
                config_options[i].name);
}

static void warn_of_kept_tokens(unsigned usable)
{
    if ((usable & TOKEN_SERVICE) == 0)
        log_warn(component,
            "Reload %u: keeping the old SERVICE_TOKEN until the restart, since ACCOUNT_ID or "
            "CONVEX_URL has changed",
            reloads);
    if ((usable & TOKEN_GATEWAY) == 0)
        log_warn(component,
            "Reload %u: keeping the old OPENCLAW_GATEWAY_TOKEN until the restart, since "
            "OPENCLAW_GATEWAY_URL has changed",
            reloads);
}

static void log_reloaded(unsigned tokens, bool level_changed)
{
    const char *const none = tokens != 0 || level_changed ? "" : " nothing";
    log_info(component, "Reload %u: changed:%s%s%s%s", reloads, none,
        level_changed ? " LOG_LEVEL" : "", (tokens & TOKEN_SERVICE) != 0 ? " SERVICE_TOKEN" : "",
        (tokens & TOKEN_GATEWAY) != 0 ? " OPENCLAW_GATEWAY_TOKEN" : "");
}

/*
 * The report is logged at the more verbose of the two levels, so that it shows in either case:
 * a lower threshold is set before it, a higher one after it.
 */
static void apply_settings(
    struct runtime *runtime, const struct config *config, struct config *fresh)
{
    unsigned usable = find_usable_tokens(config, fresh);
    warn_of_restart_options(config, fresh);
    warn_of_kept_tokens(usable);
    unsigned tokens = runtime_exchange_tokens(runtime, usable, fresh);
    enum log_level before = log_level_now();
    if (fresh->log_level < before)
        log_set_level(fresh->log_level);
    log_reloaded(tokens, before != fresh->log_level);
    if (fresh->log_level > before)
        log_set_level(fresh->log_level);
}

/*
 * Reads environment and env_file as at startup. Requests in flight finish with the old token.
 * Blocks for files.
 */
static void reload_settings(
    struct runtime *runtime, const struct config *config, const char *env_file)
{
    struct config fresh;
    struct problems problems = {0};
    reloads++;
    int result = config_load(&fresh, environ, env_file, &problems);
    log_problems(&problems);
    problems_fini(&problems);
    if (result != 0) {
        log_error(component, "Reload %u: %s; keeping the old settings", reloads,
            result == ERROR_NO_MEMORY ? "out of memory" : "invalid settings (see above)");
        return;
    }
    apply_settings(runtime, config, &fresh);
    config_fini(&fresh);
}

static void handle_reload(
    struct runtime *runtime, const struct config *config, const char *env_file)
{
    char state[64];
    /* By this time systemd recognizes the READY=1 below as the end of the reload (sd_notify(3)). */
    snprintf(
        state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
    notify_send(state, NOTIFY_TIMEOUT_MS);
    reload_settings(runtime, config, env_file);
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
}

static void fill_ending_signals(sigset_t *ending)
{
    sigemptyset(ending);
    sigaddset(ending, SIGTERM);
    sigaddset(ending, SIGINT);
}

void signals_block(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    /* If SIGCHLD is inherited as ignored, the kernel reaps our children before we can. */
    signal(SIGCHLD, SIG_DFL);
}

int signals_open(int *fd, struct error *error)
{
    sigset_t waited_for;
    fill_ending_signals(&waited_for);
    sigaddset(&waited_for, SIGHUP);
    sigaddset(&waited_for, SIGUSR1);
    sigaddset(&waited_for, SIGUSR2);
    *fd = signalfd(-1, &waited_for, SFD_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot create a signalfd");
    return 0;
}

/* False for a signal that ends the run. */
static bool handle_signal(
    int number, struct runtime *runtime, const struct config *config, const char *env_file)
{
    switch (number) {
    case SIGHUP:
        handle_reload(runtime, config, env_file);
        return true;
    case SIGUSR1:
        runtime_log_work(runtime);
        return true;
    case SIGUSR2:
        runtime_toggle_hold(runtime);
        return true;
    default:
        return false;
    }
}

/* Returns the time until it has to be called again, in milliseconds. */
static int do_periodic_work(struct runtime *runtime)
{
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t wait_ms = log_write_repeats();
    if (watchdog_ms > 0 && runtime_is_alive(runtime))
        notify_send("WATCHDOG=1", 0);
    return (int)(watchdog_ms > 0 && watchdog_ms < wait_ms ? watchdog_ms : wait_ms);
}

int signals_wait_for_end(
    int fd, struct runtime *runtime, const struct config *config, const char *env_file)
{
    struct pollfd sources[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = runtime_stop_fd(runtime), .events = POLLIN},
    };
    struct signalfd_siginfo info = {0};
    for (;;) {
        if (poll(sources, 2, do_periodic_work(runtime)) <= 0)
            continue;
        if (sources[0].revents == 0)
            break;
        if (read(fd, &info, sizeof info) == sizeof info &&
            !handle_signal((int)info.ssi_signo, runtime, config, env_file))
            break;
    }
    return sources[0].revents != 0 ? (int)info.ssi_signo : 0;
}

/* How many SIGTERM or SIGINT are ignored before one exits. */
static volatile sig_atomic_t ignored_signals;

static void exit_immediately(int number)
{
    if (ignored_signals > 0) {
        ignored_signals--;
        return;
    }
    /* Not exit(): its hooks would race with the threads that are being stopped. */
    syscall(SYS_exit_group, 128 + number);
}

void signals_watch_for_second(bool first_came)
{
    sigset_t ending;
    ignored_signals = first_came ? 0 : 1;
    fill_ending_signals(&ending);
    struct sigaction action = {.sa_handler = exit_immediately};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}
