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
    FIRST_WAIT_MS = 1000,
    MAX_WAIT_MS = 60000,
    RAN_WELL_MS = 60000,
    TERM_LIMIT_MS = 10000,
    KILL_LIMIT_MS = 1000, /* for the kernel to end what was killed */
    LOOK_AGAIN_MS = 20,   /* at a group whose leader has ended: nothing tells of its end */
    READ_BYTES = 4096,
    LAST_READS = 64 /* more than a full pipe */
};

struct gateway_supervisor {
    /* Never changed once created. */
    struct argv command;
    char *state_dir;
    int stop_fd; /* an eventfd, readable once the stop has begun */

    /* The thread's own. */
    struct tcp_probe probe;
    struct child child;
    struct line_splitter lines;
    int64_t started_at_ms; /* monotonic */

    /* Used only by the thread that starts and stops the supervisor. */
    pthread_t thread;
    bool started;

    /* Guards the status. */
    struct mutex lock;
    struct supervisor_status status;
};

int supervisor_create(struct gateway_supervisor **process, const char *command,
    const char *gateway_url, const char *state_dir, struct error *error)
{
    struct url url;
    struct gateway_supervisor *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's supervisor");
    int result = ERROR_INVALID;
    if (url_parse(gateway_url, &url) != NULL) {
        error_set(error, ERROR_INVALID, "the URL of the gateway is none");
        goto err_after_memory;
    }
    result = argv_parse(command, &created->command, error);
    if (result != 0)
        goto err_after_memory;
    result = tcp_probe_init(&created->probe, &url, error);
    if (result != 0)
        goto err_after_words;
    created->state_dir = strdup(state_dir);
    created->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mutex_init(&created->lock);
    if (created->state_dir == NULL || created->stop_fd < 0) {
        supervisor_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's supervisor");
    }
    *process = created;
    return 0;

err_after_words:
    argv_fini(&created->command);
err_after_memory:
    free(created);
    return result;
}

void supervisor_destroy(struct gateway_supervisor *process)
{
    if (process == NULL)
        return;
    mutex_fini(&process->lock);
    if (process->stop_fd >= 0)
        close(process->stop_fd);
    free(process->state_dir);
    tcp_probe_fini(&process->probe);
    argv_fini(&process->command);
    free(process);
}

void supervisor_status(struct gateway_supervisor *process, struct supervisor_status *status)
{
    mutex_lock(&process->lock);
    *status = process->status;
    mutex_unlock(&process->lock);
}

static void note_start(struct gateway_supervisor *process)
{
    mutex_lock(&process->lock);
    process->status.pid = process->child.pid;
    mutex_unlock(&process->lock);
}

static void note_accepting(struct gateway_supervisor *process)
{
    mutex_lock(&process->lock);
    process->status.accepting = true;
    mutex_unlock(&process->lock);
}

static void note_restart(struct gateway_supervisor *process)
{
    mutex_lock(&process->lock);
    process->status.restarts++;
    mutex_unlock(&process->lock);
}

static void note_exit(struct gateway_supervisor *process, const struct child_exit *ended)
{
    mutex_lock(&process->lock);
    process->status.pid = 0;
    process->status.accepting = false;
    process->status.last_exit = *ended;
    process->status.last_exit_at_ms = clock_wall_ms();
    mutex_unlock(&process->lock);
}

/* Whether the stop begins within wait_ms. */
static bool stops_within(struct gateway_supervisor *process, int64_t wait_ms)
{
    return fd_wait_readable(process->stop_fd, wait_ms);
}

static void log_line(void *context, const char *line)
{
    (void)context;
    log_info(output_component, "%s", line);
}

/*
 * Passes on what one read brings. False when there is nothing (now, or ever again, which the
 * caller's poll tells). One read only: a child that writes for ever must not keep us from the rest.
 */
static bool pass_on_output(struct gateway_supervisor *process)
{
    char bytes[READ_BYTES];
    ssize_t got = read(process->child.output_fd, bytes, sizeof bytes);
    if (got > 0)
        line_splitter_feed(&process->lines, bytes, (size_t)got, log_line, NULL);
    return got > 0;
}

