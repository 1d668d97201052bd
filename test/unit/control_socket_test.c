/* The control socket: who may ask, what a request is, and what becomes of clients that misbehave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/tmp_dir.h"
#include "base/control_socket.h"
#include "base/io.h"
#include "base/sync.h"
#include "base/text.h"

enum { ASK_MS = 10000, LINE_BYTES = 1024, PATH_BYTES = TMP_DIR_BYTES + 16 };

struct control_fixture {
    char dir[TMP_DIR_BYTES];
    int dir_fd;
    struct control_socket *control;
    atomic_int requests;
    atomic_int inside; /* the handler, at this moment */
    atomic_bool overlapped;
};

/* Answers with what it got; "no ..." is refused. */
static enum control_result echo_request(
    void *context, const char *request, char answer[static CONTROL_ANSWER_BYTES])
{
    struct control_fixture *fixture = context;
    if (atomic_fetch_add(&fixture->inside, 1) > 0)
        atomic_store(&fixture->overlapped, true);
    atomic_fetch_add(&fixture->requests, 1);
    snprintf(answer, CONTROL_ANSWER_BYTES, "got %s", request);
    atomic_fetch_sub(&fixture->inside, 1);
    return strncmp(request, "no ", 3) == 0 ? CONTROL_REFUSED : CONTROL_DONE;
}

