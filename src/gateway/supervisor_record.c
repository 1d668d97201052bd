/*
 * The record, STATE_DIR/gateway.pid, outlives a runtime that is killed. The next one reads it
 * before it starts a gateway, since the old one would hold the port. Pids are reused, so nothing is
 * signalled unless boot, pid, start time and, for a group without leader, session all match. As the
 * process is then not our child, nothing announces its exit; it is polled.
 *
 * Everything here runs in mc-gateway. Only child_record_end blocks.
 */
#include "gateway/supervisor_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    FILE_BYTES_MAX = 1024,
    CONTENT_BYTES = 256,
    KILL_LIMIT_MS = 1000, /* for the kernel to tear down killed processes */
    GONE_CHECK_MS = 20
};

/* 2^53: numbers in JSON are exact up to here. */
static const double MAX_NUMBER = 9007199254740992.0;

static const char file_name[] = "gateway.pid";
static const char boot_id_path[] = "/proc/sys/kernel/random/boot_id";

static int read_boot_id(char boot_id[static CHILD_RECORD_BOOT_BYTES], struct error *error)
{
    struct text content;
    int result = file_read(boot_id_path, FILE_BYTES_MAX, &content, NULL, error);
    if (result != 0)
        return result;
    content.data[strcspn(content.data, "\n")] = '\0';
    text_copy(boot_id, CHILD_RECORD_BOOT_BYTES, content.data);
    text_fini(&content);
    return 0;
}

int child_record_make(struct child_record *record, pid_t pid, struct error *error)
{
    struct process_stat stat;
    if (process_stat_read(pid, &stat) != PROCESS_RUNNING)
        return error_set(error, ERROR_SYSTEM, "process %d is not in /proc", (int)pid);
    *record =
        (struct child_record){.pid = pid, .session = stat.session, .start_ticks = stat.start_ticks};
    return read_boot_id(record->boot_id, error) == 0 ? 0 : ERROR_SYSTEM;
}

static void record_path(const char *state_dir, char path[static PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", state_dir, file_name);
}

/* Not synced: it has to survive this process, but not the machine, with which the child ends. */
int child_record_save(const char *state_dir, const struct child_record *record, struct error *error)
{
    char content[CONTENT_BYTES];
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot open %s", state_dir);
    int length = snprintf(content, sizeof content,
        "{\"pid\":%d,\"startTicks\":%" PRId64 ",\"session\":%d,\"bootId\":\"%s\"}\n",
        (int)record->pid, record->start_ticks, (int)record->session, record->boot_id);
    int result = file_replace(dir_fd, file_name, content, (size_t)length, false, error);
    if (result != 0)
        error_wrap(error, "%s", state_dir);
    close(dir_fd);
    return result;
}

static bool parse_record(const json_t *document, struct child_record *record)
{
    double pid, session, start_ticks;
    const char *boot_id = json_guard_string(document, "bootId");
    /* As a target of kill(), -0 is our own group and -1 every process. */
    if (boot_id == NULL || !json_guard_number(json_object_get(document, "pid"), 2, INT_MAX, &pid) ||
        !json_guard_number(json_object_get(document, "session"), 0, INT_MAX, &session) ||
        !json_guard_number(json_object_get(document, "startTicks"), 0, MAX_NUMBER, &start_ticks))
        return false;
    *record = (struct child_record){
        .pid = (pid_t)pid, .session = (pid_t)session, .start_ticks = (int64_t)start_ticks};
    return text_copy(record->boot_id, sizeof record->boot_id, boot_id);
}

int child_record_load(const char *state_dir, struct child_record *record, struct error *error)
{
    char path[PATH_MAX];
    struct text content;
    json_t *document = NULL;
    record_path(state_dir, path);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "%s does not exist", path);
    int result = file_read(path, FILE_BYTES_MAX, &content, NULL, error);
    if (result == ERROR_TOO_LARGE)
        return error_set(error, ERROR_INVALID, "%s is too large for a process record", path);
    if (result != 0)
        return result;
    result = json_guard_load(content.data, content.length_bytes, &document, error);
    text_fini(&content);
    if (result != ERROR_NO_MEMORY && (result != 0 || !parse_record(document, record)))
        result = error_set(error, ERROR_INVALID, "%s is not a process record", path);
    json_decref(document);
    return result;
}

void child_record_remove(const char *state_dir)
{
    char path[PATH_MAX];
    record_path(state_dir, path);
    unlink(path);
}

enum process_presence child_record_check(const struct child_record *record)
{
    /* Every uncertainty is PROCESS_UNKNOWN: a wrong "gone" would start a second gateway. */
    char boot_id[CHILD_RECORD_BOOT_BYTES];
    struct process_stat stat;
    if (read_boot_id(boot_id, NULL) != 0)
        return PROCESS_UNKNOWN;
    if (strcmp(boot_id, record->boot_id) != 0)
        return PROCESS_GONE;
    enum process_presence leader = process_stat_read(record->pid, &stat);
    if (leader == PROCESS_UNKNOWN)
        return leader;
    if (leader == PROCESS_RUNNING && stat.start_ticks != record->start_ticks)
        return PROCESS_GONE;
    return process_group_find(
        record->pid, leader == PROCESS_RUNNING ? PROCESS_ANY_SESSION : record->session);
}

/* Waits until the group is gone, deadline_ms passes, or stop_fd becomes readable. */
static bool wait_until_gone(const struct child_record *record, int64_t deadline_ms, int stop_fd)
{
    bool gone;
    while (
        !(gone = child_record_check(record) == PROCESS_GONE) && clock_monotonic_ms() < deadline_ms)
        if (fd_wait_readable(stop_fd, GONE_CHECK_MS))
            break;
    return gone;
}

/*
 * Between the check and the signal the id could be reused only if the group ended and all other
 * pids were handed out within those microseconds.
 */
static bool signal_and_wait(
    const struct child_record *record, int signal, int64_t limit_ms, int stop_fd)
{
    if (child_record_check(record) == PROCESS_RUNNING)
        kill(-record->pid, signal);
    return wait_until_gone(record, clock_monotonic_ms() + limit_ms, stop_fd);
}

bool child_record_end(const struct child_record *record, int64_t limit_ms, int stop_fd)
{
    if (signal_and_wait(record, SIGTERM, limit_ms, stop_fd))
        return true;
    return !fd_wait_readable(stop_fd, 0) && signal_and_wait(record, SIGKILL, KILL_LIMIT_MS, -1);
}
