/*
 * Runs the gateway as a child when OPENCLAW_GATEWAY_COMMAND is set. One thread, mc-gateway, owns
 * the child and everything about it, so no signal can reach a process that has just been replaced:
 *
 *   clear    end a gateway that a killed runtime left behind (gateway.pid), which holds the port
 *   start    spawn the child as leader of a process group, write gateway.pid
 *   watch    pass its output to the log until it exits
 *   end      SIGTERM to what is left of the group, SIGKILL after 10 s, reap, remove gateway.pid
 *   wait     1 s, doubled up to 60 s with each restart and reset by a run of 60 s; then again
 *
 * Shutdown makes stop_fd readable, which leads from watch to end and out of clear and wait. Other
 * threads only ask for the shutdown, read a copy of the status under the lock, or tell that the
 * gateway has answered them. Nothing is asked from here: on_change has the gateway probed when a
 * child has been started or has exited, by the thread that does so anyway (mc-probe).
 *
 * The whole group is signalled because the child may be a launcher whose own child is the gateway.
 * Until its leader is reaped the group's id cannot be reused, so the leader is reaped last.
 */
#include "gateway/supervisor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/text.h"
#include "gateway/supervisor_record.h"

static const char component[] = "Gateway process";
static const char output_component[] = "Gateway";

enum {
    MIN_RESTART_WAIT_MS = 1000,
    MAX_RESTART_WAIT_MS = 60000,
    GOOD_RUN_MS = 60000, /* a run this long resets the backoff */
    TERM_LIMIT_MS = 10000,
    KILL_LIMIT_MS = 1000, /* for the kernel to tear down killed processes */
    GROUP_CHECK_MS = 20,  /* no event announces the end of a group whose leader has exited */
    READ_BYTES = 4096,
    MAX_LAST_READS = 64 /* more than a full pipe holds */
};

struct gateway_supervisor {
    /* Immutable. */
    struct argv command;
    char *state_dir;
    int stop_fd;        /* an eventfd, readable once shutdown has begun */
    int64_t created_ms; /* monotonic */
    void (*on_change)(void *context, bool started);
    void *context;

    /* Used only by mc-gateway. */
    struct child child;
    struct line_splitter lines;

    /* Used only by the thread that starts and stops the supervisor. */
    pthread_t thread;
    bool started;

    /* Guards everything below. */
    struct mutex lock;
    struct supervisor_status status;
    int64_t answers_from_ms; /* the running child's start, monotonic; SYNC_NO_DEADLINE: none runs */
};

int supervisor_create(struct gateway_supervisor **supervisor,
    const struct supervisor_settings *settings, struct error *error)
{
    struct gateway_supervisor *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's supervisor");
    int result = argv_parse(settings->command, &created->command, error);
    if (result != 0) {
        free(created);
        return result;
    }
    created->on_change = settings->on_change;
    created->context = settings->context;
    created->answers_from_ms = SYNC_NO_DEADLINE;
    created->created_ms = clock_monotonic_ms();
    created->state_dir = strdup(settings->state_dir);
    created->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mutex_init(&created->lock);
    if (created->state_dir == NULL || created->stop_fd < 0) {
        supervisor_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's supervisor");
    }
    *supervisor = created;
    return 0;
}

void supervisor_destroy(struct gateway_supervisor *supervisor)
{
    if (supervisor == NULL)
        return;
    mutex_fini(&supervisor->lock);
    if (supervisor->stop_fd >= 0)
        close(supervisor->stop_fd);
    free(supervisor->state_dir);
    argv_fini(&supervisor->command);
    free(supervisor);
}

void supervisor_status(struct gateway_supervisor *supervisor, struct supervisor_status *status)
{
    mutex_lock(&supervisor->lock);
    *status = supervisor->status;
    mutex_unlock(&supervisor->lock);
}

