/* The HTTP server as plain sockets see it: its answers, its limits, its start and its stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/memory.h"
#include "base/clock.h"
#include "base/sync.h"
#include "serve/http_server.h"

enum {
    ANSWER_BYTES = 4096,
    LONG_MS = 20000,
    AT_ONCE_MS = 2000,
    DRIPPING = 500,
    FITTING = 1000,
    MORE_THAN_FIT = 1100,
    CONNECTION_LIMIT = 1024,
    DESCRIPTORS = 4 * CONNECTION_LIMIT, /* so that a quarter of them is the limit */
    FEW_DESCRIPTORS = 160,
    CROWDS = 6,
    MOST_GROWTH_KIB = 1024,
    CONNECTION_AGE_MS = 5000,
    HEADER_LIMIT_BYTES = 8192,
};

static void echo(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    text_printf(&reply->body, "%s|%s|%s", (const char *)context, request->path, request->accept);
}

static void answer_page(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context, (void)request;
    reply->status = 503;
    reply->content_type = "text/html; charset=utf-8";
    reply->content_policy = "default-src 'self'";
    text_append(&reply->body, "<p>");
}

static void run_out_of_memory(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context, (void)request;
    text_append(&reply->body, "half");
    reply->body.failed = true;
}

static char echo_context[] = "context";

static const struct http_server_route ROUTES[] = {
    {"/echo", echo, echo_context},
    {"/page", answer_page, NULL},
    {"/memory", run_out_of_memory, NULL},
    {NULL, NULL, NULL},
};

/* Both ends of each connection are in this process. */
static void allow_descriptors(rlim_t most)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int setup(void **state)
{
    struct error error;
    struct http_server *server = NULL;
    allow_descriptors(DESCRIPTORS);
    if (http_server_create(&server, "127.0.0.1", 0, ROUTES, NULL, &error) != 0)
        fail_msg("%s", error.text);
    *state = server;
    return 0;
}

static int teardown(void **state)
{
    http_server_destroy(*state);
    return 0;
}

static int dial(const struct http_server *server)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_server_port(server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *bytes)
{
    size_t length = strlen(bytes);
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

/* Reads until the server closes, which it must do in time, and closes. */
static void hear(int fd, char answer[static ANSWER_BYTES])
{
    size_t length = 0;
    int64_t deadline_ms = clock_monotonic_ms() + LONG_MS;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_true(clock_monotonic_ms() < deadline_ms);
        if (poll(&ready, 1, 1000) <= 0)
            continue;
        ssize_t got = read(fd, answer + length, ANSWER_BYTES - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        assert_true(length < ANSWER_BYTES - 1);
    }
    answer[length] = '\0';
    close(fd);
}

static void exchange(
    const struct http_server *server, const char *request, char answer[static ANSWER_BYTES])
{
    int fd = dial(server);
    say(fd, request);
    hear(fd, answer);
}

#define REQUEST(line, headers) line " HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

static void must_hold(const char *answer, const char *part)
{
    if (strstr(answer, part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, answer);
}

static void must_begin(const char *answer, const char *part)
{
    if (strncmp(answer, part, strlen(part)) != 0)
        fail_msg("no \"%s\" at the start of:\n%s", part, answer);
}

static void must_end(const char *answer, const char *part)
{
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, part);
}

static void test_answer(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("GET /echo", "Accept: text/plain;q=0.5, */*\r\n"), answer);
    must_begin(answer, "HTTP/1.1 200 ");
    must_hold(answer, "\r\nContent-Type: application/json\r\n");
    must_hold(answer, "\r\nContent-Security-Policy: default-src 'none'\r\n");
    must_hold(answer, "\r\nX-Content-Type-Options: nosniff\r\n");
    must_hold(answer, "\r\nCache-Control: no-store\r\n");
    must_hold(answer, "\r\nConnection: close\r\n");
    must_end(answer, "context|/echo|text/plain;q=0.5, */*");
}

