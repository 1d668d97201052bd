/*
 * Notifications to a service manager, over a socket that the test owns. A full socket simulates a
 * manager that does not read.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/tmp_dir.h"
#include "base/process.h"
#include "base/sync.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* TMPDIR may be too long for a socket's path, so path goes through /proc and dir_fd. */
struct fixture {
    char dir[TMP_DIR_BYTES];
    int dir_fd;
    char path[64];
};

static int setup(void **state)
{
    static struct fixture fixture;
    const char *const unset[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    for (size_t i = 0; i < sizeof unset / sizeof unset[0]; i++)
        unsetenv(unset[i]);
    tmp_dir_create(fixture.dir);
    fixture.dir_fd = open(fixture.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fixture.dir_fd >= 0);
    snprintf(fixture.path, sizeof fixture.path, "/proc/self/fd/%d/socket", fixture.dir_fd);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    const struct fixture *fixture = *state;
    close(fixture->dir_fd);
    tmp_dir_remove(fixture->dir);
    return 0;
}

/* Binds a socket to a name, which begins with NUL if it is in the abstract namespace. */
static int bind_socket(const char *name, size_t name_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_true(name_bytes <= sizeof address.sun_path);
    memcpy(address.sun_path, name, name_bytes);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_bytes);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    return fd;
}

static void expect_message(int fd, const char *expected)
{
    char message[64];
    ssize_t length = recv(fd, message, sizeof message - 1, MSG_DONTWAIT);
    assert_true(length >= 0);
    message[length] = '\0';
    assert_string_equal(message, expected);
}

static void test_message_is_sent_to_a_path(void **state)
{
    const struct fixture *fixture = *state;
    int fd = bind_socket(fixture->path, strlen(fixture->path));
    setenv("NOTIFY_SOCKET", fixture->path, 1);
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    expect_message(fd, "READY=1");
    close(fd);
}

static void test_message_is_sent_to_an_abstract_name(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "@mission-control-test-%d", (int)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    size_t name_bytes = strlen(name);
    name[0] = '\0';
    int fd = bind_socket(name, name_bytes);
    notify_send("STOPPING=1", 0);
    expect_message(fd, "STOPPING=1");
    close(fd);
}

/* Neither fails nor blocks, whatever the value of the variable. */
static void test_unusable_socket_is_ignored(void **state)
{
    const struct fixture *fixture = *state;
    char max[200] = "/";
    memset(max + 1, 'x', sizeof max - 2);
    max[sizeof max - 1] = '\0';
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    const char *const names[] = {"", "relative", "vsock:2:1234", max, "/nonexistent/socket",
        fixture->path, "@nobody-listens-here"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    }
}

static void test_message_without_timeout_never_blocks(void **state)
{
    const struct fixture *fixture = *state;
    int fd = bind_socket(fixture->path, strlen(fixture->path));
    setenv("NOTIFY_SOCKET", fixture->path, 1);
    for (int i = 0; i < 2000; i++)
        notify_send("WATCHDOG=1", 0);
    expect_message(fd, "WATCHDOG=1");
    close(fd);
}

static void test_message_with_timeout_waits_for_room(void **state)
{
    enum { SHORT_MS = 50 };
    const struct fixture *fixture = *state;
    int fd = bind_socket(fixture->path, strlen(fixture->path));
    setenv("NOTIFY_SOCKET", fixture->path, 1);
    for (int i = 0; i < 2000; i++)
        notify_send("WATCHDOG=1", 0);
    int64_t began_ms = clock_monotonic_ms();
    notify_send("READY=1", SHORT_MS);
    assert_true(clock_monotonic_ms() - began_ms >= SHORT_MS - 1);
    close(fd);
}

static void *send_ready(void *unused)
{
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    return unused;
}

static void test_message_with_timeout_arrives(void **state)
{
    const struct fixture *fixture = *state;
    const struct timeval limit = {.tv_sec = NOTIFY_TIMEOUT_MS / 1000};
    char message[64] = "";
    pthread_t sender;
    int fd = bind_socket(fixture->path, strlen(fixture->path));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setenv("NOTIFY_SOCKET", fixture->path, 1);
    for (int i = 0; i < 2000; i++)
        notify_send("WATCHDOG=1", 0);
    assert_int_equal(pthread_create(&sender, NULL, send_ready, NULL), 0);
    while (strcmp(message, "READY=1") != 0) {
        ssize_t length = recv(fd, message, sizeof message - 1, 0);
        assert_true(length > 0);
        message[length] = '\0';
    }
    pthread_join(sender, NULL);
    close(fd);
}

static int64_t watchdog_ms_for(const char *interval_us, const char *pid)
{
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (interval_us != NULL)
        setenv("WATCHDOG_USEC", interval_us, 1);
    if (pid != NULL)
        setenv("WATCHDOG_PID", pid, 1);
    return notify_watchdog_ms();
}

static void test_watchdog_interval_is_halved(void **state)
{
    (void)state;
    assert_int_equal(watchdog_ms_for("30000000", NULL), 15000);
    assert_int_equal(watchdog_ms_for("200000", NULL), 100);
    assert_int_equal(watchdog_ms_for("1", NULL), 1);
    assert_int_equal(watchdog_ms_for("1999", NULL), 1);
}

static void test_invalid_watchdog_interval_is_off(void **state)
{
    (void)state;
    static const char *const none[] = {"", "0", "-5", "soon"};
    assert_int_equal(watchdog_ms_for(NULL, NULL), 0);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(watchdog_ms_for(none[i], NULL), 0);
}

static void test_watchdog_of_another_process_is_off(void **state)
{
    (void)state;
    char own[32];
    snprintf(own, sizeof own, "%d", (int)getpid());
    assert_int_equal(watchdog_ms_for("200000", own), 100);
    assert_int_equal(watchdog_ms_for("200000", "1"), 0);
    assert_int_equal(watchdog_ms_for("200000", ""), 0);
    assert_int_equal(watchdog_ms_for("200000", "me"), 0);
}

/* The interval becomes a poll(2) timeout, which is an int: larger values would wrap. */
static void test_long_watchdog_interval_is_capped(void **state)
{
    (void)state;
    assert_int_equal(watchdog_ms_for("8589934592000", NULL), DAY_MS);
    assert_int_equal(watchdog_ms_for("18446744073709551615", NULL), DAY_MS);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_message_is_sent_to_a_path),
        TEST(test_message_is_sent_to_an_abstract_name),
        TEST(test_unusable_socket_is_ignored),
        TEST(test_message_without_timeout_never_blocks),
        TEST(test_message_with_timeout_waits_for_room),
        TEST(test_message_with_timeout_arrives),
        TEST(test_watchdog_interval_is_halved),
        TEST(test_invalid_watchdog_interval_is_off),
        TEST(test_watchdog_of_another_process_is_off),
        TEST(test_long_watchdog_interval_is_capped),
    };
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
