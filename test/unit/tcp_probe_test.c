/* The non-blocking connection probe: accepted, refused, and on both addresses of localhost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/sync.h"
#include "gateway/supervisor_record.h"
#include "http/connections.h"

enum { TIMEOUT_MS = 20000 };

static void init_probe(struct tcp_probe *probe, const char *host, unsigned port)
{
    char string[64];
    struct url url;
    snprintf(string, sizeof string, "http://%s:%u", host, port);
    assert_null(url_parse(string, &url));
    assert_int_equal(tcp_probe_init(probe, &url, NULL), 0);
}

/* Steps as the supervisor does, until a connection is accepted or for limit_ms. */
static bool step_until(struct tcp_probe *probe, int64_t limit_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + limit_ms;
    for (;;) {
        int64_t now_ms = clock_monotonic_ms();
        if (tcp_probe_step(probe, now_ms))
            return true;
        if (now_ms >= deadline_ms)
            return false;
        int64_t wait_ms = probe->due_ms - now_ms;
        struct pollfd ready = {.fd = probe->fd, .events = POLLOUT};
        poll(&ready, 1, wait_ms > 0 ? (int)wait_ms : 0);
    }
}

static int listen_on(const char *host, unsigned port, unsigned *bound_port)
{
    int fd = -1;
    struct error error;
    if (listener_open(host, port, &fd, bound_port, &error) != 0)
        fail_msg("%s", error.text);
    return fd;
}

static void test_listening_port_is_accepted(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "localhost", "0.0.0.0"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct tcp_probe probe;
        unsigned port;
        int listener = listen_on("127.0.0.1", 0, &port);
        init_probe(&probe, hosts[i], port);
        assert_true(step_until(&probe, TIMEOUT_MS));
        assert_int_equal(probe.fd, -1);
        tcp_probe_fini(&probe);
        close(listener);
    }
}

static void test_probe_repeats_until_the_port_listens(void **state)
{
    (void)state;
    struct tcp_probe probe;
    unsigned port;
    close(listen_on("127.0.0.1", 0, &port));
    init_probe(&probe, "localhost", port);
    assert_false(step_until(&probe, 100));
    assert_true(probe.wait_ms > 20);
    int listener = listen_on("127.0.0.1", port, &port);
    assert_true(step_until(&probe, TIMEOUT_MS));
    tcp_probe_restart(&probe);
    assert_int_equal(probe.wait_ms, 20);
    assert_true(step_until(&probe, TIMEOUT_MS));
    tcp_probe_fini(&probe);
    close(listener);
}

/* 192.0.2.1 is reserved (RFC 5737): it never answers, or is unreachable; both are retried. */
static void test_unanswered_probe_does_not_block(void **state)
{
    (void)state;
    struct tcp_probe probe;
    init_probe(&probe, "192.0.2.1", 9);
    int64_t began_ms = clock_monotonic_ms();
    assert_false(tcp_probe_step(&probe, began_ms));
    assert_false(tcp_probe_step(&probe, began_ms + 2000));
    assert_true(clock_monotonic_ms() - began_ms < 1000);
    assert_int_equal(probe.fd, -1); /* timed out or refused */
    tcp_probe_fini(&probe);
    assert_int_equal(probe.fd, -1);
}

static void test_host_names_are_refused(void **state)
{
    (void)state;
    struct tcp_probe probe;
    struct url url;
    assert_null(url_parse("http://gateway.example:1", &url));
    assert_int_equal(tcp_probe_init(&probe, &url, NULL), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listening_port_is_accepted),
        cmocka_unit_test(test_probe_repeats_until_the_port_listens),
        cmocka_unit_test(test_unanswered_probe_does_not_block),
        cmocka_unit_test(test_host_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
