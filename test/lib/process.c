/*
 * A program under test. A reader thread collects its output, standard output and error through one
 * pipe in the order written; waits for output are waits on a condition variable, so tests need no
 * sleeps. The exit is awaited through a pidfd, so a test can wait with a time limit without
 * reaping by accident.
 *
 * process_stall_output keeps the reader from reading and fills the pipe, which is what a stalled
 * log consumer looks like to the program.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka.h needs these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sync.h"

enum { OUTPUT_END_MS = 500 };

int process_timeout_scale(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 5;
#else
    return 1;
#endif
}

/* Leaves out the NULs of process_stall_output, since the output is searched as a string. */
static void append_locked(struct process *process, const char *bytes, size_t length)
{
    mutex_assert_held(&process->lock);
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != '\0')
            text_append_bytes(&process->output, &bytes[i], 1);
}

static void *collect_output(void *argument)
{
    struct process *process = argument;
    char bytes[4096];
    ssize_t length;
    while ((length = read(process->output_fd, bytes, sizeof bytes)) > 0) {
        mutex_lock(&process->lock);
        append_locked(process, bytes, (size_t)length);
        cond_broadcast(&process->changed);
        while (process->stalled) {
            process->is_holding = true;
            cond_broadcast(&process->changed);
            cond_wait(&process->changed, &process->lock);
        }
        process->is_holding = false;
        mutex_unlock(&process->lock);
    }
    mutex_lock(&process->lock);
    process->closed = true;
    cond_broadcast(&process->changed);
    mutex_unlock(&process->lock);
    return NULL;
}

static void spawn_program(
    struct process *process, const char *const argv[], char *const environment[], int write_end)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawnattr_init(&attributes), 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, write_end, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, write_end, STDERR_FILENO);
    int result = posix_spawn(
        &process->pid, argv[0], &actions, &attributes, (char *const *)argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (result != 0)
        fail_msg("cannot start %s: %s", argv[0], strerror(result));
}

/* That of this process, to return to after the next start; -1: the next one shares ours. */
static int own_pid_namespace = -1;

bool process_isolate_next(void)
{
    int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (unshare(CLONE_NEWPID) != 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return false;
    }
    own_pid_namespace = fd;
    return true;
}

/* Also because no thread can be started in between. */
static void return_to_own_namespace(void)
{
    if (own_pid_namespace < 0)
        return;
    assert_int_equal(setns(own_pid_namespace, CLONE_NEWPID), 0);
    close(own_pid_namespace);
    own_pid_namespace = -1;
}

void process_start(struct process *process, const char *const argv[], char *const environment[])
{
    int ends[2];
    memset(process, 0, sizeof *process);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    spawn_program(process, argv, environment, ends[1]);
    return_to_own_namespace();
    close(ends[1]);
    process->output_fd = ends[0];
    process->pid_fd = pidfd_open(process->pid, 0);
    assert_true(process->pid_fd >= 0);
    mutex_init(&process->lock);
    cond_init(&process->changed);
    process->running = true;
    assert_int_equal(thread_start(&process->reader, "output", collect_output, process, NULL), 0);
}

static const char *find_output_locked(struct process *process, const char *words)
{
    mutex_assert_held(&process->lock);
    return process->output.data != NULL ? strstr(process->output.data, words) : NULL;
}

static void copy_line(const char *line, char *copy, size_t copy_bytes)
{
    if (copy == NULL)
        return;
    snprintf(copy, copy_bytes, "%.*s", (int)strcspn(line, "\n"), line);
}

/* A match counts once its line is complete, so that the rest of the line can be copied. */
bool process_wait_output(
    struct process *process, const char *words, int timeout_ms, char *rest, size_t rest_bytes)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)timeout_ms * process_timeout_scale();
    const char *found;
    bool waiting = true;
    mutex_lock(&process->lock);
    while ((found = find_output_locked(process, words)) == NULL || strchr(found, '\n') == NULL) {
        if (process->closed || !waiting)
            break;
        waiting = cond_wait_until(&process->changed, &process->lock, deadline_ms);
    }
    if (found != NULL)
        copy_line(found + strlen(words), rest, rest_bytes);
    mutex_unlock(&process->lock);
    return found != NULL;
}

bool process_has_output(struct process *process, const char *words)
{
    mutex_lock(&process->lock);
    bool found = find_output_locked(process, words) != NULL;
    mutex_unlock(&process->lock);
    return found;
}

static void set_stalled(struct process *process, bool stalled)
{
    mutex_lock(&process->lock);
    process->stalled = stalled;
    cond_broadcast(&process->changed);
    mutex_unlock(&process->lock);
}

/* Waits until the flag of the process, which its lock guards, is set; false when it takes long. */
static bool wait_for_flag(struct process *process, const bool *flag, int timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)timeout_ms * process_timeout_scale();
    bool waiting = true;
    mutex_lock(&process->lock);
    while (!*flag && waiting)
        waiting = cond_wait_until(&process->changed, &process->lock, deadline_ms);
    bool is_set = *flag;
    mutex_unlock(&process->lock);
    return is_set;
}

void process_stall_output(struct process *process)
{
    static const char last_line[] = "(the reader stalls here or before)\n";
    static const char filling[4096] = "";
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)process->pid, STDOUT_FILENO);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    set_stalled(process, true);
    assert_int_equal(write(fd, last_line, strlen(last_line)), strlen(last_line));
    assert_true(wait_for_flag(process, &process->is_holding, 15000));
    while (write(fd, filling, sizeof filling) > 0)
        continue;
    close(fd);
}

void process_resume_output(struct process *process)
{
    set_stalled(process, false);
}

char *process_output(struct process *process)
{
    mutex_lock(&process->lock);
    char *copy = strdup(process->output.data != NULL ? process->output.data : "");
    mutex_unlock(&process->lock);
    assert_non_null(copy);
    return copy;
}

void process_signal(const struct process *process, int number)
{
    assert_int_equal(kill(process->pid, number), 0);
}

void process_suspend(const struct process *process)
{
    int status = 0;
    process_signal(process, SIGSTOP);
    assert_int_equal(waitpid(process->pid, &status, WUNTRACED), process->pid);
    assert_true(WIFSTOPPED(status));
}

int process_wait_exit(struct process *process, int timeout_ms)
{
    struct pollfd ended = {.fd = process->pid_fd, .events = POLLIN};
    if (poll(&ended, 1, timeout_ms * process_timeout_scale()) != 1)
        return -1;
    int status = 0;
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    process->running = false;
    /* What it wrote last may not have been read yet. A child of its own can keep the pipe open. */
    if (!process->stalled)
        wait_for_flag(process, &process->closed, OUTPUT_END_MS);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void process_fini(struct process *process)
{
    if (process->pid == 0)
        return;
    if (process->running) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    process_resume_output(process);
    thread_join(process->reader);
    close(process->output_fd);
    close(process->pid_fd);
    text_fini(&process->output);
    cond_fini(&process->changed);
    mutex_fini(&process->lock);
    memset(process, 0, sizeof *process);
}

void process_dump_output(struct process *process, const char *title)
{
    if (process->pid == 0)
        return;
    mutex_lock(&process->lock);
    fprintf(stderr, "---- %s ----\n%s\n", title,
        process->output.data != NULL ? process->output.data : "(nothing)");
    mutex_unlock(&process->lock);
}
