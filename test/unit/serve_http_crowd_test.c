/* The HTTP server with many clients at once, slow ones among them. */
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
#include "base/sync.h"

enum {
    DRIPPING = 500,
    FITTING = 1000,
    MORE_THAN_FIT = 1100,
    CONNECTION_LIMIT = 1024,
    DESCRIPTORS = 4 * CONNECTION_LIMIT, /* so that a quarter of them is the limit */
    FEW_DESCRIPTORS = 160,
    CROWDS = 6,
    MAX_GROWTH_KIB = 1024,
    CONNECTION_AGE_MS = 5000,
};

/* Both ends of each connection are in this process. */
static void allow_descriptors(rlim_t max)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = max < limit.rlim_max ? max : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int setup(void **state)
{
    allow_descriptors(DESCRIPTORS);
    return http_fixture_setup(state);
}

static void *ask_often(void *server)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    for (int i = 0; i < 100; i++) {
        http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
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
        fds[i] = http_fixture_connect(server);
        http_fixture_send(fds[i], "GET /echo HTTP/1.1\r\nX-Slow: ");
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
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, CONNECTION_LIMIT);
    int64_t asked_ms = clock_monotonic_ms();
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_in_range(clock_monotonic_ms() - asked_ms, 0, HTTP_FIXTURE_PROMPT_MS);
    assert_true(is_ended(fds[0], HTTP_FIXTURE_PROMPT_MS));
    if (clock_monotonic_ms() - began_ms < CONNECTION_AGE_MS)
        assert_false(is_ended(fds[CONNECTION_LIMIT - 1], 0));
    for (size_t i = 0; i < CONNECTION_LIMIT; i++)
        close(fds[i]);
}

/* A flood leaves the process three quarters of its descriptors. */
static void test_few_descriptors(void **state)
{
    int fds[FEW_DESCRIPTORS / 4];
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_teardown(state);
    allow_descriptors(FEW_DESCRIPTORS);
    assert_int_equal(http_server_create((struct http_server **)state, "127.0.0.1", 0,
                         http_fixture_routes, NULL, NULL),
        0);
    allow_descriptors(DESCRIPTORS);
    int64_t began_ms = clock_monotonic_ms();
    start_dripping(*state, fds, 0, FEW_DESCRIPTORS / 4);
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    assert_true(is_ended(fds[0], HTTP_FIXTURE_PROMPT_MS));
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
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    start_dripping(server, fds, 0, DRIPPING);
    http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
    for (size_t i = 0; i < DRIPPING; i++) {
        shutdown(fds[i], SHUT_WR);
        assert_true(is_ended(fds[i], HTTP_FIXTURE_TIMEOUT_MS));
        close(fds[i]);
    }
}

/* What connections needed goes back to the system, however many there were. */
static void test_crowds_leave_no_memory_behind(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    long before_kib = resident_kib();
    for (int i = 0; i < CROWDS; i++)
        crowd_in_and_out(*state);
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    long growth_kib = resident_kib() - before_kib;
    print_message("%d crowds of %d: memory %+ld KiB\n", CROWDS, DRIPPING, growth_kib);
    if (memory_is_measurable())
        assert_true(growth_kib < MAX_GROWTH_KIB);
}

static void test_dripping_clients(void **state)
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
    int waiting = http_fixture_connect(*state);
    http_fixture_send(waiting, REQUEST("GET /echo", ""));
    while (drip(fds, FITTING) > 0 && clock_monotonic_ms() - began_ms < HTTP_FIXTURE_TIMEOUT_MS)
        poll(NULL, 0, 50);
    assert_int_equal(drip(fds, FITTING), 0);
    assert_true(clock_monotonic_ms() - began_ms >= 5000);
    http_fixture_receive(waiting, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    for (size_t i = FITTING; i < MORE_THAN_FIT; i++)
        close(fds[i]);
    print_message(
        "beside %d dripping clients: answered in %lld ms; %d of them gone after %lld ms\n",
        DRIPPING, (long long)beside_ms, FITTING, (long long)(clock_monotonic_ms() - began_ms));
}

#define WITH_MANY_CLIENTS(test) cmocka_unit_test_setup_teardown(test, setup, http_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MANY_CLIENTS(test_many_at_once),
        WITH_MANY_CLIENTS(test_a_new_client_takes_the_place_of_the_oldest),
        WITH_MANY_CLIENTS(test_few_descriptors),
        WITH_MANY_CLIENTS(test_crowds_leave_no_memory_behind),
        WITH_MANY_CLIENTS(test_dripping_clients),
    };
    return cmocka_run_group_tests_name("serve_http_crowd", tests, NULL, NULL);
}
