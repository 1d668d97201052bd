/* Deadlines and aborts of the HTTP client and of calls of the backend: a response that has arrived
 * is read before either counts. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <poll.h>

#include "../lib/loopback.h"
#include "../lib/stub_server.h"
#include "backend/service.h"
#include "base/sync.h"
#include "http/client.h"

enum { TIMEOUT_MS = 1000, LIMIT_BYTES = 1024 * 1024, EXIT_BASE = 40, ALARM_S = 20 };

static atomic_bool aborted;

static struct http_request request_to(const char *url)
{
    static const char *const headers[] = {NULL};
    return (struct http_request){.url = url,
        .headers = headers,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = LIMIT_BYTES,
        .ignore_proxy = true};
}

static void fetch(unsigned port, struct http_response *response)
{
    struct http_client *client;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
    const struct http_request request = request_to(url);
    assert_int_equal(http_client_create(&client, NULL, &aborted, NULL), 0);
    http_client_perform(client, &request, response);
    http_client_destroy(client);
}

static int fetch_failure(unsigned port)
{
    struct http_response response;
    fetch(port, &response);
    return (int)response.failure;
}

/* Writes a reply back, with a timeout like that of fetch(). */
static int write_back_outcome(unsigned port)
{
    struct error error;
    struct service service = {0};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    assert_int_equal(http_client_create(&service.client, NULL, &aborted, NULL), 0);
    assert_int_equal(convex_create(&service.convex, url, "account", "token", &error), 0);
    convex_set_timeout(service.convex, TIMEOUT_MS);
    enum convex_outcome outcome = service_create_message(&service,
        &(struct new_message){.agent_id = "agent",
            .task_id = "task",
            .content = "words",
            .notification_id = "notification"},
        &error);
    convex_destroy(service.convex);
    http_client_destroy(service.client);
    return (int)outcome;
}

/* A server that stops the client before it answers, so that it sees the answer when it goes on. */
struct stopping_server {
    const char *answer;
    atomic_int client_pid;
    unsigned requests;
};

static const char *answer_while_stopped(void *context, const char *request)
{
    (void)request;
    struct stopping_server *server = context;
    int status;
    server->requests++;
    while (atomic_load(&server->client_pid) == 0)
        usleep(1000);
    kill(atomic_load(&server->client_pid), SIGSTOP);
    waitpid(atomic_load(&server->client_pid), &status, WUNTRACED);
    return server->answer;
}

static void set_aborted(int number)
{
    (void)number;
    atomic_store(&aborted, true);
}

/*
 * Runs exchange in a process that is stopped until after the timeout, and returns its result. Fails
 * the test unless that was a single request.
 */
static int exchange_while_stopped(
    int (*exchange)(unsigned port), const char *answer, bool abort_on_continue)
{
    struct stopping_server context = {.answer = answer};
    struct stub_server *server = stub_server_start_with(answer_while_stopped, &context);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(ALARM_S);
        if (abort_on_continue)
            signal(SIGCONT, set_aborted);
        _exit(EXIT_BASE + exchange(stub_server_port(server)));
    }
    atomic_store(&context.client_pid, pid);
    poll(NULL, 0, 2 * TIMEOUT_MS);
    int status;
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    stub_server_stop(server);
    assert_int_equal(context.requests, 1);
    return WEXITSTATUS(status) - EXIT_BASE;
}

static const char words_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwords";
static const char message_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n"
                                     "{\"status\":\"success\",\"value\":{\"messageId\":\"m1\"}}";

static void test_answer_in_the_socket_at_the_deadline_is_read(void **state)
{
    (void)state;
    assert_int_equal(exchange_while_stopped(fetch_failure, words_answer, false), HTTP_ANSWERED);
}

static void test_answer_in_the_socket_at_an_abort_is_read(void **state)
{
    (void)state;
    assert_int_equal(exchange_while_stopped(fetch_failure, words_answer, true), HTTP_ANSWERED);
}

/* The message exists: there is no reason to post it again. */
static void test_write_back_answered_before_the_deadline_has_succeeded(void **state)
{
    (void)state;
    assert_int_equal(
        exchange_while_stopped(write_back_outcome, message_answer, false), CONVEX_SUCCESS);
}

static void test_write_back_answered_before_an_abort_has_succeeded(void **state)
{
    (void)state;
    assert_int_equal(
        exchange_while_stopped(write_back_outcome, message_answer, true), CONVEX_SUCCESS);
}

/* Sends a byte each millisecond until the client has gone. */
static void *trickle(void *argument)
{
    const int *listen_fd = argument;
    int fd = accept4(*listen_fd, NULL, NULL, SOCK_CLOEXEC);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    ssize_t sent = send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
    while (sent > 0) {
        usleep(1000);
        sent = send(fd, "x", 1, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void test_trickling_peer_is_cut_off_soon_after_the_deadline(void **state)
{
    enum { OVERTIME_MS = 1000, SLACK_MS = 1500 };
    (void)state;
    unsigned port;
    pthread_t thread;
    struct http_response response;
    int listen_fd = loopback_listen(1, &port);
    assert_int_equal(thread_start(&thread, "trickle", trickle, &listen_fd, NULL), 0);
    int64_t began_ms = clock_monotonic_ms();
    fetch(port, &response);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_int_equal(response.failure, HTTP_TIMED_OUT);
    assert_in_range(took_ms, TIMEOUT_MS, TIMEOUT_MS + OVERTIME_MS + SLACK_MS);
    thread_join(thread);
    close(listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_in_the_socket_at_the_deadline_is_read),
        cmocka_unit_test(test_answer_in_the_socket_at_an_abort_is_read),
        cmocka_unit_test(test_write_back_answered_before_the_deadline_has_succeeded),
        cmocka_unit_test(test_write_back_answered_before_an_abort_has_succeeded),
        cmocka_unit_test(test_trickling_peer_is_cut_off_soon_after_the_deadline),
    };
    assert_int_equal(http_client_library_start(NULL), 0);
    int failures = cmocka_run_group_tests_name("http_deadline", tests, NULL, NULL);
    http_client_library_stop();
    return failures;
}