bool supervisor_is_starting(struct gateway_supervisor *supervisor, int64_t now_ms)
{
    mutex_lock(&supervisor->lock);
    bool is_first = supervisor->status.last_exit_at_ms == 0 && supervisor->status.restarts == 0;
    bool is_starting = is_first && !supervisor->status.accepting &&
                       now_ms - supervisor->created_ms < SUPERVISOR_STARTING_MS;
    mutex_unlock(&supervisor->lock);
    return is_starting;
}

void supervisor_record_answer(struct gateway_supervisor *supervisor, int64_t asked_ms)
{
    mutex_lock(&supervisor->lock);
    int64_t started_ms = supervisor->answers_from_ms;
    /* The probe after a start may begin in its millisecond, and is the only one if it succeeds. */
    bool is_first = asked_ms >= started_ms && !supervisor->status.accepting;
    if (is_first)
        supervisor->status.accepting = true;
    mutex_unlock(&supervisor->lock);
    if (is_first)
        log_info(component, "The gateway accepts connections after %lld ms",
            (long long)(clock_monotonic_ms() - started_ms));
}

static void publish_start(struct gateway_supervisor *supervisor, int64_t started_ms)
{
    mutex_lock(&supervisor->lock);
    supervisor->status.pid = supervisor->child.pid;
    supervisor->answers_from_ms = started_ms;
    mutex_unlock(&supervisor->lock);
    supervisor->on_change(supervisor->context, true);
}

/* Before the child is reaped, since that can take until the last process of its group has ended. */
static void publish_end(struct gateway_supervisor *supervisor)
{
    mutex_lock(&supervisor->lock);
    supervisor->status.accepting = false;
    supervisor->answers_from_ms = SYNC_NO_DEADLINE;
    mutex_unlock(&supervisor->lock);
    supervisor->on_change(supervisor->context, false);
}

static void publish_restart(struct gateway_supervisor *supervisor)
{
    mutex_lock(&supervisor->lock);
    supervisor->status.restarts++;
    mutex_unlock(&supervisor->lock);
}

static void publish_exit(struct gateway_supervisor *supervisor, const struct child_exit *ended)
{
    mutex_lock(&supervisor->lock);
    supervisor->status.pid = 0;
    supervisor->status.last_exit = *ended;
    supervisor->status.last_exit_at_ms = clock_wall_ms();
    mutex_unlock(&supervisor->lock);
}

/* Whether shutdown begins within wait_ms. Blocks until then. */
static bool stops_within(struct gateway_supervisor *supervisor, int64_t wait_ms)
{
    return fd_wait_readable(supervisor->stop_fd, wait_ms);
}

static void log_output_line(void *context, const char *line)
{
    (void)context;
    log_info(output_component, "%s", line);
}

/*
 * Logs what one read returns; false when it returns nothing. One read only, or a child that writes
 * without pause would keep the thread from noticing anything else.
 */
static bool forward_output(struct gateway_supervisor *supervisor)
{
    char bytes[READ_BYTES];
    ssize_t got = read(supervisor->child.output_fd, bytes, sizeof bytes);
    if (got > 0)
        line_splitter_feed(&supervisor->lines, bytes, (size_t)got, log_output_line, NULL);
    return got > 0;
}

/*
 * A runtime killed between the spawn and the end of this function, about a millisecond, leaves a
 * child that no record names. The next runtime's gateway then finds its port taken, which shows in
 * its output and restarts. The file cannot be written earlier, as the pid is not known before.
 */
static void save_child_record(struct gateway_supervisor *supervisor)
{
    struct child_record record;
    struct error error;
    if (child_record_make(&record, supervisor->child.pid, &error) != 0 ||
        child_record_save(supervisor->state_dir, &record, &error) != 0)
        log_warn(component, "Cannot write gateway.pid, so a crash would orphan the gateway: %s",
            error.text);
}

