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
 */
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
