/*
 * Hostile clients at the health port: a normal client is still served, memory stays bounded and
 * deliveries go on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/board.h"
#include "../lib/memory.h"
#include "../lib/promptness.h"
#include "base/sync.h"

enum {
    CROWD = 2000,
    SMALL_CROWD = 200, /* under a sanitizer */
    ABUSE_MS = 10000,
    TICK_MS = 50,
    DRIP_MS = 1000,
    NORMAL_REQUESTS = 5,
    MAX_GROWTH_KIB = 30 * 1024,
    NOTIFICATIONS = 100,
    AGENTS = 10,
    PIPELINED = 50,
    ANSWER_BYTES = 8192,
};

static const char complete_request[] = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";

/* A hostile client: what it sends on connecting, and whether it then drips a byte a second. */
struct abuser {
    const char *opening;
    size_t opening_bytes;
    bool drips;
    int fd;
};

struct crowd {
    unsigned port;
    size_t count;
    struct abuser members[CROWD];
    int64_t drip_ms; /* when the next byte is due */
    size_t connects;
};

static int connect_nonblocking(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static void abuser_close(struct abuser *abuser)
{
    /* Reset instead of TIME_WAIT, which would use up the ports after thousands of closes. */
    static const struct linger reset_on_close = {.l_onoff = 1, .l_linger = 0};
    if (abuser->fd < 0)
        return;
    setsockopt(abuser->fd, SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
    close(abuser->fd);
    abuser->fd = -1;
}

static void abuser_connect(struct crowd *crowd, struct abuser *abuser)
{
    abuser->fd = connect_nonblocking(crowd->port);
    if (abuser->fd < 0)
        return;
    crowd->connects++;
    if (abuser->opening_bytes > 0)
        send(abuser->fd, abuser->opening, abuser->opening_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool abuser_was_closed(const struct abuser *abuser)
{
    char bytes[ANSWER_BYTES];
    ssize_t got = recv(abuser->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

/* A client that the server closed reconnects at the next tick. */
static void crowd_tick(struct crowd *crowd)
{
    bool drip = clock_monotonic_ms() >= crowd->drip_ms;
    if (drip)
        crowd->drip_ms = clock_monotonic_ms() + DRIP_MS;
    for (size_t i = 0; i < crowd->count; i++) {
        struct abuser *abuser = &crowd->members[i];
        if (abuser->fd >= 0 && abuser_was_closed(abuser))
            abuser_close(abuser);
        if (abuser->fd < 0)
            abuser_connect(crowd, abuser);
        else if (drip && abuser->drips)
            send(abuser->fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void crowd_close(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        abuser_close(&crowd->members[i]);
}

/* One normal request while the abuse goes on: how long it took, or -1 if it was not served. */
static int64_t request_under_load(struct crowd *crowd)
{
    char answer[ANSWER_BYTES];
    size_t length = 0;
    bool sent = false;
    int64_t began_ms = clock_monotonic_ms();
    int fd = connect_nonblocking(crowd->port);
    assert_true(fd >= 0);
    while (clock_monotonic_ms() - began_ms < ABUSE_MS) {
        struct pollfd ready = {.fd = fd, .events = (short)(sent ? POLLIN : POLLOUT)};
        if (poll(&ready, 1, TICK_MS) == 0) {
            crowd_tick(crowd);
            continue;
        }
        if (!sent) {
            sent = send(fd, complete_request, sizeof complete_request - 1, MSG_NOSIGNAL) > 0;
            continue;
        }
        ssize_t got = recv(fd, answer + length, sizeof answer - 1 - length, MSG_DONTWAIT);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(fd);
    answer[length] = '\0';
    bool served = strncmp(answer, "HTTP/1.1 200 ", 13) == 0 && strstr(answer, "\"status\"") != NULL;
    return served ? clock_monotonic_ms() - began_ms : -1;
}

static void raise_fd_limit(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_max > CROWD + 100);
}

static size_t scale_to_build(size_t count)
{
    if (process_timeout_scale() == 1)
        return count;
    print_message("%zu connections instead of %zu: sanitizers slow the runtime down\n",
        count * SMALL_CROWD / CROWD, count);
    return count * SMALL_CROWD / CROWD;
}

/*
 * Abuses the server for ABUSE_MS, during which deliveries must be made, then makes a few normal
 * requests. The time under load is what is tested, so it has to pass in full.
 */
static void run_abuse(struct test_env *env, struct crowd *crowd, const char *name)
{
    struct promptness promptness = {0};
    test_env_start_runtime(env, NULL);
    crowd->port = env->health_port;
    assert_true(request_under_load(&(struct crowd){.port = crowd->port}) >= 0);
    long before_kib = memory_peak_kib(&env->runtime);
    int64_t began_ms = clock_monotonic_ms();
    crowd_tick(crowd);
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    int64_t last_ms = began_ms + ABUSE_MS + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (
        clock_monotonic_ms() - began_ms < ABUSE_MS ||
        (clock_monotonic_ms() < last_ms && test_env_stat(env, NULL, "delivered") < NOTIFICATIONS)) {
        crowd_tick(crowd);
        poll(NULL, 0, TICK_MS);
    }
    for (int i = 0; i < NORMAL_REQUESTS; i++) {
        int64_t took_ms = request_under_load(crowd);
        if (took_ms < 0)
            fail_msg("%s: a normal client was not served", name);
        promptness_add(&promptness, took_ms);
    }
    long growth_kib = memory_peak_kib(&env->runtime) - before_kib;
    print_message("%s: %zu clients, %zu connects, normal requests within %lld ms, memory %+ld "
                  "KiB\n",
        name, crowd->count, crowd->connects, (long long)promptness.slowest_ms, growth_kib);
    promptness_check(&promptness);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), NOTIFICATIONS);
    if (memory_is_measurable())
        assert_in_range(growth_kib, 0, MAX_GROWTH_KIB);
    crowd_close(crowd);
    test_env_stop_runtime(env);
    json_decref(rows);
}

static struct crowd *crowd_create(size_t count, const struct abuser *kinds, size_t kind_count)
{
    static struct crowd crowd;
    raise_fd_limit();
    memset(&crowd, 0, sizeof crowd);
    crowd.count = scale_to_build(count);
    for (size_t i = 0; i < crowd.count; i++) {
        crowd.members[i] = kinds[i % kind_count];
        crowd.members[i].fd = -1;
    }
    return &crowd;
}

#define OPENING(text) .opening = (text), .opening_bytes = sizeof(text) - 1

static void test_slow_clients_do_not_block_a_normal_one(void **state)
{
    static const struct abuser slow[] = {
        {OPENING("GET /health HTTP/1.1\r\nX-Slow: "), .drips = true}};
    run_abuse(*state, crowd_create(500, slow, 1), "slow");
}

/* Fills all of bytes with a request whose header never ends. */
static void fill_endless_header(char *bytes, size_t size)
{
    int begin = snprintf(bytes, size, "GET /health HTTP/1.1\r\nX: ");
    memset(bytes + begin, 'x', size - (size_t)begin);
}

static void test_mixed_abuse_does_not_block_a_normal_client(void **state)
{
    static char pipelined[PIPELINED * (sizeof complete_request - 1)];
    static char oversized[ANSWER_BYTES * 2];
    for (size_t i = 0; i < PIPELINED; i++)
        memcpy(pipelined + i * (sizeof complete_request - 1), complete_request,
            sizeof complete_request - 1);
    fill_endless_header(oversized, sizeof oversized);
    const struct abuser kinds[] = {
        {OPENING("GET /health HTTP/1.1\r\nX-Slow: "), .drips = true},
        {.drips = false},
        {.opening = pipelined, .opening_bytes = sizeof pipelined},
        {.opening = oversized, .opening_bytes = sizeof oversized, .drips = true},
        {OPENING("POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n"),
            .drips = true},
    };
    run_abuse(*state, crowd_create(CROWD, kinds, sizeof kinds / sizeof kinds[0]), "mixed");
}

static void test_oversized_header_gets_431(void **state)
{
    struct test_env *env = *state;
    static char request[ANSWER_BYTES * 2];
    char answer[ANSWER_BYTES] = "";
    test_env_start_runtime(env, NULL);
    fill_endless_header(request, sizeof request);
    int fd = connect_nonblocking(env->health_port);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    assert_int_equal(poll(&ready, 1, TEST_WAIT_MS), 1);
    assert_int_equal(send(fd, request, sizeof request, MSG_NOSIGNAL), sizeof request);
    assert_int_equal(send(fd, "\r\n\r\n", 4, MSG_NOSIGNAL), 4);
    ready.events = POLLIN;
    assert_int_equal(poll(&ready, 1, TEST_WAIT_MS), 1);
    assert_true(recv(fd, answer, sizeof answer - 1, 0) > 0);
    assert_true(strncmp(answer, "HTTP/1.1 431 ", 13) == 0);
    close(fd);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_slow_clients_do_not_block_a_normal_one),
        TEST_IN_ENV(test_mixed_abuse_does_not_block_a_normal_client),
        TEST_IN_ENV(test_oversized_header_gets_431),
    };
    return cmocka_run_group_tests_name("abuse", tests, NULL, NULL);
}
