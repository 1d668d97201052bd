#include "base/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd_wait.h"

static bool is_named(const char *variable, const char *name)
{
    size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

/* Also by pattern: somebody may have the service token in a variable of another name. */
static bool carries_service_token(const char *variable)
{
    return is_named(variable, "SERVICE_TOKEN") || is_named(variable, "SERVICE_TOKEN_FILE") ||
           strstr(variable, "mc_service_") != NULL;
}

/* Our environment less our secrets: an array for the caller to free, its strings borrowed. */
static char **make_environment(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **kept = calloc(count + 1, sizeof *kept);
    if (kept == NULL)
        return NULL;
    size_t next = 0;
    for (size_t i = 0; i < count; i++)
        if (!carries_service_token(environ[i]))
            kept[next++] = environ[i];
    return kept;
}

/* The pipe goes first: with our own 0 to 2 closed, its writing end may be one of those. */
static int describe_files(posix_spawn_file_actions_t *files, int write_fd, enum child_errors errors)
{
    int result = posix_spawn_file_actions_adddup2(files, write_fd, STDOUT_FILENO);
    if (result == 0 && errors == CHILD_ERRORS_WITH_OUTPUT)
        result = posix_spawn_file_actions_adddup2(files, STDOUT_FILENO, STDERR_FILENO);
    if (result == 0 && errors == CHILD_ERRORS_DROPPED)
        result = posix_spawn_file_actions_addopen(files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return result;
}

static void describe_process(posix_spawnattr_t *attributes)
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
static int spawn(pid_t *pid, const char *const argv[], int write_fd, enum child_errors errors)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char **environment = make_environment();
    if (environment == NULL)
        return ENOMEM;
    int result = posix_spawn_file_actions_init(&files);
    if (result != 0)
        goto err_after_environment;
    result = posix_spawnattr_init(&attributes);
    if (result != 0)
        goto err_after_files;
    describe_process(&attributes);
    result = describe_files(&files, write_fd, errors);
    if (result == 0)
        result = posix_spawnp(pid, argv[0], &files, &attributes, (char *const *)argv, environment);
    posix_spawnattr_destroy(&attributes);
err_after_files:
    posix_spawn_file_actions_destroy(&files);
err_after_environment:
    free(environment);
    return result;
}

static void reap(pid_t pid, struct child_exit *ended)
{
    int status = 0;
    pid_t reaped = 0;
    do
        reaped = waitpid(pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    assert(reaped == pid);
    if (ended == NULL)
        return;
    ended->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ended->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* As process 1 of a container we inherit what the group's dead leave behind. */
static void reap_orphans(pid_t group)
{
    while (waitpid(-group, NULL, WNOHANG) > 0)
        ;
}

int child_start(
    struct child *child, const char *const argv[], enum child_errors errors, struct error *error)
{
    assert(argv[0] != NULL);
    *child = (struct child){.pid_fd = -1, .output_fd = -1};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot run %s: no pipe", argv[0]);
    int result = spawn(&child->pid, argv, ends[1], errors);
    close(ends[1]);
    if (result != 0) {
        error_set_errno(error, result == ENOMEM ? ERROR_NO_MEMORY : ERROR_SYSTEM, result,
            "cannot run %s", argv[0]);
        goto err_after_pipe;
    }
    /* Nobody else reaps it, so the number still means this process. */
    child->pid_fd = pidfd_open(child->pid, 0);
    if (child->pid_fd < 0) {
        result = errno;
        error_set_errno(error, ERROR_SYSTEM, result, "cannot wait for %s", argv[0]);
        goto err_after_spawn;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child->output_fd = ends[0];
    return 0;

err_after_spawn:
    child_signal_group(child, SIGKILL);
    reap(child->pid, NULL);
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
    /* The unreaped leader keeps the group's number from being given to anybody else. */
    kill(-child->pid, signal);
}

void child_fini(struct child *child, struct child_exit *ended)
{
    child_signal_group(child, SIGKILL);
    reap(child->pid, ended);
    reap_orphans(child->pid);
    close(child->pid_fd);
    close(child->output_fd);
    *child = (struct child){.pid_fd = -1, .output_fd = -1};
}

/* Where a child's output is kept; what does not fit is dropped. */
struct sink {
    char *bytes;
    size_t length_bytes;
    size_t capacity_bytes;
};

/* One read, so that a child that writes for ever is still held to its deadline. */
static bool read_some(int fd, struct sink *sink)
{
    char dropped[4096];
    size_t room_bytes = sink->capacity_bytes - sink->length_bytes;
    ssize_t got = room_bytes > 0 ? read(fd, sink->bytes + sink->length_bytes, room_bytes)
                                 : read(fd, dropped, sizeof dropped);
    if (got > 0 && room_bytes > 0)
        sink->length_bytes += (size_t)got;
    return got > 0;
}

static int collect(const struct child *child, int64_t deadline_ms, int stop_fd, struct sink *sink)
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
        /* A child may close its output and go on. */
        if (!read_some(child->output_fd, sink))
            fds[2].fd = -1;
    }
    while (sink->length_bytes < sink->capacity_bytes && read_some(child->output_fd, sink))
        ;
    return 0;
}

int child_output(const char *const argv[], int64_t timeout_ms, int stop_fd, char *output,
    size_t output_bytes, struct child_exit *ended, struct error *error)
{
    assert(timeout_ms >= 1 && output_bytes >= 1);
    struct sink sink = {.bytes = output, .capacity_bytes = output_bytes - 1};
    struct child child;
    int result = child_start(&child, argv, CHILD_ERRORS_DROPPED, error);
    if (result != 0)
        return result;
    result = collect(&child, clock_monotonic_ms() + timeout_ms, stop_fd, &sink);
    child_fini(&child, ended);
    output[sink.length_bytes] = '\0';
    if (result == ERROR_TIMEOUT)
        error_set(
            error, ERROR_TIMEOUT, "%s did not end in %lld ms", argv[0], (long long)timeout_ms);
    if (result == ERROR_INTERRUPTED)
        error_set(error, ERROR_INTERRUPTED, "%s was stopped", argv[0]);
    return result;
}
