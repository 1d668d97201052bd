/* The HTTP server's lifetime: addresses and their errors, ticks, shutdown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/http_fixture.h"
#include "base/sync.h"

static void test_busy_port_is_unreachable(void **state)
{
    struct error error;
    struct http_server *second = NULL;
    char port[16];
    snprintf(port, sizeof port, "%u", http_server_port(*state));
    int result = http_server_create(
        &second, "127.0.0.1", http_server_port(*state), http_fixture_routes, NULL, NULL, &error);
    assert_int_equal(result, ERROR_UNREACHABLE);
    response_must_contain(error.text, "127.0.0.1");
    response_must_contain(error.text, port);
    response_must_contain(error.text, strerror(EADDRINUSE));
}

static void test_port_is_free_after_shutdown(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    struct http_server *server = *state;
    unsigned port = http_server_port(server);
    for (int i = 0; i < 10; i++) {
        http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
        http_server_destroy(server);
        *state = NULL;
        assert_int_equal(
            http_server_create(&server, "127.0.0.1", port, http_fixture_routes, NULL, NULL, NULL),
            0);
        *state = server;
    }
}

static void test_shutdown_closes_open_connections(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    int fds[20];
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = http_fixture_connect(*state);
        http_fixture_send(fds[i], "GET /echo HTTP/1.1\r\nHo");
    }
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    int64_t began_ms = clock_monotonic_ms();
    http_server_destroy(*state);
    *state = NULL;
    assert_in_range(clock_monotonic_ms() - began_ms, 0, HTTP_FIXTURE_PROMPT_MS);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        http_fixture_receive(fds[i], answer);
        assert_string_equal(answer, "");
    }
}

static void test_invalid_hosts_are_refused(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a..b", "", "999.1.1.1", "1.2.3.4.5", "127.0.0.1:80"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct error error;
        struct http_server *server = NULL;
        int result =
            http_server_create(&server, hosts[i], 0, http_fixture_routes, NULL, NULL, &error);
        if (result != ERROR_INVALID)
            fail_msg("%s: %d %s", hosts[i], result, error.text);
        response_must_contain(error.text, hosts[i]);
    }
}

/* Such an address may appear later with its interface, e.g. a tunnel, so the setting is valid. */
static void test_missing_address_is_unreachable(void **state)
{
    (void)state;
    struct error error;
    struct http_server *server = NULL;
    /* 192.0.2.0/24 is reserved for documentation (RFC 5737). */
    int result =
        http_server_create(&server, "192.0.2.1", 0, http_fixture_routes, NULL, NULL, &error);
    assert_int_equal(result, ERROR_UNREACHABLE);
    response_must_contain(error.text, "192.0.2.1");
    response_must_contain(error.text, strerror(EADDRNOTAVAIL));
}

static void test_names_and_wildcards_are_served(void **state)
{
    (void)state;
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    static const char *const hosts[] = {"localhost", "0.0.0.0"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct http_server *server = NULL;
        assert_int_equal(
            http_server_create(&server, hosts[i], 0, http_fixture_routes, NULL, NULL, NULL), 0);
        http_fixture_exchange(server, REQUEST("GET /echo", ""), answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
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

static void test_ipv6_is_served(void **state)
{
    (void)state;
    if (!has_ipv6()) {
        print_message("skipped: this machine has no IPv6\n");
        skip();
    }
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    struct http_server *server = NULL;
    assert_int_equal(
        http_server_create(&server, "::1", 0, http_fixture_routes, NULL, NULL, NULL), 0);
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)http_server_port(server)),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    http_fixture_send(fd, REQUEST("GET /echo", ""));
    http_fixture_receive(fd, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    http_server_destroy(server);
}

static void count_tick(void *ticks)
{
    atomic_fetch_add((atomic_int *)ticks, 1);
}

/* Ticks come at their interval, not more often, whether or not there are requests. */
static void test_tick_keeps_its_interval(void **state)
{
    (void)state;
    enum { INTERVAL_MS = 20, TICKS = 5 };
    atomic_int ticks = 0;
    const struct http_server_ticker ticker = {
        .interval_ms = INTERVAL_MS, .tick = count_tick, .tick_context = &ticks};
    struct http_server *server;
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(
        http_server_create(&server, "127.0.0.1", 0, http_fixture_routes, &ticker, NULL, NULL), 0);
    while (atomic_load(&ticks) < TICKS) {
        assert_true(clock_monotonic_ms() < began_ms + HTTP_FIXTURE_TIMEOUT_MS);
        int64_t max = (clock_monotonic_ms() - began_ms) / INTERVAL_MS;
        assert_true(atomic_load(&ticks) <= max + 1);
        if (atomic_load(&ticks) == 2)
            close(http_fixture_connect(server));
    }
    assert_true(clock_monotonic_ms() >= began_ms + (int64_t)TICKS * INTERVAL_MS);
    http_server_destroy(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_busy_port_is_unreachable),
        WITH_SERVER(test_port_is_free_after_shutdown),
        WITH_SERVER(test_shutdown_closes_open_connections),
        cmocka_unit_test(test_invalid_hosts_are_refused),
        cmocka_unit_test(test_missing_address_is_unreachable),
        cmocka_unit_test(test_names_and_wildcards_are_served),
        cmocka_unit_test(test_ipv6_is_served),
        cmocka_unit_test(test_tick_keeps_its_interval),
    };
    return cmocka_run_group_tests_name("serve_http_start", tests, NULL, NULL);
}