static void test_query_is_ignored(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("GET /echo?x", ""), answer);
    must_end(answer, "context|/echo|");
    exchange(*state, REQUEST("GET /echo?a=%00&b=/nope", ""), answer);
    must_end(answer, "context|/echo|");
    exchange(*state, "GET /echo? HTTP/1.0\r\n\r\n", answer);
    must_end(answer, "context|/echo|");
}

static void test_head(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("HEAD /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
    must_hold(answer, "\r\nContent-Length: 14\r\n");
    must_end(answer, "");
}

static void test_what_the_handler_chooses(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("GET /page", ""), answer);
    must_begin(answer, "HTTP/1.1 503 ");
    must_hold(answer, "\r\nContent-Type: text/html; charset=utf-8\r\n");
    must_hold(answer, "\r\nContent-Security-Policy: default-src 'self'\r\n");
    must_end(answer, "<p>");
}

static void test_a_half_built_body_is_not_sent(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("GET /memory", ""), answer);
    must_begin(answer, "HTTP/1.1 500 ");
    must_end(answer, "{\"error\":\"out of memory\"}");
}

static void test_unknown_path(void **state)
{
    static const char *const requests[] = {
        REQUEST("GET /", ""),
        REQUEST("GET /echo/", ""),
        REQUEST("GET /ECHO", ""),
        REQUEST("GET /echo%00x", ""),
        REQUEST("GET /../echo", ""),
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[ANSWER_BYTES];
        exchange(*state, requests[i], answer);
        must_begin(answer, "HTTP/1.1 404 ");
        must_hold(answer, "\r\nContent-Type: application/json\r\n");
        must_end(answer, "{\"error\":\"no such path\"}");
    }
}

