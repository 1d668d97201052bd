/*
 * Requests with bodies, which threads of the test answer: every way in which one can end, the
 * limits of memory and number, and that the paths for GET are served meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/http_fixture.h"
#include "../lib/memory.h"
#include "base/process.h"
#include "base/sync.h"

enum { LARGE_BYTES = 5 * 1024 * 1024, CROWD = 64, MAX_OF_GROUP = 16, LIMIT_KIB = 64 * 1024 };

#define POST(path, headers) REQUEST("POST /work/" path, headers)

struct fixture {
    struct http_server *server;
    pthread_t threads[4];
    size_t count;
    _Atomic int ends[600]; /* by status */
    _Atomic bool holds;    /* threads keep what they take */
    _Atomic int in_hand;
};

/* The part of the path after the prefix says what is done: it is the group as well. */
struct details {
    char word[64];
    bool was_asked;
};

static enum http_admission admit(void *context, const struct http_server_request *request,
    struct http_post_plan *plan, struct http_server_reply *reply)
{
    (void)context;
    const char *word = request->path + strlen("/work/");
    if (strcmp(request->method, "POST") != 0) {
        reply->status = 405;
        reply->allow = "POST";
        return HTTP_REFUSE;
    }
    if (strcmp(word, "refused") == 0) {
        reply->status = 403;
        text_append(&reply->body, "refused");
        return HTTP_REFUSE;
    }
    struct details *details = calloc(1, sizeof *details);
    assert_non_null(details);
    const char *group = http_server_request_header(request, "x-group");
    snprintf(details->word, sizeof details->word, "%s", group != NULL ? group : word);
    plan->details = details;
    plan->group = details->word;
    return strncmp(word, "ask", 3) == 0 ? HTTP_ASK : HTTP_READ;
}

static void end(void *context, void *details, unsigned status, int64_t duration_us)
{
    struct fixture *fixture = context;
    assert_true(duration_us >= 0);
    fixture->ends[status]++;
    free(details);
}

static void answer_post(struct http_server *server, struct http_post *post)
{
    struct details *details = http_post_details(post);
    struct text_span body = http_post_body(post);
    struct http_server_reply reply = {
        .status = 200, .content_type = "text/plain", .content_policy = "default-src 'none'"};
    if (body.bytes == NULL && strcmp(details->word, "ask-no") == 0)
        reply.status = 403;
    else if (body.bytes == NULL) {
        details->was_asked = true;
        http_server_read_post(server, post);
        return;
    }
    unsigned sum = 0;
    for (size_t i = 0; body.bytes != NULL && i < body.length_bytes; i++)
        sum += (unsigned char)body.bytes[i];
    assert_true(body.bytes == NULL || body.bytes[body.length_bytes] == '\0');
    text_printf(&reply.body, "%s%s %zu %u", details->word, details->was_asked ? " asked" : "",
        body.length_bytes, sum);
    http_server_answer_post(server, post, &reply);
}

static void *work(void *argument)
{
    struct fixture *fixture = argument;
    struct http_post *post;
    while ((post = http_server_take_post(fixture->server)) != NULL) {
        fixture->in_hand++;
        while (fixture->holds && !atomic_load(http_post_overdue(post)))
            poll(NULL, 0, 1);
        answer_post(fixture->server, post);
        fixture->in_hand--;
    }
    return NULL;
}

static void start_threads(struct fixture *fixture, size_t count)
{
    fixture->count = count;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(thread_start(&fixture->threads[i], "test", work, fixture, NULL), 0);
}

static int setup_with(void **state, size_t threads)
{
    static struct fixture fixture;
    static struct http_server_posts posts;
    struct error error;
    fixture = (struct fixture){0};
    posts = (struct http_server_posts){
        .prefix = "/work/", .max_of_group = MAX_OF_GROUP, .admit = admit, .end = end};
    posts.context = &fixture;
    if (http_server_create(
            &fixture.server, "127.0.0.1", 0, http_fixture_routes, NULL, &posts, &error) != 0)
        fail_msg("%s", error.text);
    start_threads(&fixture, threads);
    *state = &fixture;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 4);
}

static int setup_without_threads(void **state)
{
    return setup_with(state, 0);
}

static void stop_threads(struct fixture *fixture)
{
    fixture->holds = false;
    http_server_close_posts(fixture->server);
    for (size_t i = 0; i < fixture->count; i++)
        thread_join(fixture->threads[i]);
    fixture->count = 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    stop_threads(fixture);
    http_server_destroy(fixture->server);
    return 0;
}

