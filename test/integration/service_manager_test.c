/* Messages to systemd over NOTIFY_SOCKET: ready, watchdog, stopping. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"

enum { MESSAGE_BYTES = 64 };

/* A datagram socket at name; a leading '@' puts it in the abstract namespace. */
static int bind_notify_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t name_bytes = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_true(name_bytes < sizeof address.sun_path);
    memcpy(address.sun_path, name, name_bytes);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_bytes);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    return fd;
}

/* Receives the next message; fails the test if none arrives. */
static void receive_message(int fd, char message[static MESSAGE_BYTES])
{
    struct pollfd source = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&source, 1, TEST_WAIT_MS * process_timeout_scale()), 1);
    ssize_t length = recv(fd, message, MESSAGE_BYTES - 1, 0);
    assert_true(length > 0);
    message[length] = '\0';
}

static void expect_message(int fd, const char *expected)
{
    char message[MESSAGE_BYTES];
    receive_message(fd, message);
    assert_string_equal(message, expected);
}

static bool is_socket_empty(int fd)
{
    struct pollfd source = {.fd = fd, .events = POLLIN};
    return poll(&source, 1, 0) == 0;
}

static void notify_socket_in(
    const struct test_env *env, char path[static 300], char setting[static 320])
{
    snprintf(path, 300, "%s/notify", env->dir);
    snprintf(setting, 320, "NOTIFY_SOCKET=%s", path);
}

static void test_startup_and_shutdown_are_notified(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char setting[320];
    notify_socket_in(env, path, setting);
    int fd = bind_notify_socket(path);
    test_env_start_runtime(env, STRINGS(setting));
    expect_message(fd, "READY=1");
    test_env_wait(env, "action=listUndeliveredNotifications&calls=4");
    assert_true(is_socket_empty(fd));
    test_env_stop_runtime(env);
    expect_message(fd, "STOPPING=1");
    assert_true(is_socket_empty(fd));
    close(fd);
}

/* At the interval asked for, and never after STOPPING=1. */
static void test_watchdog_pings_an_abstract_socket(void **state)
{
    struct test_env *env = *state;
    char name[64];
    char setting[96];
    char message[MESSAGE_BYTES];
    snprintf(name, sizeof name, "@mission-control-notify-%d", (int)getpid());
    snprintf(setting, sizeof setting, "NOTIFY_SOCKET=%s", name);
    int fd = bind_notify_socket(name);
    test_env_start_runtime(env, STRINGS(setting, "WATCHDOG_USEC=200000"));
    expect_message(fd, "READY=1");
    for (int i = 0; i < 5; i++)
        expect_message(fd, "WATCHDOG=1");
    test_env_stop_runtime(env);
    do
        receive_message(fd, message);
    while (strcmp(message, "WATCHDOG=1") == 0);
    assert_string_equal(message, "STOPPING=1");
    assert_true(is_socket_empty(fd));
    close(fd);
}

static void test_watchdog_of_another_pid_is_ignored(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char setting[320];
    notify_socket_in(env, path, setting);
    int fd = bind_notify_socket(path);
    test_env_start_runtime(env, STRINGS(setting, "WATCHDOG_USEC=20000", "WATCHDOG_PID=1"));
    expect_message(fd, "READY=1");
    test_env_wait(env, "action=listUndeliveredNotifications&calls=4");
    test_env_stop_runtime(env);
    expect_message(fd, "STOPPING=1");
    assert_true(is_socket_empty(fd));
    close(fd);
}

static bool main_thread_blocks(const struct process *process, int number)
{
    char path[64];
    char line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "SigBlk:", 7) == 0)
            blocked = strtoull(line + 7, NULL, 16);
    fclose(file);
    return (blocked >> (number - 1) & 1) != 0;
}

/* From STOPPING=1 on a second signal kills, even while a stalled log reader blocks the first line.
 */
static void test_second_signal_works_from_stopping_on(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char setting[320];
    notify_socket_in(env, path, setting);
    int fd = bind_notify_socket(path);
    test_env_start_runtime(env, STRINGS(setting, "MISSION_CONTROL_DEBUG_CORE=on"));
    expect_message(fd, "READY=1");
    assert_true(main_thread_blocks(&env->runtime, SIGTERM));
    process_stall_output(&env->runtime);
    process_signal(&env->runtime, SIGTERM);
    expect_message(fd, "STOPPING=1");
    assert_false(main_thread_blocks(&env->runtime, SIGTERM));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    close(fd);
}

/* A failed startup must not report READY=1. */
static void test_failed_startup_is_not_notified(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char setting[320];
    notify_socket_in(env, path, setting);
    int fd = bind_notify_socket(path);
    test_env_launch(env, &env->runtime, STRINGS(setting, "STATE_DIR=/proc/nonexistent"), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    assert_true(is_socket_empty(fd));
    close(fd);
}

static void test_missing_notify_socket_does_no_harm(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char setting[320];
    notify_socket_in(env, path, setting);
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, STRINGS(setting, "WATCHDOG_USEC=2000"));
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

/* From half the limit on, so that systemd acts even if the process could not end by itself. */
static void test_silent_thread_ends_the_pings(void **state)
{
    struct test_env *env = *state;
    enum { LIMIT_MS = 3000 };
    char path[300];
    char setting[320];
    char limit[64];
    int64_t pinged_ms = 0;
    int64_t limit_ms = (int64_t)LIMIT_MS * process_timeout_scale();
    notify_socket_in(env, path, setting);
    snprintf(limit, sizeof limit, "MISSION_CONTROL_HANG_LIMIT_MS=%lld", (long long)limit_ms);
    int fd = bind_notify_socket(path);
    struct pollfd source = {.fd = fd, .events = POLLIN};
    env->runtime_program = "stop-points/mission-control-runtime";
    test_env_start_runtime(env,
        STRINGS(setting, limit, "WATCHDOG_USEC=100000", "MISSION_CONTROL_STOP_AT=mc-poll:9:hang"));
    expect_message(fd, "READY=1");
    while (process_wait_exit(&env->runtime, 1) < 0)
        if (poll(&source, 1, 0) > 0) {
            expect_message(fd, "WATCHDOG=1");
            pinged_ms = clock_monotonic_ms();
        }
    assert_true(pinged_ms > 0);
    assert_true(clock_monotonic_ms() - pinged_ms >= limit_ms / 8);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_startup_and_shutdown_are_notified),
        TEST_IN_ENV(test_watchdog_pings_an_abstract_socket),
        TEST_IN_ENV(test_watchdog_of_another_pid_is_ignored),
        TEST_IN_ENV(test_second_signal_works_from_stopping_on),
        TEST_IN_ENV(test_failed_startup_is_not_notified),
        TEST_IN_ENV(test_silent_thread_ends_the_pings),
        TEST_IN_ENV(test_missing_notify_socket_does_no_harm),
    };
    return cmocka_run_group_tests_name("service_manager", tests, NULL, NULL);
}