static void test_other_methods(void **state)
{
    static const char *const requests[] = {
        REQUEST("POST /echo", "Content-Length: 5\r\n") "hello",
        REQUEST("PUT /nowhere", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n",
        REQUEST("DELETE /echo", ""),
        REQUEST("OPTIONS /echo", ""),
        REQUEST("BREW /echo", ""),
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[ANSWER_BYTES];
        exchange(*state, requests[i], answer);
        must_begin(answer, "HTTP/1.1 405 ");
        must_hold(answer, "\r\nAllow: GET, HEAD\r\n");
        must_hold(answer, "\r\nConnection: close\r\n");
        must_end(answer, "{\"error\":\"only GET and HEAD\"}");
    }
}

static void send_body(const struct http_server *server, size_t bytes, char *answer)
{
    struct text request = {0};
    text_printf(&request, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", bytes);
    for (size_t i = 0; i < bytes; i++)
        text_append_bytes(&request, "x", 1);
    assert_false(request.failed);
    exchange(server, request.data, answer);
    text_fini(&request);
}

static void test_bodies(void **state)
{
    char answer[ANSWER_BYTES];
    send_body(*state, 60000, answer);
    must_begin(answer, "HTTP/1.1 405 ");
    send_body(*state, 1000000, answer);
    assert_string_equal(answer, "");
}

static void send_header(const struct http_server *server, size_t bytes, char *answer)
{
    struct text request = {0};
    text_append(&request, "GET /echo HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; request.length_bytes + 200 < bytes; i++)
        text_printf(&request, "X-%d: %090d\r\n", i, i);
    text_append(&request, "X-Last: ");
    while (request.length_bytes < bytes - strlen("\r\n\r\n"))
        text_append(&request, "x");
    text_append(&request, "\r\n\r\n");
    assert_false(request.failed);
    exchange(server, request.data, answer);
    text_fini(&request);
}

static void test_header_limit(void **state)
{
    char answer[ANSWER_BYTES];
    send_header(*state, HEADER_LIMIT_BYTES, answer);
    must_begin(answer, "HTTP/1.1 200 ");
    send_header(*state, HEADER_LIMIT_BYTES + 1, answer);
    must_begin(answer, "HTTP/1.1 431 ");
    must_end(answer, "{\"error\":\"header over 8 KiB\"}");
}

/* Beyond the connection's memory the library itself refuses, so the client may be cut off. */
static void test_huge_header(void **state)
{
    char answer[ANSWER_BYTES];
    send_header(*state, (size_t)20 * HEADER_LIMIT_BYTES, answer);
    if (answer[0] != '\0')
        must_begin(answer, "HTTP/1.1 431 ");
    exchange(*state, REQUEST("GET /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
}

static void test_not_http(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, "\x16\x03\x01 hello\r\n\r\n", answer);
    assert_null(strstr(answer, " 200 "));
    exchange(*state, REQUEST("GET /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
}

static void test_busy_port(void **state)
{
    struct error error;
    struct http_server *second = NULL;
    char port[16];
    snprintf(port, sizeof port, "%u", http_server_port(*state));
    int result =
        http_server_create(&second, "127.0.0.1", http_server_port(*state), ROUTES, NULL, &error);
    assert_int_equal(result, ERROR_UNREACHABLE);
    must_hold(error.text, "127.0.0.1");
    must_hold(error.text, port);
    must_hold(error.text, strerror(EADDRINUSE));
}

static void test_port_is_free_after_the_stop(void **state)
{
    char answer[ANSWER_BYTES];
    struct http_server *server = *state;
    unsigned port = http_server_port(server);
    for (int i = 0; i < 10; i++) {
        exchange(server, REQUEST("GET /echo", ""), answer);
        http_server_destroy(server);
        *state = NULL;
        assert_int_equal(http_server_create(&server, "127.0.0.1", port, ROUTES, NULL, NULL), 0);
        *state = server;
    }
}

static void test_stop_with_open_connections(void **state)
{
    char answer[ANSWER_BYTES];
    int fds[20];
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = dial(*state);
        say(fds[i], "GET /echo HTTP/1.1\r\nHo");
    }
    exchange(*state, REQUEST("GET /echo", ""), answer);
    int64_t began_ms = clock_monotonic_ms();
    http_server_destroy(*state);
    *state = NULL;
    assert_in_range(clock_monotonic_ms() - began_ms, 0, AT_ONCE_MS);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        hear(fds[i], answer);
        assert_string_equal(answer, "");
    }
}

static void test_bad_host(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a..b", "", "999.1.1.1", "1.2.3.4.5", "127.0.0.1:80"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct error error;
        struct http_server *server = NULL;
        int result = http_server_create(&server, hosts[i], 0, ROUTES, NULL, &error);
        if (result != ERROR_INVALID)
            fail_msg("%s: %d %s", hosts[i], result, error.text);
        must_hold(error.text, hosts[i]);
    }
}

/* Such an address may come with an interface, as that of a tunnel; it is no wrong setting. */
static void test_address_that_is_not_there_yet(void **state)
{
    (void)state;
    struct error error;
    struct http_server *server = NULL;
    /* 192.0.2.0/24 is for documentation: nobody's address. */
    int result = http_server_create(&server, "192.0.2.1", 0, ROUTES, NULL, &error);
    assert_int_equal(result, ERROR_UNREACHABLE);
    must_hold(error.text, "192.0.2.1");
    must_hold(error.text, strerror(EADDRNOTAVAIL));
}

static void test_hosts(void **state)
{
    (void)state;
    char answer[ANSWER_BYTES];
    static const char *const hosts[] = {"localhost", "0.0.0.0"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct http_server *server = NULL;
        assert_int_equal(http_server_create(&server, hosts[i], 0, ROUTES, NULL, NULL), 0);
        exchange(server, REQUEST("GET /echo", ""), answer);
        must_begin(answer, "HTTP/1.1 200 ");
        http_server_destroy(server);
    }
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return bound;
}

static void test_ipv6(void **state)
{
    (void)state;
    if (!has_ipv6())
        skip();
    char answer[ANSWER_BYTES];
    struct http_server *server = NULL;
    assert_int_equal(http_server_create(&server, "::1", 0, ROUTES, NULL, NULL), 0);
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)http_server_port(server)),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    say(fd, REQUEST("GET /echo", ""));
    hear(fd, answer);
    must_begin(answer, "HTTP/1.1 200 ");
    http_server_destroy(server);
}

static void *ask_often(void *server)
{
    char answer[ANSWER_BYTES];
    for (int i = 0; i < 100; i++) {
        exchange(server, REQUEST("GET /echo", ""), answer);
        must_begin(answer, "HTTP/1.1 200 ");
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(thread_start(&threads[i], "client", ask_often, *state, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        thread_join(threads[i]);
}

/* Sends one more byte on each line; returns how many are still open. */
static size_t drip(int *fds, size_t count)
{
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        char byte;
        if (fds[i] < 0)
            continue;
        ssize_t got = recv(fds[i], &byte, 1, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN) ||
            send(fds[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            close(fds[i]);
            fds[i] = -1;
        }
        open += fds[i] >= 0;
    }
    return open;
}

static void start_dripping(const struct http_server *server, int *fds, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        fds[i] = dial(server);
        say(fds[i], "GET /echo HTTP/1.1\r\nX-Slow: ");
    }
}

/* Whether the server has closed it, or does so within limit_ms. */
static bool is_ended(int fd, int limit_ms)
{
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&ended, 1, limit_ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static void test_a_new_client_takes_the_place_of_the_oldest(void **state)
{
    static int fds[CONNECTION_LIMIT];
    char answer[ANSWER_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, CONNECTION_LIMIT);
    int64_t asked_ms = clock_monotonic_ms();
    exchange(*state, REQUEST("GET /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
    assert_in_range(clock_monotonic_ms() - asked_ms, 0, AT_ONCE_MS);
    assert_true(is_ended(fds[0], AT_ONCE_MS));
    if (clock_monotonic_ms() - began_ms < CONNECTION_AGE_MS)
        assert_false(is_ended(fds[CONNECTION_LIMIT - 1], 0));
    for (size_t i = 0; i < CONNECTION_LIMIT; i++)
        close(fds[i]);
}

/* A flood leaves the process three quarters of its descriptors. */
static void test_few_descriptors(void **state)
{
    int fds[FEW_DESCRIPTORS / 4];
    char answer[ANSWER_BYTES];
    teardown(state);
    allow_descriptors(FEW_DESCRIPTORS);
    assert_int_equal(
        http_server_create((struct http_server **)state, "127.0.0.1", 0, ROUTES, NULL, NULL), 0);
    allow_descriptors(DESCRIPTORS);
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, FEW_DESCRIPTORS / 4);
    exchange(*state, REQUEST("GET /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
    assert_true(is_ended(fds[0], AT_ONCE_MS));
    if (clock_monotonic_ms() - began_ms < CONNECTION_AGE_MS)
        assert_false(is_ended(fds[FEW_DESCRIPTORS / 4 - 1], 0));
    for (size_t i = 0; i < FEW_DESCRIPTORS / 4; i++)
        close(fds[i]);
}

static long resident_kib(void)
{
    char line[256];
    char *resident;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    strtol(line, &resident, 10);
    return strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

static void crowd_in_and_out(const struct http_server *server)
{
    static int fds[DRIPPING];
    char answer[ANSWER_BYTES];
    start_dripping(server, fds, 0, DRIPPING);
    exchange(server, REQUEST("GET /echo", ""), answer);
    for (size_t i = 0; i < DRIPPING; i++) {
        shutdown(fds[i], SHUT_WR);
        assert_true(is_ended(fds[i], LONG_MS));
        close(fds[i]);
    }
}

/* What connections needed goes back to the system, however many there were. */
static void test_crowds_leave_no_memory_behind(void **state)
{
    char answer[ANSWER_BYTES];
    exchange(*state, REQUEST("GET /echo", ""), answer);
    long before_kib = resident_kib();
    for (int i = 0; i < CROWDS; i++)
        crowd_in_and_out(*state);
    exchange(*state, REQUEST("GET /echo", ""), answer);
    long growth_kib = resident_kib() - before_kib;
    print_message("%d crowds of %d: memory %+ld KiB\n", CROWDS, DRIPPING, growth_kib);
    if (memory_is_measurable())
        assert_true(growth_kib < MOST_GROWTH_KIB);
}

static void test_dripping_clients(void **state)
{
    static int fds[MORE_THAN_FIT];
    char answer[ANSWER_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, DRIPPING);
    int64_t asked_ms = clock_monotonic_ms();
    exchange(*state, REQUEST("GET /echo", ""), answer);
    must_begin(answer, "HTTP/1.1 200 ");
    int64_t beside_ms = clock_monotonic_ms() - asked_ms;
    assert_in_range(beside_ms, 0, AT_ONCE_MS);

    start_dripping(*state, fds, DRIPPING, MORE_THAN_FIT);
    int waiting = dial(*state);
    say(waiting, REQUEST("GET /echo", ""));
    while (drip(fds, FITTING) > 0 && clock_monotonic_ms() - began_ms < LONG_MS)
        poll(NULL, 0, 50);
    assert_int_equal(drip(fds, FITTING), 0);
    assert_true(clock_monotonic_ms() - began_ms >= 5000);
    hear(waiting, answer);
    must_begin(answer, "HTTP/1.1 200 ");
    for (size_t i = FITTING; i < MORE_THAN_FIT; i++)
        close(fds[i]);
    print_message(
        "beside %d dripping clients: answered in %lld ms; %d of them gone after %lld ms\n",
        DRIPPING, (long long)beside_ms, FITTING, (long long)(clock_monotonic_ms() - began_ms));
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void count_tick(void *ticks)
{
    atomic_fetch_add((atomic_int *)ticks, 1);
}

/* At its interval and no more often, whether somebody asks meanwhile or not. */
static void test_it_ticks(void **state)
{
    (void)state;
    enum { INTERVAL_MS = 20, TICKS = 5 };
    atomic_int ticks = 0;
    const struct http_server_ticker ticker = {
        .interval_ms = INTERVAL_MS, .tick = count_tick, .tick_context = &ticks};
    struct http_server *server;
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(http_server_create(&server, "127.0.0.1", 0, ROUTES, &ticker, NULL), 0);
    while (atomic_load(&ticks) < TICKS) {
        assert_true(clock_monotonic_ms() < began_ms + LONG_MS);
        int64_t most = (clock_monotonic_ms() - began_ms) / INTERVAL_MS;
        assert_true(atomic_load(&ticks) <= most + 1);
        if (atomic_load(&ticks) == 2)
            close(dial(server));
    }
    assert_true(clock_monotonic_ms() >= began_ms + (int64_t)TICKS * INTERVAL_MS);
    http_server_destroy(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_answer),
        WITH_SERVER(test_query_is_ignored),
        WITH_SERVER(test_head),
        WITH_SERVER(test_what_the_handler_chooses),
        WITH_SERVER(test_a_half_built_body_is_not_sent),
        WITH_SERVER(test_unknown_path),
        WITH_SERVER(test_other_methods),
        WITH_SERVER(test_bodies),
        WITH_SERVER(test_header_limit),
        WITH_SERVER(test_huge_header),
        WITH_SERVER(test_not_http),
        WITH_SERVER(test_busy_port),
        WITH_SERVER(test_port_is_free_after_the_stop),
        WITH_SERVER(test_stop_with_open_connections),
        WITH_SERVER(test_many_at_once),
        WITH_SERVER(test_a_new_client_takes_the_place_of_the_oldest),
        WITH_SERVER(test_few_descriptors),
        WITH_SERVER(test_crowds_leave_no_memory_behind),
        WITH_SERVER(test_dripping_clients),
        cmocka_unit_test(test_it_ticks),
        cmocka_unit_test(test_bad_host),
        cmocka_unit_test(test_address_that_is_not_there_yet),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