/*
 * A runtime that is killed between the spawn and the end of this function leaves a child that no
 * record names: about a millisecond at each start. The next runtime's gateway then finds its port
 * taken, which its output and its restarts show. A file written before the spawn could not name it.
 */
static void keep_record(struct gateway_supervisor *process)
{
    struct gateway_record record;
    struct error error;
    if (gateway_record_make(&record, process->child.pid, &error) != 0 ||
        gateway_record_save(process->state_dir, &record, &error) != 0)
        log_warn(component, "Should this runtime be killed, nobody will find the gateway: %s",
            error.text);
}

static bool start_child(struct gateway_supervisor *process)
{
    struct error error;
    if (child_start(&process->child, process->command.items, CHILD_STDERR_MERGED, &error) != 0) {
        log_error(component, "The gateway does not start: %s", error.text);
        return false;
    }
    keep_record(process);
    process->started_at_ms = clock_monotonic_ms();
    note_start(process);
    /* Not the arguments: one of them may be a secret that we do not know as one. */
    log_info(
        component, "Started %s, process %d", process->command.items[0], (int)process->child.pid);
    return true;
}

static void look_whether_it_accepts(struct gateway_supervisor *process, bool *accepting)
{
    int64_t now_ms = clock_monotonic_ms();
    if (*accepting || !tcp_probe_step(&process->probe, now_ms))
        return;
    *accepting = true;
    note_accepting(process);
    log_info(component, "The gateway accepts connections after %lld ms",
        (long long)(now_ms - process->started_at_ms));
}

/* Serves the child until it has ended or the stop begins. */
static void watch_child(struct gateway_supervisor *process)
{
    bool accepting = false;
    struct pollfd fds[] = {
        {.fd = process->child.pid_fd, .events = POLLIN},
        {.fd = process->stop_fd, .events = POLLIN},
        {.fd = process->child.output_fd, .events = POLLIN},
        {.fd = -1, .events = POLLOUT},
    };
    tcp_probe_restart(&process->probe);
    while (fds[0].revents == 0 && fds[1].revents == 0) {
        look_whether_it_accepts(process, &accepting);
        fds[3].fd = accepting ? -1 : process->probe.fd;
        fd_wait(fds, 4, accepting ? SYNC_NO_DEADLINE : process->probe.due_ms);
        /* A child may close its output and go on. */
        if (fds[2].revents != 0 && !pass_on_output(process))
            fds[2].fd = -1;
    }
}

/*
 * Waits until nothing of the group runs, passing its output on meanwhile. False when deadline_ms
 * comes first. Not reaped, the leader keeps the group's number ours.
 */
static bool wait_for_group(struct gateway_supervisor *process, int64_t deadline_ms)
{
    struct pollfd fds[] = {
        {.fd = process->child.pid_fd, .events = POLLIN},
        {.fd = process->child.output_fd, .events = POLLIN},
    };
    for (;;) {
        bool leader_ended = child_wait(&process->child, 0, -1) == 0;
        if (leader_ended &&
            process_group_find(process->child.pid, PROCESS_ANY_SESSION) == PROCESS_GONE)
            return true;
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms)
            return false;
        int64_t look_at_ms = leader_ended ? now_ms + LOOK_AGAIN_MS : deadline_ms;
        fds[0].fd = leader_ended ? -1 : process->child.pid_fd;
        fd_wait(fds, 2, look_at_ms < deadline_ms ? look_at_ms : deadline_ms);
        if (fds[1].revents != 0 && !pass_on_output(process))
            fds[1].fd = -1;
    }
}

/*
 * Ends the whole group, whether the leader still runs or not: what a leader leaves behind would
 * hold the port. The real gateway lets requests that run end after SIGTERM.
 */
static void end_child(struct gateway_supervisor *process, struct child_exit *ended)
{
    struct child *child = &process->child;
    child_signal_group(child, SIGTERM);
    if (!wait_for_group(process, clock_monotonic_ms() + TERM_LIMIT_MS)) {
        log_warn(component, "The gateway did not end within %d ms of SIGTERM and is killed",
            TERM_LIMIT_MS);
        child_signal_group(child, SIGKILL);
        wait_for_group(process, clock_monotonic_ms() + KILL_LIMIT_MS);
    }
    for (int reads = 0; reads < LAST_READS && pass_on_output(process); reads++)
        ;
    line_splitter_end(&process->lines, log_line, NULL);
    child_fini(child, ended);
    gateway_record_remove(process->state_dir);
}