static void wait_for_number(_Atomic int *number, int wanted)
{
    int64_t limit_ms = clock_monotonic_ms() + HTTP_FIXTURE_TIMEOUT_MS;
    while (*number != wanted) {
        if (clock_monotonic_ms() > limit_ms)
            fail_msg("%d instead of %d", *number, wanted);
        poll(NULL, 0, 2);
    }
}

static void exchange(
    const struct fixture *fixture, const char *request, char answer[HTTP_FIXTURE_RESPONSE_BYTES])
{
    http_fixture_exchange(fixture->server, request, answer);
}

static void must_serve_get(const struct fixture *fixture)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    exchange(fixture, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, HTTP_FIXTURE_PROMPT_MS);
}

static void test_bodies_reach_the_thread(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    exchange(fixture, POST("a", "Content-Length: 3\r\n") "abc", answer);
    response_must_start_with(answer, "HTTP/1.1 200 OK\r\n");
    response_must_contain(answer, "\r\nX-Content-Type-Options: nosniff\r\n");
    response_must_contain(answer, "\r\nConnection: close\r\n");
    response_body_must_be(answer, "a 3 294");
    exchange(fixture, POST("b", "Content-Length: 0\r\n"), answer);
    response_body_must_be(answer, "b 0 0");
    exchange(fixture, POST("c", ""), answer);
    response_body_must_be(answer, "c 0 0");
    exchange(fixture, "POST http://h/work/d?x=1 HTTP/1.0\r\nContent-Length: 1\r\n\r\na", answer);
    response_body_must_be(answer, "d 1 97");
    exchange(fixture,
        POST("e", "Transfer-Encoding: chunked\r\n") "2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: t\r\n\r\n",
        answer);
    response_body_must_be(answer, "e 3 294");
    assert_int_equal(fixture->ends[200], 5);
    must_serve_get(fixture);
}

