/*
 * The HTTP server under many concurrent clients, slow ones among them. Client and server sockets
 * are in one process, so its descriptor limit is raised. A client "drips" when it sends a header
 * byte by byte without ever completing it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/http_fixture.h"
#include "../lib/memory.h"
#include "base/process.h"
#include "base/sync.h"

enum {
    DRIPPING = 500,
    FITTING = 1000,
    MORE_THAN_FIT = 1100,
    CONNECTION_LIMIT = 1024,
    DESCRIPTORS = 4 * CONNECTION_LIMIT, /* a quarter of them is the server's limit */
    FEW_DESCRIPTORS = 160,
    CROWDS = 6,
    MAX_GROWTH_KIB = 1024,
    CONNECTION_AGE_MS = 5000,
};

/* Both ends of each connection are in this process. */
static void set_descriptor_limit(rlim_t max)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = max < limit.rlim_max ? max : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int setup(void **state)
{
    set_descriptor_limit(DESCRIPTORS);
    return http_fixture_setup(state);
}

static void *request_repeatedly(void *server)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    for (int i = 0; i < 100; i++) {
        http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
    }
    return NULL;
}

static void test_concurrent_clients_are_served(void **state)
{
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(thread_start(&threads[i], "client", request_repeatedly, *state, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        thread_join(threads[i]);
}

/* Sends one more byte on each connection; returns how many are still open. */
static size_t drip_bytes(int *fds, size_t count)
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
        fds[i] = http_fixture_connect(server);
        http_fixture_send(fds[i], "GET /echo HTTP/1.1\r\nX-Slow: ");
    }
}

/* Whether the server has closed the connection, or does so within limit_ms. */
static bool is_closed(int fd, int limit_ms)
{
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&ended, 1, limit_ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static void test_new_client_evicts_the_oldest(void **state)
{
    static int fds[CONNECTION_LIMIT];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, CONNECTION_LIMIT);
    int64_t asked_ms = clock_monotonic_ms();
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_in_range(clock_monotonic_ms() - asked_ms, 0, HTTP_FIXTURE_PROMPT_MS);
    assert_true(is_closed(fds[0], HTTP_FIXTURE_PROMPT_MS));
    if (clock_monotonic_ms() - began_ms < CONNECTION_AGE_MS)
        assert_false(is_closed(fds[CONNECTION_LIMIT - 1], 0));
    for (size_t i = 0; i < CONNECTION_LIMIT; i++)
        close(fds[i]);
}

/* A flood of clients leaves three quarters of the descriptors to the rest of the process. */
static void test_flood_uses_a_quarter_of_the_descriptors(void **state)
{
    int fds[FEW_DESCRIPTORS / 4];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_teardown(state);
    set_descriptor_limit(FEW_DESCRIPTORS);
    assert_int_equal(http_server_create((struct http_server **)state, "127.0.0.1", 0,
                         http_fixture_routes, NULL, NULL, NULL),
        0);
    set_descriptor_limit(DESCRIPTORS);
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, FEW_DESCRIPTORS / 4);
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_true(is_closed(fds[0], HTTP_FIXTURE_PROMPT_MS));
    if (clock_monotonic_ms() - began_ms < CONNECTION_AGE_MS)
        assert_false(is_closed(fds[FEW_DESCRIPTORS / 4 - 1], 0));
    for (size_t i = 0; i < FEW_DESCRIPTORS / 4; i++)
        close(fds[i]);
}

static long resident_kib(void)
{
    return (long)(process_resident_bytes(getpid()) / 1024);
}

static void connect_and_close_crowd(const struct http_server *server)
{
    static int fds[DRIPPING];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    start_dripping(server, fds, 0, DRIPPING);
    http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
    for (size_t i = 0; i < DRIPPING; i++) {
        shutdown(fds[i], SHUT_WR);
        assert_true(is_closed(fds[i], HTTP_FIXTURE_TIMEOUT_MS));
        close(fds[i]);
    }
}

/* The memory of closed connections is returned to the system. */
static void test_crowds_do_not_grow_memory(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    long before_kib = resident_kib();
    for (int i = 0; i < CROWDS; i++)
        connect_and_close_crowd(*state);
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    long growth_kib = resident_kib() - before_kib;
    print_message("%d crowds of %d: memory %+ld KiB\n", CROWDS, DRIPPING, growth_kib);
    if (memory_is_measurable())
        assert_true(growth_kib < MAX_GROWTH_KIB);
}

static void test_dripping_clients_are_closed_after_5_s(void **state)
{
    static int fds[MORE_THAN_FIT];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, DRIPPING);
    int64_t asked_ms = clock_monotonic_ms();
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    int64_t beside_ms = clock_monotonic_ms() - asked_ms;
    assert_in_range(beside_ms, 0, HTTP_FIXTURE_PROMPT_MS);

    start_dripping(*state, fds, DRIPPING, MORE_THAN_FIT);
    int waiting_fd = http_fixture_connect(*state);
    http_fixture_send(waiting_fd, REQUEST("GET /echo", ""));
    while (
        drip_bytes(fds, FITTING) > 0 && clock_monotonic_ms() - began_ms < HTTP_FIXTURE_TIMEOUT_MS)
        poll(NULL, 0, 50);
    assert_int_equal(drip_bytes(fds, FITTING), 0);
    assert_true(clock_monotonic_ms() - began_ms >= 5000);
    http_fixture_receive(waiting_fd, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    for (size_t i = FITTING; i < MORE_THAN_FIT; i++)
        close(fds[i]);
    print_message(
        "with %d dripping clients: answered in %lld ms; %d of them closed after %lld ms\n",
        DRIPPING, (long long)beside_ms, FITTING, (long long)(clock_monotonic_ms() - began_ms));
}

#define WITH_MANY_CLIENTS(test) cmocka_unit_test_setup_teardown(test, setup, http_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MANY_CLIENTS(test_concurrent_clients_are_served),
        WITH_MANY_CLIENTS(test_new_client_evicts_the_oldest),
        WITH_MANY_CLIENTS(test_flood_uses_a_quarter_of_the_descriptors),
        WITH_MANY_CLIENTS(test_crowds_do_not_grow_memory),
        WITH_MANY_CLIENTS(test_dripping_clients_are_closed_after_5_s),
    };
    return cmocka_run_group_tests_name("serve_http_crowd", tests, NULL, NULL);
}