static void report_exit(const struct child_exit *ended, bool stopping)
{
    enum log_level level = stopping ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    if (ended->signal != 0)
        log_event(level, component, NULL, "The gateway was ended by signal %d (%s)", ended->signal,
            strsignal(ended->signal));
    else
        log_event(level, component, NULL, "The gateway ended with status %d", ended->code);
}

/* One child from its start to its end. Returns how long it ran, -1 when it could not be started. */
static int64_t run_child(struct gateway_supervisor *process)
{
    struct child_exit ended;
    if (!start_child(process))
        return -1;
    watch_child(process);
    int64_t ran_ms = clock_monotonic_ms() - process->started_at_ms;
    end_child(process, &ended);
    note_exit(process, &ended);
    report_exit(&ended, stops_within(process, 0));
    return ran_ms;
}

/* Its record stays, so that the next start finds it again. */
static void say_leftover_stays(
    struct gateway_supervisor *process, const struct gateway_record *record)
{
    if (stops_within(process, 0))
        log_warn(component, "Process %d was told to end, and is left to it", (int)record->pid);
    else
        log_error(component, "Process %d cannot be ended; no second gateway is started",
            (int)record->pid);
}

/* Ends the gateway of an earlier runtime if it still runs. False when it may be left. */
static bool end_leftover(struct gateway_supervisor *process, const struct gateway_record *record)
{
    enum process_presence presence = gateway_record_check(record);
    if (presence == PROCESS_GONE)
        return true;
    if (presence == PROCESS_UNKNOWN) {
        log_warn(component,
            "Whether process %d, the gateway of an earlier runtime, still runs cannot be seen: "
            "descriptors or memory are short; no second one is started",
            (int)record->pid);
        return false;
    }
    log_warn(component, "Process %d, the gateway of an earlier runtime, still runs: ending it",
        (int)record->pid);
    if (!gateway_record_end(record, TERM_LIMIT_MS, process->stop_fd)) {
        say_leftover_stays(process, record);
        return false;
    }
    log_info(component, "The gateway of the earlier runtime has ended");
    return true;
}

/* Whether no gateway of an earlier runtime is in the way. */
static bool clear_leftover(struct gateway_supervisor *process)
{
    struct gateway_record record;
    struct error error;
    int result = gateway_record_load(process->state_dir, &record, &error);
    if (result == ERROR_CLOSED)
        return true;
    if (result != 0)
        log_warn(component, "A gateway of an earlier runtime cannot be looked for: %s", error.text);
    bool cleared = result == ERROR_INVALID || (result == 0 && end_leftover(process, &record));
    if (cleared)
        gateway_record_remove(process->state_dir);
    return cleared;
}

static void *supervise(void *argument)
{
    struct gateway_supervisor *process = argument;
    unsigned failures = 0;
    while (!stops_within(process, 0)) {
        if (clear_leftover(process) && !stops_within(process, 0) &&
            run_child(process) >= RAN_WELL_MS)
            failures = 0;
        int64_t wait_ms = backoff_doubled_ms(FIRST_WAIT_MS, failures++, MAX_WAIT_MS);
        if (stops_within(process, 0))
            break;
        log_info(component, "The gateway is started again in %lld ms", (long long)wait_ms);
        if (stops_within(process, wait_ms))
            break;
        note_restart(process);
    }
    return NULL;
}

int supervisor_start(struct gateway_supervisor *process, struct error *error)
{
    int result = thread_start(&process->thread, "mc-gateway", supervise, process, error);
    process->started = result == 0;
    return result;
}

void supervisor_begin_stop(struct gateway_supervisor *process)
{
    eventfd_write(process->stop_fd, 1);
}

void supervisor_stop(struct gateway_supervisor *process)
{
    supervisor_begin_stop(process);
    if (process->started)
        thread_join(process->thread);
    process->started = false;
}