static void open_control(struct control_fixture *fixture)
{
    struct error error;
    if (control_socket_open(&fixture->control, fixture->dir, echo_request, fixture, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(control_socket_start(fixture->control, NULL), 0);
}

static int setup_control(void **state)
{
    struct control_fixture *fixture = calloc(1, sizeof *fixture);
    tmp_dir_create(fixture->dir);
    fixture->dir_fd = open(fixture->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    open_control(fixture);
    *state = fixture;
    return 0;
}

static int teardown_control(void **state)
{
    struct control_fixture *fixture = *state;
    control_socket_close(fixture->control);
    close(fixture->dir_fd);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

static void control_path(const struct control_fixture *fixture, char path[static PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/control", fixture->dir);
}

static int ask(struct control_fixture *fixture, const char *request, enum control_result *result,
    char answer[static CONTROL_ANSWER_BYTES])
{
    struct error error;
    return control_socket_ask(
        fixture->dir_fd, fixture->dir, request, ASK_MS, result, answer, &error);
}

static void expect_answer(struct control_fixture *fixture, const char *request,
    enum control_result expected, const char *words)
{
    char answer[CONTROL_ANSWER_BYTES];
    enum control_result result;
    assert_int_equal(ask(fixture, request, &result, answer), 0);
    assert_int_equal(result, expected);
    assert_string_equal(answer, words);
}

static int connect_raw(const struct control_fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(
        address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", fixture->dir_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends the bytes as they are, and returns what comes back until the connection ends. */
static void exchange_raw(const struct control_fixture *fixture, const char *bytes, size_t length,
    char reply[static LINE_BYTES])
{
    int fd = connect_raw(fixture);
    size_t used = 0;
    assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
    while (used < LINE_BYTES - 1 && fd_wait_readable(fd, ASK_MS)) {
        ssize_t got = recv(fd, reply + used, LINE_BYTES - 1 - used, 0);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    reply[used] = '\0';
    close(fd);
}

static void test_request_is_answered(void **state)
{
    expect_answer(*state, "hold", CONTROL_DONE, "got hold");
    expect_answer(*state, "no way", CONTROL_REFUSED, "got no way");
}

static void test_socket_is_its_owners_alone(void **state)
{
    struct control_fixture *fixture = *state;
    char path[PATH_BYTES];
    struct stat status;
    control_path(fixture, path);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
}

/* Even with a mode that lets others in: the kernel tells who they are. */
static void test_other_user_is_cut(void **state)
{
    struct control_fixture *fixture = *state;
    char path[PATH_BYTES];
    if (geteuid() != 0)
        skip();
    control_path(fixture, path);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(fixture->dir, 0755), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char answer[CONTROL_ANSWER_BYTES];
        enum control_result result;
        struct error error;
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(2);
        int code = control_socket_ask(
            fixture->dir_fd, fixture->dir, "hold", ASK_MS, &result, answer, &error);
        _exit(code == ERROR_REMOTE || code == ERROR_SYSTEM ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(atomic_load(&fixture->requests), 0);
}

static void test_garbage_is_refused_and_reaches_no_handler(void **state)
{
    struct control_fixture *fixture = *state;
    char reply[LINE_BYTES];
    char long_line[2 * CONTROL_REQUEST_BYTES];
    static const struct {
        const char *bytes;
        size_t length;
    } garbage[] = {{"\n", 1}, {"hold\nrelease\n", 13}, {"ho\0ld\n", 6}, {"h\xC3\xA4lt\n", 6},
        {"GET / HTTP/1.1\r\n\r\n", 18}};
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        exchange_raw(fixture, garbage[i].bytes, garbage[i].length, reply);
        assert_string_equal(reply, "refused not a request: expected one line of printable ASCII\n");
    }
    memset(long_line, 'a', sizeof long_line);
    long_line[sizeof long_line - 1] = '\n';
    exchange_raw(fixture, long_line, sizeof long_line, reply);
    assert_memory_equal(reply, "refused not a request", 21);
    assert_int_equal(atomic_load(&fixture->requests), 0);
    expect_answer(fixture, "hold", CONTROL_DONE, "got hold");
}

/* One that connects and says nothing, one that stops in the middle, and one that goes at once. */
static void test_silent_clients_do_not_keep_others_waiting(void **state)
{
    struct control_fixture *fixture = *state;
    int64_t began_ms = clock_monotonic_ms();
    int silent = connect_raw(fixture);
    int halfway = connect_raw(fixture);
    assert_int_equal(send(halfway, "ho", 2, MSG_NOSIGNAL), 2);
    close(connect_raw(fixture));
    expect_answer(fixture, "hold", CONTROL_DONE, "got hold");
    assert_true(clock_monotonic_ms() - began_ms < ASK_MS / 2);
    assert_int_equal(atomic_load(&fixture->requests), 1);
    close(silent);
    close(halfway);
}

static void *ask_many(void *context)
{
    for (int i = 0; i < 50; i++)
        expect_answer(context, "hold", CONTROL_DONE, "got hold");
    return NULL;
}

/* More of them than the backlog holds; their requests are handled one after the other. */
static void test_requests_at_once_are_handled_in_turn(void **state)
{
    enum { CLIENTS = 12 };
    struct control_fixture *fixture = *state;
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(thread_start(&threads[i], "test-ask", ask_many, fixture, NULL), 0);
    for (int i = 0; i < CLIENTS; i++)
        thread_join(threads[i]);
    assert_int_equal(atomic_load(&fixture->requests), CLIENTS * 50);
    assert_false(atomic_load(&fixture->overlapped));
}

static void test_close_removes_the_socket_and_stops_waiting_clients(void **state)
{
    struct control_fixture *fixture = *state;
    char path[PATH_BYTES];
    char answer[CONTROL_ANSWER_BYTES];
    enum control_result result;
    int silent = connect_raw(fixture);
    control_socket_close(fixture->control);
    fixture->control = NULL;
    control_path(fixture, path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(ask(fixture, "hold", &result, answer), ERROR_CLOSED);
    close(silent);
}

/* What a killed process leaves: the name of a socket at which nobody listens. */
static void test_stale_socket_is_replaced_and_anything_else_kept(void **state)
{
    struct control_fixture *fixture = *state;
    char path[PATH_BYTES];
    char answer[CONTROL_ANSWER_BYTES];
    enum control_result result;
    struct error error;
    control_socket_close(fixture->control);
    fixture->control = NULL;
    control_path(fixture, path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(
        address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", fixture->dir_fd);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stale, (const struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    assert_int_equal(ask(fixture, "hold", &result, answer), ERROR_CLOSED);
    open_control(fixture);
    expect_answer(fixture, "hold", CONTROL_DONE, "got hold");
    control_socket_close(fixture->control);
    fixture->control = NULL;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(
        control_socket_open(&fixture->control, fixture->dir, echo_request, fixture, &error),
        ERROR_INVALID);
    assert_non_null(strstr(error.text, "/control is not a socket"));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(ask(fixture, "hold", &result, answer), ERROR_CLOSED);
}

/* The address of a Unix socket has room for 107 bytes. */
static void test_long_path_of_the_directory_does_no_harm(void **state)
{
    struct control_fixture *fixture = *state;
    char answer[CONTROL_ANSWER_BYTES];
    char deep[LINE_BYTES];
    char name[151];
    enum control_result result;
    struct control_socket *control;
    struct error error;
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(deep, sizeof deep, "%s/%s", fixture->dir, name);
    assert_int_equal(mkdir(deep, 0700), 0);
    int deep_fd = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(control_socket_open(&control, deep, echo_request, fixture, &error), 0);
    assert_int_equal(control_socket_start(control, NULL), 0);
    assert_int_equal(control_socket_ask(deep_fd, deep, "hold", ASK_MS, &result, answer, &error), 0);
    assert_string_equal(answer, "got hold");
    control_socket_close(control);
    close(deep_fd);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_control, teardown_control)
    const struct CMUnitTest tests[] = {
        TEST(test_request_is_answered),
        TEST(test_socket_is_its_owners_alone),
        TEST(test_other_user_is_cut),
        TEST(test_garbage_is_refused_and_reaches_no_handler),
        TEST(test_silent_clients_do_not_keep_others_waiting),
        TEST(test_requests_at_once_are_handled_in_turn),
        TEST(test_close_removes_the_socket_and_stops_waiting_clients),
        TEST(test_stale_socket_is_replaced_and_anything_else_kept),
        TEST(test_long_path_of_the_directory_does_no_harm),
    };
#undef TEST
    return cmocka_run_group_tests_name("control_socket", tests, NULL, NULL);
}