static bool start_child(struct gateway_supervisor *supervisor, int64_t *started_ms)
{
    struct error error;
    if (child_start(&supervisor->child, supervisor->command.items, CHILD_STDERR_MERGED, &error) !=
        0) {
        log_error(component, "Cannot start the gateway: %s", error.text);
        return false;
    }
    *started_ms = clock_monotonic_ms();
    save_child_record(supervisor);
    publish_start(supervisor, *started_ms);
    /* Without the arguments, which may hold a secret that redact() does not know. */
    log_info(
        component, "Started %s, pid %d", supervisor->command.items[0], (int)supervisor->child.pid);
    return true;
}

/* Serves the child until it exits or shutdown begins. */
static void watch_child(struct gateway_supervisor *supervisor)
{
    struct pollfd fds[] = {
        {.fd = supervisor->child.pid_fd, .events = POLLIN},
        {.fd = supervisor->stop_fd, .events = POLLIN},
        {.fd = supervisor->child.output_fd, .events = POLLIN},
    };
    while (fds[0].revents == 0 && fds[1].revents == 0) {
        fd_wait(fds, 3, SYNC_NO_DEADLINE);
        /* A child may close its output and keep running. */
        if (fds[2].revents != 0 && !forward_output(supervisor))
            fds[2].fd = -1;
    }
}

/*
 * Waits until no process of the group runs, forwarding its output; false when deadline_ms passes
 * first. The leader is not reaped, so the group's id stays ours.
 */
static bool wait_for_group(struct gateway_supervisor *supervisor, int64_t deadline_ms)
{
    struct pollfd fds[] = {
        {.fd = supervisor->child.pid_fd, .events = POLLIN},
        {.fd = supervisor->child.output_fd, .events = POLLIN},
    };
    for (;;) {
        bool leader_exited = child_wait(&supervisor->child, 0, -1) == 0;
        if (leader_exited &&
            process_group_find(supervisor->child.pid, PROCESS_ANY_SESSION) == PROCESS_GONE)
            return true;
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms)
            return false;
        int64_t check_at_ms = leader_exited ? now_ms + GROUP_CHECK_MS : deadline_ms;
        fds[0].fd = leader_exited ? -1 : supervisor->child.pid_fd;
        fd_wait(fds, 2, check_at_ms < deadline_ms ? check_at_ms : deadline_ms);
        if (fds[1].revents != 0 && !forward_output(supervisor))
            fds[1].fd = -1;
    }
}

/*
 * Ends the whole group even if the leader has exited, since a process that it left behind would
 * hold the port. After SIGTERM the gateway finishes the runs in flight, hence the long limit.
 */
static void end_child(struct gateway_supervisor *supervisor, struct child_exit *ended)
{
    struct child *child = &supervisor->child;
    child_signal_group(child, SIGTERM);
    if (!wait_for_group(supervisor, clock_monotonic_ms() + TERM_LIMIT_MS)) {
        log_warn(component, "The gateway did not exit within %d ms of SIGTERM; killing it",
            TERM_LIMIT_MS);
        child_signal_group(child, SIGKILL);
        wait_for_group(supervisor, clock_monotonic_ms() + KILL_LIMIT_MS);
    }
    for (int reads = 0; reads < MAX_LAST_READS && forward_output(supervisor); reads++)
        ;
    line_splitter_end(&supervisor->lines, log_output_line, NULL);
    child_fini(child, ended);
    child_record_remove(supervisor->state_dir);
}

static void log_exit(const struct child_exit *ended, bool stopping)
{
    enum log_level level = stopping ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    if (ended->signal != 0)
        log_event(level, component, NULL, "The gateway was killed by signal %d (%s)", ended->signal,
            strsignal(ended->signal));
    else
        log_event(level, component, NULL, "The gateway exited with status %d", ended->code);
}

