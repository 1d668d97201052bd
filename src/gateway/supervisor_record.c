#include "gateway/supervisor_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    FILE_BYTES_MAX = 1024,
    CONTENT_BYTES = 256,
    KILL_LIMIT_MS = 1000, /* for the kernel to end what was killed */
    LOOK_AGAIN_MS = 20    /* nothing tells of the end of a process that is not our child */
};

/* Numbers in JSON are exact up to here. */
static const double MAX_NUMBER = 9007199254740992.0;

static const char file_name[] = "gateway.pid";
static const char boot_id_path[] = "/proc/sys/kernel/random/boot_id";

static int read_boot_id(char boot_id[static GATEWAY_RECORD_BOOT_BYTES], struct error *error)
{
    struct file_content content;
    int result = file_read(boot_id_path, FILE_BYTES_MAX, &content, error);
    if (result != 0)
        return result;
    content.bytes[strcspn(content.bytes, "\n")] = '\0';
    text_copy(boot_id, GATEWAY_RECORD_BOOT_BYTES, content.bytes);
    free(content.bytes);
    return 0;
}

int gateway_record_make(struct gateway_record *record, pid_t pid, struct error *error)
{
    struct process_stat stat;
    if (process_stat_read(pid, &stat) != PROCESS_RUNNING)
        return error_set(error, ERROR_SYSTEM, "/proc says nothing about process %d", (int)pid);
    *record = (struct gateway_record){
        .pid = pid, .session = stat.session, .start_ticks = stat.start_ticks};
    return read_boot_id(record->boot_id, error) == 0 ? 0 : ERROR_SYSTEM;
}

static void path_of(const char *state_dir, char path[static PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", state_dir, file_name);
}

/* Not synced: it has to outlive this process, not the machine, which takes the child along. */
int gateway_record_save(
    const char *state_dir, const struct gateway_record *record, struct error *error)
{
    char content[CONTENT_BYTES];
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "%s cannot be opened", state_dir);
    int length = snprintf(content, sizeof content,
        "{\"pid\":%d,\"startTicks\":%" PRId64 ",\"session\":%d,\"bootId\":\"%s\"}\n",
        (int)record->pid, record->start_ticks, (int)record->session, record->boot_id);
    int result = file_replace(dir_fd, file_name, content, (size_t)length, false, error);
    if (result != 0)
        error_wrap(error, "%s", state_dir);
    close(dir_fd);
    return result;
}

static bool parse(const json_t *document, struct gateway_record *record)
{
    double pid, session, start_ticks;
    const char *boot_id = json_guard_string(document, "bootId");
    /* 0 and 1 would be our own group and everybody's. */
    if (boot_id == NULL || !json_guard_number(json_object_get(document, "pid"), 2, INT_MAX, &pid) ||
        !json_guard_number(json_object_get(document, "session"), 0, INT_MAX, &session) ||
        !json_guard_number(json_object_get(document, "startTicks"), 0, MAX_NUMBER, &start_ticks))
        return false;
    *record = (struct gateway_record){
        .pid = (pid_t)pid, .session = (pid_t)session, .start_ticks = (int64_t)start_ticks};
    return text_copy(record->boot_id, sizeof record->boot_id, boot_id);
}

int gateway_record_load(const char *state_dir, struct gateway_record *record, struct error *error)
{
    char path[PATH_MAX];
    struct file_content content;
    json_t *document = NULL;
    path_of(state_dir, path);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "there is no %s", path);
    int result = file_read(path, FILE_BYTES_MAX, &content, error);
    if (result == ERROR_TOO_LARGE)
        return error_set(error, ERROR_INVALID, "%s is too large to name a process", path);
    if (result != 0)
        return result;
    result = json_guard_load(content.bytes, content.length_bytes, &document, error);
    free(content.bytes);
    if (result != ERROR_NO_MEMORY && (result != 0 || !parse(document, record)))
        result = error_set(error, ERROR_INVALID, "%s names no process", path);
    json_decref(document);
    return result;
}

void gateway_record_remove(const char *state_dir)
{
    char path[PATH_MAX];
    path_of(state_dir, path);
    unlink(path);
}

