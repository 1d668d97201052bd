/*
 * Other processes: running children, reading /proc, and notifying systemd.
 *
 * A child is started with posix_spawn, without a shell, as the leader of a process group. We wait
 * for it by pidfd, which poll(2) can watch together with a stop descriptor and the child's output,
 * so no SIGCHLD handler is needed. Two rules make signals safe: the leader is not reaped before
 * child_fini, so neither its pid nor its group id can be reused while we may signal it; and all
 * signals go to the group, so a wrapper script does not leave the real program behind.
 *
 * The child inherits nothing by accident: descriptors above 2 are closed, signal dispositions and
 * mask are reset, and variables that carry the service token are removed from its environment.
 *
 * /proc answers what kill(2) cannot: whether a group has members that are not zombies, whether a
 * pid is still the process that was recorded (by its start time), and what a process uses. A failed
 * lookup for lack of descriptors or memory is PROCESS_UNKNOWN, never taken for an exited process.
 *
 * The notifications implement sd_notify(3) without libsystemd: one datagram to a socket.
 */
#include "base/process.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sync.h"
#include "base/watch.h"

static bool environment_is_named(const char *variable, const char *name)
{
    size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

/* Also by its form, as an operator may keep the token in a variable of another name. */
static bool environment_has_service_token(const char *variable)
{
    return environment_is_named(variable, "SERVICE_TOKEN") ||
           environment_is_named(variable, "SERVICE_TOKEN_FILE") ||
           strstr(variable, "mc_service_") != NULL;
}

/* Our environment without our secrets: the caller frees the array; its strings are borrowed. */
static char **child_environment(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **kept = calloc(count + 1, sizeof *kept);
    if (kept == NULL)
        return NULL;
    size_t next = 0;
    for (size_t i = 0; i < count; i++)
        if (!environment_has_service_token(environ[i]))
            kept[next++] = environ[i];
    return kept;
}

/*
 * Order matters: the pipe is duplicated first, since its write end may itself be descriptor 0 or 2
 * if ours were closed.
 */
static int child_set_files(
    posix_spawn_file_actions_t *files, int write_fd, enum child_stderr errors)
{
    int result = posix_spawn_file_actions_adddup2(files, write_fd, STDOUT_FILENO);
    if (result == 0 && errors == CHILD_STDERR_MERGED)
        result = posix_spawn_file_actions_adddup2(files, STDOUT_FILENO, STDERR_FILENO);
    if (result == 0 && errors == CHILD_STDERR_DROPPED)
        result = posix_spawn_file_actions_addopen(files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return result;
}

static void child_set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setflags(
        attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

/* Returns 0 or an errno value. */
static int child_spawn(pid_t *pid, const char *const argv[], int write_fd, enum child_stderr errors)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char **environment = child_environment();
    if (environment == NULL)
        return ENOMEM;
    int result = posix_spawn_file_actions_init(&files);
    if (result != 0)
        goto err_after_environment;
    result = posix_spawnattr_init(&attributes);
    if (result != 0)
        goto err_after_files;
    child_set_attributes(&attributes);
    result = child_set_files(&files, write_fd, errors);
    if (result == 0)
        result = posix_spawnp(pid, argv[0], &files, &attributes, (char *const *)argv, environment);
    posix_spawnattr_destroy(&attributes);
err_after_files:
    posix_spawn_file_actions_destroy(&files);
err_after_environment:
    free(environment);
    return result;
}

static void child_reap(pid_t pid, struct child_exit *ended)
{
    int status = 0;
    pid_t reaped = 0;
    /* Also SIGKILL has to wait while the kernel keeps the child, for a disk that does not answer.
     */
    watch_pause();
    do
        reaped = waitpid(pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    watch_resume();
    assert(reaped == pid);
    if (ended == NULL)
        return;
    ended->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ended->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* As process 1 of a container we inherit the orphans of the group and must reap them. */
static void child_reap_orphans(pid_t group)
{
    while (waitpid(-group, NULL, WNOHANG) > 0)
        ;
}

int child_start(
    struct child *child, const char *const argv[], enum child_stderr errors, struct error *error)
{
    assert(argv[0] != NULL);
    *child = (struct child){.pid_fd = -1, .output_fd = -1};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot create a pipe for %s", argv[0]);
    int result = child_spawn(&child->pid, argv, ends[1], errors);
    close(ends[1]);
    if (result != 0) {
        error_set_errno(error, result == ENOMEM ? ERROR_NO_MEMORY : ERROR_SYSTEM, result,
            "cannot run %s", argv[0]);
        goto err_after_pipe;
    }
    /* Only this file reaps it, so the pid still refers to this process even if it has exited. */
    child->pid_fd = pidfd_open(child->pid, 0);
    if (child->pid_fd < 0) {
        result = errno;
        error_set_errno(error, ERROR_SYSTEM, result, "cannot open a pidfd for %s", argv[0]);
        goto err_after_spawn;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child->output_fd = ends[0];
    return 0;

err_after_spawn:
    child_signal_group(child, SIGKILL);
    child_reap(child->pid, NULL);
err_after_pipe:
    close(ends[0]);
    return result == ENOMEM ? ERROR_NO_MEMORY : ERROR_SYSTEM;
}

int child_wait(const struct child *child, int64_t deadline_ms, int stop_fd)
{
    struct pollfd fds[] = {
        {.fd = child->pid_fd, .events = POLLIN},
        {.fd = stop_fd, .events = POLLIN},
    };
    if (fd_wait(fds, 2, deadline_ms) == 0)
        return ERROR_TIMEOUT;
    return fds[0].revents != 0 ? 0 : ERROR_INTERRUPTED;
}

void child_signal_group(const struct child *child, int signal)
{
    assert(child->pid > 1);
    /* The unreaped leader keeps the kernel from reusing the group's id. */
    kill(-child->pid, signal);
}

void child_fini(struct child *child, struct child_exit *ended)
{
    child_signal_group(child, SIGKILL);
    child_reap(child->pid, ended);
    child_reap_orphans(child->pid);
    close(child->pid_fd);
    close(child->output_fd);
    *child = (struct child){.pid_fd = -1, .output_fd = -1};
}

/*
 * One read, so that a child that writes without end still meets its deadline. Appends to output up
 * to its capacity and drops the rest. False at the end of the output, or if none is ready.
 */
static bool output_read_some(int fd, char *output, size_t capacity, size_t *length)
{
    char dropped[4096];
    bool has_room = *length < capacity;
    ssize_t got = has_room ? read(fd, output + *length, capacity - *length)
                           : read(fd, dropped, sizeof dropped);
    if (got > 0 && has_room)
        *length += (size_t)got;
    return got > 0;
}

static int output_collect(const struct child *child, int64_t deadline_ms, int stop_fd, char *output,
    size_t capacity, size_t *length)
{
    struct pollfd fds[] = {
        {.fd = child->pid_fd, .events = POLLIN},
        {.fd = stop_fd, .events = POLLIN},
        {.fd = child->output_fd, .events = POLLIN},
    };
    for (;;) {
        if (fd_wait(fds, 3, deadline_ms) == 0 || clock_monotonic_ms() >= deadline_ms)
            return ERROR_TIMEOUT;
        if (fds[1].revents != 0)
            return ERROR_INTERRUPTED;
        if (fds[0].revents != 0)
            break;
        /* End of file: the child may have closed its output and still run. */
        if (!output_read_some(child->output_fd, output, capacity, length))
            fds[2].fd = -1;
    }
    /* The child has exited; read what is left in the pipe. */
    while (*length < capacity && output_read_some(child->output_fd, output, capacity, length))
        ;
    return 0;
}

int child_output(const char *const argv[], int64_t timeout_ms, int stop_fd, char *output,
    size_t output_bytes, struct child_exit *ended, struct error *error)
{
    assert(timeout_ms >= 1 && output_bytes >= 1);
    size_t length = 0;
    struct child child;
    int result = child_start(&child, argv, CHILD_STDERR_DROPPED, error);
    if (result != 0)
        return result;
    result = output_collect(
        &child, clock_monotonic_ms() + timeout_ms, stop_fd, output, output_bytes - 1, &length);
    child_fini(&child, ended);
    output[length] = '\0';
    if (result == ERROR_TIMEOUT)
        error_set(
            error, ERROR_TIMEOUT, "%s did not exit within %lld ms", argv[0], (long long)timeout_ms);
    if (result == ERROR_INTERRUPTED)
        error_set(error, ERROR_INTERRUPTED, "%s was interrupted by shutdown", argv[0]);
    return result;
}

/* Fields of /proc/PID/stat, numbered from 1 as in proc(5). */
enum {
    FIELD_STATE = 3,
    FIELD_GROUP = 5,
    FIELD_SESSION = 6,
    FIELD_THREADS = 20,
    FIELD_START_TICKS = 22,
    FIELD_VIRTUAL_BYTES = 23,
    FIELD_RESIDENT_PAGES = 24,
    FIELDS_READ = FIELD_RESIDENT_PAGES,
};

enum { LINE_BYTES = 1024, PATH_BYTES = sizeof "/proc/2147483647/statm" };

static bool stat_read_number(const char **at, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(*at, &end, 10);
    bool read = end != *at && errno == 0;
    *at = end;
    return read;
}

bool process_stat_parse(const char *line, struct process_stat *stat)
{
    /* The program's name is in parentheses and may itself contain some. */
    const char *at = strrchr(line, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0' || at[3] != ' ')
        return false;
    int64_t numbers[FIELDS_READ + 1] = {0};
    stat->state = at[2];
    at += 3;
    for (int field = FIELD_STATE + 1; field <= FIELDS_READ; field++)
        if (!stat_read_number(&at, &numbers[field]))
            return false;
    stat->group = (pid_t)numbers[FIELD_GROUP];
    stat->session = (pid_t)numbers[FIELD_SESSION];
    stat->threads = numbers[FIELD_THREADS];
    stat->start_ticks = numbers[FIELD_START_TICKS];
    stat->virtual_bytes = numbers[FIELD_VIRTUAL_BYTES];
    stat->resident_bytes = numbers[FIELD_RESIDENT_PAGES] * sysconf(_SC_PAGESIZE);
    return true;
}

/* After /proc could not be read. A process that we may not read about is not one of ours. */
static enum process_presence proc_presence_after(int failure)
{
    bool out_of_resources = failure == EMFILE || failure == ENFILE || failure == ENOMEM;
    return out_of_resources ? PROCESS_UNKNOWN : PROCESS_GONE;
}

/* Reads the one-line file of the process; line is undefined unless it is running. */
static enum process_presence proc_read_line(
    pid_t pid, const char *file, char line[static LINE_BYTES])
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return proc_presence_after(errno);
    ssize_t length = read(fd, line, LINE_BYTES - 1);
    int failure = errno;
    close(fd);
    if (length <= 0)
        return length < 0 ? proc_presence_after(failure) : PROCESS_GONE;
    line[length] = '\0';
    return PROCESS_RUNNING;
}

enum process_presence process_stat_read(pid_t pid, struct process_stat *stat)
{
    char line[LINE_BYTES];
    enum process_presence presence = proc_read_line(pid, "stat", line);
    if (presence == PROCESS_RUNNING && !process_stat_parse(line, stat))
        return PROCESS_GONE;
    return presence;
}

int64_t process_resident_bytes(pid_t pid)
{
    char line[LINE_BYTES];
    const char *at = line;
    int64_t all_pages;
    int64_t resident_pages;
    if (proc_read_line(pid, "statm", line) != PROCESS_RUNNING ||
        !stat_read_number(&at, &all_pages) || !stat_read_number(&at, &resident_pages))
        return 0;
    return resident_pages * sysconf(_SC_PAGESIZE);
}

/* Whether that entry of /proc is a running member of the group. */
static enum process_presence proc_check_member(const char *name, pid_t group, pid_t session)
{
    struct process_stat stat;
    char *end;
    long pid = strtol(name, &end, 10);
    if (pid <= 0 || pid > INT_MAX || *end != '\0')
        return PROCESS_GONE;
    enum process_presence presence = process_stat_read((pid_t)pid, &stat);
    if (presence != PROCESS_RUNNING)
        return presence;
    bool is_member =
        stat.group == group && (session == PROCESS_ANY_SESSION || stat.session == session);
    return is_member && stat.state != 'Z' && stat.state != 'X' ? PROCESS_RUNNING : PROCESS_GONE;
}

enum process_presence process_group_find(pid_t group, pid_t session)
{
    enum process_presence found = PROCESS_GONE;
    const struct dirent *entry;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return PROCESS_UNKNOWN;
    while (found != PROCESS_RUNNING && (entry = readdir(dir)) != NULL) {
        enum process_presence presence = proc_check_member(entry->d_name, group, session);
        found = presence != PROCESS_GONE ? presence : found;
    }
    closedir(dir);
    return found;
}

/* Notifying more often than required does no harm. */
enum { MAX_WATCHDOG_MS = 24 * 60 * 60 * 1000 };

/* NOTIFY_SOCKET is a path or, with a leading '@', a name in the abstract namespace. */
static bool notify_address(struct sockaddr_un *address, socklen_t *length)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address->sun_path)
        return false;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path));
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    return true;
}

void notify_send(const char *state, int64_t timeout_ms)
{
    struct sockaddr_un address;
    socklen_t length;
    if (!notify_address(&address, &length))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    int flags = MSG_NOSIGNAL | (timeout_ms > 0 ? 0 : MSG_DONTWAIT);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0)
        flags |= MSG_DONTWAIT;
    ssize_t sent =
        sendto(fd, state, strlen(state), flags, (const struct sockaddr *)&address, length);
    (void)sent;
    close(fd);
}

int64_t notify_watchdog_ms(void)
{
    const char *interval_us = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (interval_us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    long long value = strtoll(interval_us, NULL, 10);
    if (value <= 0)
        return 0;
    /* Half, rounded down, but at least 1: 0 means that no notification is wanted. */
    int64_t half_ms = value / 2000 + (value < 2000);
    return half_ms < MAX_WATCHDOG_MS ? half_ms : MAX_WATCHDOG_MS;
}