/* Runs one child from start to end. Returns how long it ran, -1 when it could not be started. */
static int64_t run_child(struct gateway_supervisor *supervisor)
{
    struct child_exit ended;
    int64_t started_ms;
    if (!start_child(supervisor, &started_ms))
        return -1;
    watch_child(supervisor);
    int64_t ran_ms = clock_monotonic_ms() - started_ms;
    publish_end(supervisor);
    end_child(supervisor, &ended);
    publish_exit(supervisor, &ended);
    log_exit(&ended, stops_within(supervisor, 0));
    return ran_ms;
}

/* The record stays, so that the next start finds the process again. */
static void log_leftover_stays(
    struct gateway_supervisor *supervisor, const struct child_record *record)
{
    if (stops_within(supervisor, 0))
        log_warn(component,
            "Shutting down; process %d has been sent SIGTERM and may still be running",
            (int)record->pid);
    else
        log_error(
            component, "Cannot end process %d; not starting a second gateway", (int)record->pid);
}

/* Ends the gateway of an earlier runtime if it still runs. False when it may still be running. */
static bool end_leftover(struct gateway_supervisor *supervisor, const struct child_record *record)
{
    enum process_presence presence = child_record_check(record);
    if (presence == PROCESS_GONE)
        return true;
    if (presence == PROCESS_UNKNOWN) {
        log_warn(component,
            "Cannot tell whether the gateway of an earlier runtime (pid %d) is still running (out "
            "of "
            "descriptors or memory); not starting another",
            (int)record->pid);
        return false;
    }
    log_warn(component, "The gateway of an earlier runtime (pid %d) is still running; ending it",
        (int)record->pid);
    if (!child_record_end(record, TERM_LIMIT_MS, supervisor->stop_fd)) {
        log_leftover_stays(supervisor, record);
        return false;
    }
    log_info(component, "The gateway of the earlier runtime has exited");
    return true;
}

/*
 * Whether no gateway of an earlier runtime is in the way. A record that cannot be read now keeps
 * ours from starting, because a second gateway is worse than a late one; a damaged one does not.
 */
static bool clear_leftover(struct gateway_supervisor *supervisor)
{
    struct child_record record;
    struct error error;
    int result = child_record_load(supervisor->state_dir, &record, &error);
    if (result == ERROR_CLOSED)
        return true;
    if (result != 0)
        log_warn(component, "Cannot check for a gateway of an earlier runtime: %s", error.text);
    bool cleared = result == ERROR_INVALID || (result == 0 && end_leftover(supervisor, &record));
    if (cleared)
        child_record_remove(supervisor->state_dir);
    return cleared;
}

static void *supervisor_thread(void *argument)
{
    struct gateway_supervisor *supervisor = argument;
    unsigned failures = 0;
    while (!stops_within(supervisor, 0)) {
        if (clear_leftover(supervisor) && !stops_within(supervisor, 0) &&
            run_child(supervisor) >= GOOD_RUN_MS)
            failures = 0;
        int64_t wait_ms = backoff_doubled_ms(MIN_RESTART_WAIT_MS, failures++, MAX_RESTART_WAIT_MS);
        if (stops_within(supervisor, 0))
            break;
        log_info(component, "Restarting the gateway in %lld ms", (long long)wait_ms);
        if (stops_within(supervisor, wait_ms))
            break;
        publish_restart(supervisor);
    }
    return NULL;
}

int supervisor_start(struct gateway_supervisor *supervisor, struct error *error)
{
    int result =
        thread_start(&supervisor->thread, "mc-gateway", supervisor_thread, supervisor, error);
    supervisor->started = result == 0;
    return result;
}

void supervisor_begin_stop(struct gateway_supervisor *supervisor)
{
    eventfd_write(supervisor->stop_fd, 1);
}

void supervisor_stop(struct gateway_supervisor *supervisor)
{
    supervisor_begin_stop(supervisor);
    if (supervisor->started)
        thread_join(supervisor->thread);
    supervisor->started = false;
}