enum process_presence gateway_record_check(const struct gateway_record *record)
{
    char boot_id[GATEWAY_RECORD_BOOT_BYTES];
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

/* Waits no longer than for the deadline, or the stop. */
static bool is_gone_by(const struct gateway_record *record, int64_t deadline_ms, int stop_fd)
{
    bool gone;
    while (!(gone = gateway_record_check(record) == PROCESS_GONE) &&
           clock_monotonic_ms() < deadline_ms)
        if (fd_wait_readable(stop_fd, LOOK_AGAIN_MS))
            break;
    return gone;
}

/*
 * Between a look and the signal the number could change hands only if the group ended and all other
 * numbers were given out within those microseconds.
 */
static bool end_with(const struct gateway_record *record, int number, int64_t limit_ms, int stop_fd)
{
    if (gateway_record_check(record) == PROCESS_RUNNING)
        kill(-record->pid, number);
    return is_gone_by(record, clock_monotonic_ms() + limit_ms, stop_fd);
}

bool gateway_record_end(const struct gateway_record *record, int64_t limit_ms, int stop_fd)
{
    if (end_with(record, SIGTERM, limit_ms, stop_fd))
        return true;
    return !fd_wait_readable(stop_fd, 0) && end_with(record, SIGKILL, KILL_LIMIT_MS, -1);
}

enum {
    FIRST_WAIT_MS = 20,
    MAX_WAIT_MS = 1000,
    TRY_LIMIT_MS = 1000,
    HOST_BYTES = sizeof "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
    SERVICE_BYTES = sizeof "65535"
};

int tcp_probe_init(struct tcp_probe *probe, const struct url *url, struct error *error)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    bool is_local = url_host_is(url, "localhost");
    char host[HOST_BYTES] = "";
    char service[SERVICE_BYTES];
    *probe = (struct tcp_probe){.fd = -1, .wait_ms = FIRST_WAIT_MS};
    if (url->host.length_bytes < sizeof host)
        memcpy(host, url->host.bytes, url->host.length_bytes);
    snprintf(service, sizeof service, "%u", url->port & 0xFFFF);
    int failure = getaddrinfo(is_local ? NULL : host, service, &hints, &probe->addresses);
    if (failure != 0)
        return error_set(error, failure == EAI_MEMORY ? ERROR_NO_MEMORY : ERROR_INVALID,
            "no address of the gateway: %s", gai_strerror(failure));
    probe->next = probe->addresses;
    return 0;
}

static void close_try(struct tcp_probe *probe)
{
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
}

void tcp_probe_fini(struct tcp_probe *probe)
{
    close_try(probe);
    freeaddrinfo(probe->addresses);
    *probe = (struct tcp_probe){.fd = -1};
}

void tcp_probe_restart(struct tcp_probe *probe)
{
    close_try(probe);
    probe->next = probe->addresses;
    probe->due_ms = 0;
    probe->wait_ms = FIRST_WAIT_MS;
}

/* The addresses of localhost take turns; between two rounds there is a wait. */
static void put_off(struct tcp_probe *probe, int64_t now_ms)
{
    close_try(probe);
    probe->due_ms = now_ms;
    probe->next = probe->next->ai_next;
    if (probe->next != NULL)
        return;
    probe->next = probe->addresses;
    probe->due_ms = now_ms + probe->wait_ms;
    if (probe->wait_ms < MAX_WAIT_MS)
        probe->wait_ms *= 2;
}

static bool begin_try(struct tcp_probe *probe, int64_t now_ms)
{
    const struct addrinfo *address = probe->next;
    probe->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd >= 0 && connect(probe->fd, address->ai_addr, address->ai_addrlen) == 0) {
        close_try(probe);
        return true;
    }
    if (probe->fd >= 0 && errno == EINPROGRESS)
        probe->due_ms = now_ms + TRY_LIMIT_MS;
    else
        put_off(probe, now_ms);
    return false;
}

static bool go_on_with_try(struct tcp_probe *probe, int64_t now_ms)
{
    struct pollfd ready = {.fd = probe->fd, .events = POLLOUT};
    int reason = 0;
    socklen_t length = sizeof reason;
    bool ended = poll(&ready, 1, 0) == 1;
    if (ended && getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &reason, &length) == 0 &&
        reason == 0) {
        close_try(probe);
        return true;
    }
    if (ended || now_ms >= probe->due_ms)
        put_off(probe, now_ms);
    return false;
}

bool tcp_probe_step(struct tcp_probe *probe, int64_t now_ms)
{
    if (probe->fd >= 0)
        return go_on_with_try(probe, now_ms);
    return now_ms >= probe->due_ms && begin_try(probe, now_ms);
}