static void test_expectation_is_met(void **state)
{
    struct fixture *fixture = *state;
    static const char word[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char answer[HTTP_FIXTURE_RESPONSE_BYTES] = "";
    int fd = http_fixture_connect(fixture->server);
    http_fixture_send(fd, POST("a", "Content-Length: 3\r\nExpect: 100-continue\r\n"));
    assert_int_equal(recv(fd, answer, sizeof word - 1, MSG_WAITALL), sizeof word - 1);
    assert_memory_equal(answer, word, sizeof word - 1);
    http_fixture_send(fd, "abc");
    http_fixture_receive(fd, answer);
    response_body_must_be(answer, "a 3 294");
    exchange(fixture, POST("refused", "Content-Length: 3\r\nExpect: 100-continue\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
    exchange(fixture, POST("a", "Content-Length: 5242881\r\nExpect: 100-continue\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 413 ");
    exchange(fixture, POST("ask-no", "Content-Length: 3\r\nExpect: 100-continue\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
}

static void test_refusals_come_before_the_body(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    exchange(fixture, REQUEST("GET /work/a", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 405 ");
    response_must_contain(answer, "\r\nAllow: POST\r\n");
    exchange(fixture, POST("refused", "Content-Length: 3\r\n") "abc", answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
    response_body_must_be(answer, "refused");
    /* Nothing of the body is sent. */
    exchange(fixture, POST("refused", "Content-Length: 4000000\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
    response_must_contain(answer, "\r\nConnection: close\r\n");
    response_body_must_be(answer, "refused");
    exchange(fixture, POST("a", "Content-Length: 5242881\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 413 ");
    response_body_must_be(answer, "{\"success\":false,\"error\":\"Request body over 5 MiB\"}");
    exchange(fixture, POST("a", "Content-Length: 99999999999999999999\r\n"), answer);
    assert_null(strstr(answer, " 200 "));
    exchange(fixture, REQUEST("POST /echo", "Content-Length: 3\r\n") "abc", answer);
    response_must_start_with(answer, "HTTP/1.1 405 ");
    response_must_contain(answer, "\r\nAllow: GET, HEAD\r\n");
}

static void test_thread_may_decide_before_the_body(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    exchange(fixture, POST("ask", "Content-Length: 3\r\n") "abc", answer);
    response_body_must_be(answer, "ask asked 3 294");
    exchange(fixture, POST("ask-no", "Content-Length: 3\r\n") "abc", answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
    exchange(fixture, POST("ask-no", "Content-Length: 5000000\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
    exchange(fixture, POST("ask-no", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 403 ");
}

static char block[64 * 1024]; /* filled by main */

/* Sends all of it; the sockets' buffers do not hold that much. */
static void send_body(int fd, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, block, bytes < sizeof block ? bytes : sizeof block, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes -= (size_t)sent;
    }
}

static void *send_large(void *server)
{
    char header[256];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    static _Atomic int number;
    int fd = http_fixture_connect(server);
    snprintf(header, sizeof header, POST("a", "X-Group: g%d\r\nContent-Length: %d\r\n"), number++,
        LARGE_BYTES);
    http_fixture_send(fd, header);
    send_body(fd, LARGE_BYTES);
    http_fixture_receive(fd, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    response_must_contain(answer, " 5242880 508559360");
    return NULL;
}

static long resident_kib(void)
{
    return (long)(process_resident_bytes(getpid()) / 1024);
}

static void test_large_bodies_wait_in_the_kernel(void **state)
{
    struct fixture *fixture = *state;
    pthread_t clients[CROWD];
    long max_kib = 0;
    fixture->holds = true;
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(thread_start(&clients[i], "client", send_large, fixture->server, NULL), 0);
    wait_for_number(&fixture->in_hand, 1);
    for (int i = 0; i < 20; i++) {
        must_serve_get(fixture);
        max_kib = resident_kib() > max_kib ? resident_kib() : max_kib;
    }
    fixture->holds = false;
    for (size_t i = 0; i < CROWD; i++) {
        thread_join(clients[i]);
        max_kib = resident_kib() > max_kib ? resident_kib() : max_kib;
    }
    print_message("%d bodies of 5 MiB: at most %ld KiB resident\n", CROWD, max_kib);
    assert_int_equal(fixture->ends[200], CROWD);
    if (memory_is_measurable())
        assert_in_range(max_kib, 0, LIMIT_KIB);
}

static void test_endless_chunks_get_413(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int fd = http_fixture_connect(fixture->server);
    http_fixture_send(fd, POST("a", "Transfer-Encoding: chunked\r\n") "600000\r\n");
    send_body(fd, 0x600000);
    http_fixture_receive(fd, answer);
    response_must_start_with(answer, "HTTP/1.1 413 ");
    assert_int_equal(fixture->ends[413], 1);
    must_serve_get(fixture);
}

/* The client has already gone on with the body when the refusal comes, and reads it all the same.
 */
static void test_refusal_survives_an_unread_body(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    static const char *const headers[] = {
        POST("refused", "Content-Length: 3000000\r\n"),
        POST("a", "Content-Length: 6000000\r\n"),
        POST("refused", "Transfer-Encoding: chunked\r\n") "2DC6C0\r\n",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        int fd = http_fixture_connect(fixture->server);
        http_fixture_send(fd, headers[i]);
        send_body(fd, 3000000);
        http_fixture_receive(fd, answer);
        response_must_start_with(answer, i == 1 ? "HTTP/1.1 413 " : "HTTP/1.1 403 ");
    }
}

static void test_slow_body_gets_408_and_holds_no_thread(void **state)
{
    struct fixture *fixture = *state;
    int fds[12];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    for (size_t i = 0; i < 12; i++) {
        fds[i] = http_fixture_connect(fixture->server);
        http_fixture_send(fds[i], POST("slow", "Content-Length: 5000000\r\n") "a");
    }
    exchange(fixture, POST("a", "Content-Length: 3\r\n") "abc", answer);
    response_body_must_be(answer, "a 3 294");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, HTTP_FIXTURE_PROMPT_MS);
    must_serve_get(fixture);
    http_fixture_receive(fds[0], answer);
    response_must_start_with(answer, "HTTP/1.1 408 ");
    response_body_must_be(answer, "{\"success\":false,\"error\":\"Request body too slow\"}");
    assert_in_range(clock_monotonic_ms() - began_ms, HTTP_POST_BODY_MS - 100,
        HTTP_POST_BODY_MS + HTTP_FIXTURE_PROMPT_MS);
    for (size_t i = 1; i < 12; i++)
        close(fds[i]);
}

static void test_client_that_leaves_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    int64_t began_ms = clock_monotonic_ms();
    for (int i = 0; i < 100; i++) {
        int fd = http_fixture_connect(fixture->server);
        http_fixture_send(fd, POST("gone", "Content-Length: 4000000\r\n") "abc");
        close(fd);
    }
    must_serve_get(fixture);
    int64_t limit_ms = clock_monotonic_ms() + HTTP_FIXTURE_TIMEOUT_MS;
    while (fixture->ends[0] + fixture->ends[429] + fixture->ends[503] < 100 &&
           clock_monotonic_ms() < limit_ms)
        poll(NULL, 0, 5);
    assert_int_equal(fixture->ends[0] + fixture->ends[429] + fixture->ends[503], 100);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, HTTP_POST_BODY_MS / 2);
}

static void test_group_and_list_have_limits(void **state)
{
    struct fixture *fixture = *state;
    int fds[HTTP_POST_WAITING];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    for (int i = 0; i < HTTP_POST_WAITING; i++) {
        char request[256];
        snprintf(request, sizeof request, POST("a", "X-Group: g%d\r\nContent-Length: 1\r\n") "x",
            i % (HTTP_POST_WAITING / MAX_OF_GROUP));
        fds[i] = http_fixture_connect(fixture->server);
        http_fixture_send(fds[i], request);
        if (i == MAX_OF_GROUP)
            must_serve_get(fixture);
    }
    must_serve_get(fixture);
    exchange(fixture, POST("a", "X-Group: g0\r\nContent-Length: 1\r\n") "x", answer);
    response_must_start_with(answer, "HTTP/1.1 429 ");
    response_must_contain(answer, "\r\nRetry-After: 1\r\n");
    exchange(fixture, POST("a", "X-Group: other\r\nContent-Length: 1\r\n") "x", answer);
    response_must_start_with(answer, "HTTP/1.1 503 ");
    response_must_contain(answer, "\r\nRetry-After: 1\r\n");
    start_threads(fixture, 2);
    for (size_t i = 0; i < HTTP_POST_WAITING; i++) {
        http_fixture_receive(fds[i], answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
    }
    exchange(fixture, POST("a", "X-Group: g0\r\nContent-Length: 1\r\n") "x", answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
}

static void test_close_answers_what_waits_and_lets_the_rest_end(void **state)
{
    struct fixture *fixture = *state;
    int fds[3];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    fixture->holds = true;
    for (size_t i = 0; i < 3; i++) {
        fds[i] = http_fixture_connect(fixture->server);
        http_fixture_send(fds[i], POST("a", "Content-Length: 3\r\n") "abc");
        if (i == 0) {
            start_threads(fixture, 1);
            wait_for_number(&fixture->in_hand, 1);
        }
    }
    must_serve_get(fixture);
    http_server_close_posts(fixture->server);
    for (size_t i = 1; i < 3; i++) {
        http_fixture_receive(fds[i], answer);
        response_must_start_with(answer, "HTTP/1.1 503 ");
        response_must_contain(answer, "shutting down");
    }
    exchange(fixture, POST("a", "Content-Length: 3\r\n") "abc", answer);
    response_must_start_with(answer, "HTTP/1.1 503 ");
    fixture->holds = false;
    http_fixture_receive(fds[0], answer);
    response_body_must_be(answer, "a 3 294");
}

/* The server ends while connections are suspended. */
static void test_stop_with_requests_waiting(void **state)
{
    struct fixture *fixture = *state;
    int fds[8];
    for (size_t i = 0; i < 8; i++) {
        fds[i] = http_fixture_connect(fixture->server);
        http_fixture_send(fds[i], POST("a", "Content-Length: 3\r\n") "abc");
    }
    must_serve_get(fixture);
    http_server_destroy(fixture->server);
    fixture->server = NULL;
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
    assert_int_equal(fixture->ends[0], 8);
    setup_with(state, 0);
}

static void test_overdue_work_is_told(void **state)
{
    struct fixture *fixture = *state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    fixture->holds = true;
    int64_t began_ms = clock_monotonic_ms();
    int fd = http_fixture_connect(fixture->server);
    http_fixture_send(fd, POST("a", "Content-Length: 3\r\n") "abc");
    wait_for_number(&fixture->in_hand, 1);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (poll(&ready, 1, 1000) == 0)
        must_serve_get(fixture);
    http_fixture_receive(fd, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_in_range(clock_monotonic_ms() - began_ms, HTTP_POST_LIMIT_MS, HTTP_POST_LIMIT_MS + 1000);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define IDLE_TEST(test) cmocka_unit_test_setup_teardown(test, setup_without_threads, teardown)

int main(void)
{
    memset(block, 'a', sizeof block);
    const struct CMUnitTest tests[] = {
        TEST(test_bodies_reach_the_thread),
        TEST(test_expectation_is_met),
        TEST(test_refusals_come_before_the_body),
        TEST(test_thread_may_decide_before_the_body),
        TEST(test_large_bodies_wait_in_the_kernel),
        TEST(test_endless_chunks_get_413),
        TEST(test_refusal_survives_an_unread_body),
        TEST(test_slow_body_gets_408_and_holds_no_thread),
        TEST(test_client_that_leaves_is_forgotten),
        IDLE_TEST(test_group_and_list_have_limits),
        IDLE_TEST(test_close_answers_what_waits_and_lets_the_rest_end),
        IDLE_TEST(test_stop_with_requests_waiting),
        TEST(test_overdue_work_is_told),
    };
    return cmocka_run_group_tests_name("serve_http_post", tests, NULL, NULL);
}
