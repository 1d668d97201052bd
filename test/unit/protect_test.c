/*
 * What keeps other processes of the same user from our secrets. Each case runs in a child process,
 * since it changes the process for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/test_file.h"
#include "protect.h"

enum { OTHER_USER = 65534, CORE_BYTES = 4096 };

/* Runs check in a child; whether it returned true. */
static bool run_in_child(bool (*check)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(check() ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static rlim_t core_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) == 0 ? limit.rlim_max : RLIM_INFINITY;
}

static bool leaves_no_core(void)
{
    unsetenv(PROTECT_DEBUG_VARIABLE);
    return protect_memory() && prctl(PR_GET_DUMPABLE) == 0 && core_limit() == 0;
}

static bool other_values_do_not_unprotect(void)
{
    setenv(PROTECT_DEBUG_VARIABLE, "off", 1);
    return protect_memory() && prctl(PR_GET_DUMPABLE) == 0;
}

static bool can_be_debugged(void)
{
    rlim_t before = core_limit();
    setenv(PROTECT_DEBUG_VARIABLE, "on", 1);
    return !protect_memory() && prctl(PR_GET_DUMPABLE) == 1 && core_limit() == before;
}

static void test_memory_is_protected_unless_it_is_debugged(void **state)
{
    (void)state;
    assert_true(run_in_child(leaves_no_core));
    assert_true(run_in_child(other_values_do_not_unprotect));
    assert_true(run_in_child(can_be_debugged));
}

/* Becomes another user whose processes may read each other. */
static bool become_other_user(void)
{
    return setgid(OTHER_USER) == 0 && setuid(OTHER_USER) == 0 &&
           prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

static bool can_read_parent(const char *file)
{
    char path[64];
    char byte;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && (strcmp(file, "mem") == 0 || read(fd, &byte, 1) == 1);
}

static bool child_reads_memory(void)
{
    return can_read_parent("mem");
}

static bool child_reads_environment(void)
{
    return can_read_parent("environ");
}

/* As an agent's tool would be, a child of the same user. The first two show that it could. */
static bool children_cannot_read(void)
{
    unsetenv(PROTECT_DEBUG_VARIABLE);
    if (!become_other_user() || !run_in_child(child_reads_memory) ||
        !run_in_child(child_reads_environment))
        return false;
    protect_memory();
    return !run_in_child(child_reads_memory) && !run_in_child(child_reads_environment);
}

static void test_processes_of_the_same_user_cannot_read(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_true(run_in_child(children_cannot_read));
}

/* Reads what the kernel shows as the environment of this process. */
static size_t read_environment(char *bytes, size_t size)
{
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, bytes, size) : -1;
    if (fd >= 0)
        close(fd);
    return length > 0 ? (size_t)length : 0;
}

static bool environment_is_wiped(void)
{
    static char before[64 * 1024];
    static char after[64 * 1024];
    const char *path = getenv("PATH");
    char *kept = path != NULL ? strdup(path) : NULL;
    size_t length = read_environment(before, sizeof before);
    protect_environment();
    if (kept == NULL || length == 0 || memmem(before, length, kept, strlen(kept)) == NULL)
        return false;
    length = read_environment(after, sizeof after);
    for (size_t i = 0; i < length; i++)
        if (after[i] != '\0')
            return false;
    const char *moved = getenv("PATH");
    bool is_known = moved != NULL && moved != path && strcmp(moved, kept) == 0;
    free(kept);
    return is_known;
}

static void test_environment_is_wiped_and_still_known(void **state)
{
    (void)state;
    assert_true(run_in_child(environment_is_wiped));
}

static void test_deployments_leave_no_core(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"deploy/systemd/mission-control-runtime.service", "\nLimitCORE=0\n"},
        {"deploy/systemd/mission-control-runtime@.service", "\nLimitCORE=0\n"},
        {"deploy/cloud-init/user-data.yaml.in", " --ulimit core=0 "},
        {"docker-compose.runtime.yml", "\n  ulimits:\n    core: 0\n"},
        {"openclaw/start-openclaw.sh", "\nulimit -c 0\n"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char *text = test_file_read(lines[i][0]);
        if (strstr(text, lines[i][1]) == NULL)
            fail_msg("%s lacks: %s", lines[i][0], lines[i][1]);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_protected_unless_it_is_debugged),
        cmocka_unit_test(test_processes_of_the_same_user_cannot_read),
        cmocka_unit_test(test_environment_is_wiped_and_still_known),
        cmocka_unit_test(test_deployments_leave_no_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
