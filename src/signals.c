#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/sync.h"
#include "reload.h"

static void read_settings_again(const struct signals_targets *targets)
{
    char state[64];
    /* systemd takes the reload for done when it hears READY=1 with a later time (sd_notify(3)). */
    snprintf(
        state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
    notify_send(state, NOTIFY_TIMEOUT_MS);
    reload_settings(targets->runtime, targets->config, targets->source);
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
}

static void log_work(const struct signals_targets *targets)
{
    runtime_log_work(targets->runtime);
}

static void toggle_hold(const struct signals_targets *targets)
{
    runtime_toggle_hold(targets->runtime);
}

/* What each signal does that does not end the run. */
static const struct signal_action {
    int number;
    void (*act)(const struct signals_targets *targets);
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

void signals_block(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    /* If it were inherited as ignored, the kernel would reap our children before we do. */
    signal(SIGCHLD, SIG_DFL);
}

int signals_open(int *fd, struct error *error)
{
    sigset_t waited_for;
    fill_ending_signals(&waited_for);
    for (size_t i = 0; i < SIGNAL_ACTIONS; i++)
        sigaddset(&waited_for, signal_actions[i].number);
    *fd = signalfd(-1, &waited_for, SFD_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "no descriptor for signals");
    return 0;
}

/* False when the signal has no action: it ends the run. */
static bool act_on_signal(const struct signals_targets *targets, int number)
{
    for (size_t i = 0; i < SIGNAL_ACTIONS; i++)
        if (signal_actions[i].number == number) {
            signal_actions[i].act(targets);
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

int signals_wait_for_end(int fd, const struct signals_targets *targets)
{
    struct pollfd sources[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = runtime_stop_fd(targets->runtime), .events = POLLIN},
    };
    struct signalfd_siginfo info = {0};
    for (;;) {
        if (poll(sources, 2, do_what_is_due(targets->runtime)) <= 0)
            continue;
        if (sources[0].revents == 0)
            break;
        if (read(fd, &info, sizeof info) == sizeof info &&
            !act_on_signal(targets, (int)info.ssi_signo))
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

void signals_watch_for_second(bool first_came)
{
    sigset_t ending;
    signals_that_change_nothing = first_came ? 0 : 1;
    fill_ending_signals(&ending);
    struct sigaction action = {.sa_handler = exit_at_once};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}
