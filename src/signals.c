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
 * watchdog, the latter only while no thread has stalled. It never waits for anything else: what
 * SIGHUP reads is read by a thread of its own (reload.c).
 */
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/watch.h"
#include "reload.h"

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
static bool handle_signal(int number, struct runtime *runtime, struct reload *reload)
{
    switch (number) {
    case SIGHUP:
        reload_begin(reload);
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

static int wait_for_source(struct pollfd *sources, nfds_t count, int timeout_ms)
{
    watch_pause();
    int ready = poll(sources, count, timeout_ms);
    watch_resume();
    return ready;
}

int signals_wait_for_end(
    int fd, struct runtime *runtime, const struct config *config, const char *env_file)
{
    struct reload reload = {.runtime = runtime, .config = config, .env_file = env_file};
    struct pollfd sources[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = runtime_stop_fd(runtime), .events = POLLIN},
        {.events = POLLIN},
    };
    struct signalfd_siginfo info = {0};
    for (;;) {
        sources[2].fd = reload_fd(&reload);
        if (wait_for_source(sources, 3, do_periodic_work(runtime)) <= 0)
            continue;
        if (sources[2].revents != 0)
            reload_finish(&reload);
        if (sources[1].revents != 0 && sources[0].revents == 0)
            break;
        if (sources[0].revents != 0 && read(fd, &info, sizeof info) == sizeof info &&
            !handle_signal((int)info.ssi_signo, runtime, &reload))
            break;
    }
    reload_abandon(&reload);
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
