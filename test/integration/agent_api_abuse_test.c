/*
 * Agents that misuse the HTTP API while notifications are delivered: many large bodies, slow ones,
 * nonsense. Deliveries go on, /health answers, and memory stays bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/agent_caller.h"
#include "../lib/board.h"
#include "../lib/loopback.h"
#include "../lib/memory.h"
#include "../lib/promptness.h"
#include "base/sync.h"
#include "http/server.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

enum {
    LARGE_BYTES = 5 * 1024 * 1024,
    CROWD = 64,
    LIMIT_KIB = 64 * 1024,
    NOTIFICATIONS = 60,
    AGENTS = 6,
    BLOCK_BYTES = 64 * 1024,
    NONSENSE_ROUNDS = 20,
    SLOW = 12,
};

/* A client that sends a large body as fast as it is read, and keeps the beginning of the answer. */
struct sender {
    size_t header_bytes;
    size_t sent_bytes; /* of header and body */
    size_t total_bytes;
    size_t answer_bytes;
    char header[AGENT_CREDENTIAL_BYTES + 256];
    char answer[1024];
    int fd;
    bool has_ended;
};

static void sender_start(struct sender *sender, struct test_env *env, const char *credential)
{
    *sender = (struct sender){.fd = loopback_connect(env->health_port)};
    assert_true(sender->fd >= 0);
    assert_int_equal(fcntl(sender->fd, F_SETFL, O_NONBLOCK), 0);
    sender->header_bytes = (size_t)snprintf(sender->header, sizeof sender->header,
        "POST /agent/document HTTP/1.1\r\nHost: h\r\nx-openclaw-session-key: %s\r\n"
        "Content-Length: %d\r\n\r\n",
        credential, LARGE_BYTES);
    sender->total_bytes = sender->header_bytes + LARGE_BYTES;
}

static void sender_read(struct sender *sender)
{
    ssize_t got = recv(sender->fd, sender->answer + sender->answer_bytes,
        sizeof sender->answer - 1 - sender->answer_bytes, 0);
    if (got > 0)
        sender->answer_bytes += (size_t)got;
    sender->has_ended = got == 0 || (got < 0 && errno != EAGAIN);
}

static void sender_write(struct sender *sender)
{
    static char block[BLOCK_BYTES];
    size_t left = sender->total_bytes - sender->sent_bytes;
    const char *bytes = block;
    if (sender->sent_bytes < sender->header_bytes) {
        bytes = sender->header + sender->sent_bytes;
        left = sender->header_bytes - sender->sent_bytes;
    } else if (left > BLOCK_BYTES) {
        left = BLOCK_BYTES;
    }
    memset(block, 'x', sizeof block);
    ssize_t sent = send(sender->fd, bytes, left, MSG_NOSIGNAL);
    sender->sent_bytes += sent > 0 ? (size_t)sent : 0;
    if (sent < 0 && errno != EAGAIN)
        sender->sent_bytes = sender->total_bytes;
}

/* Lets the clients send and receive for a moment; returns how many have not ended. */
static size_t senders_run(struct sender *senders, size_t count)
{
    struct pollfd fds[CROWD];
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        bool writes = senders[i].sent_bytes < senders[i].total_bytes;
        fds[i] = (struct pollfd){.fd = senders[i].has_ended ? -1 : senders[i].fd,
            .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
        open += !senders[i].has_ended;
    }
    poll(fds, count, 10);
    for (size_t i = 0; i < count; i++) {
        if ((fds[i].revents & POLLOUT) != 0)
            sender_write(&senders[i]);
        if ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            sender_read(&senders[i]);
    }
    return open;
}

/* A health check beside the abuse; returns how long it took. */
static int64_t check_health(struct test_env *env)
{
    struct plain_response answer;
    int64_t began_ms = clock_monotonic_ms();
    plain_http_request(env->health_port, "GET", "/livez", "", &answer);
    assert_int_equal(answer.status, 200);
    plain_response_fini(&answer);
    return clock_monotonic_ms() - began_ms;
}

/* Each session may have 16 requests, so several agents send. */
static void start_senders(struct sender *senders, struct test_env *env)
{
    static const char *const slugs[] = {"jarvis", "friday", "vision"};
    char credentials[3][AGENT_CREDENTIAL_BYTES];
    for (size_t i = 0; i < 3; i++)
        agent_caller_credential(env, slugs[i], credentials[i]);
    for (size_t i = 0; i < CROWD; i++)
        sender_start(&senders[i], env, credentials[i % 3]);
}

static void test_large_bodies_beside_deliveries(void **state)
{
    struct test_env *env = *state;
    static struct sender senders[CROWD];
    struct promptness promptness = {0};
    size_t answered = 0;
    agent_caller_start(env, NULL);
    board_fail(env, "getOrchestratorAgentId", "hold", -1);
    int64_t began_ms = clock_monotonic_ms();
    start_senders(senders, env);
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    for (int i = 0; i < 200; i++) {
        senders_run(senders, CROWD);
        if (i % 10 == 0)
            promptness_add(&promptness, check_health(env));
    }
    int64_t limit_ms = clock_monotonic_ms() + 2 * (int64_t)TEST_WAIT_MS * process_timeout_scale();
    /* The clients go on meanwhile, as a body that stands still is refused. */
    while (!test_env_check(env, "undelivered=0&held=1&timeout_ms=20") &&
           clock_monotonic_ms() < limit_ms)
        senders_run(senders, CROWD);
    assert_true(test_env_check(env, "undelivered=0&held=1&timeout_ms=20"));
    board_clear_faults(env);
    /* Not after each turn: a body has 10 s, and a turn sends 64 KiB of it. */
    for (int i = 0; senders_run(senders, CROWD) > 0 && clock_monotonic_ms() < limit_ms; i++)
        if (i % 10 == 0)
            promptness_add(&promptness, check_health(env));
    /* On a machine that is too slow for the limits of a body and a request they take effect. */
    bool is_late = clock_monotonic_ms() - began_ms > HTTP_POST_BODY_MS;
    for (size_t i = 0; i < CROWD; i++) {
        long status = strtol(senders[i].answer + sizeof "HTTP/1.1", NULL, 10);
        /* Not JSON; those of a session beyond its 16 are told so. */
        if (status != 400 && status != 429 && !(is_late && (status == 408 || status == 503)))
            fail_msg("client %zu: %s", i, senders[i].answer);
        answered += status == 400;
        close(senders[i].fd);
    }
    long peak_kib = memory_peak_kib(&env->runtime);
    print_message("%d bodies of 5 MiB, %zu of them read: health within %lld ms, peak %ld KiB\n",
        CROWD, answered, (long long)promptness.slowest_ms, peak_kib);
    assert_true(answered >= 32 || is_late);
    promptness_check(&promptness);
    if (memory_is_measurable())
        assert_in_range(peak_kib, 0, LIMIT_KIB);
    json_decref(rows);
    test_env_stop_runtime(env);
}

static int open_with(struct test_env *env, const char *bytes)
{
    int fd = plain_http_connect(env->health_port);
    ssize_t sent = send(fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    assert_int_equal(sent, strlen(bytes));
    return fd;
}

static void test_slow_bodies_hold_up_nobody(void **state)
{
    struct test_env *env = *state;
    struct promptness promptness = {0};
    char credential[AGENT_CREDENTIAL_BYTES];
    char request[AGENT_CREDENTIAL_BYTES + 256];
    int fds[SLOW];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    snprintf(request, sizeof request,
        "POST /agent/document HTTP/1.1\r\nHost: h\r\nx-openclaw-session-key: %s\r\n"
        "Content-Length: 5000000\r\n\r\n{",
        credential);
    for (size_t i = 0; i < SLOW; i++)
        fds[i] = open_with(env, request);
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    int64_t began_ms = clock_monotonic_ms();
    agent_caller_must_get(env, "/agent/document-list", credential, "{}", 200, "documents");
    promptness_add(&promptness, clock_monotonic_ms() - began_ms);
    promptness_add(&promptness, check_health(env));
    promptness_check(&promptness);
    test_env_wait(env, "undelivered=0");
    for (size_t i = 0; i < SLOW; i++)
        close(fds[i]);
    json_decref(rows);
    test_env_stop_runtime(env);
}

static const char *const nonsense[] = {
    "POST // HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "POST //agent/task-status HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "POST /agent/%00%ff HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "POST http:///agent// HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "POST /agent/../health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "POST /agent/task-status HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\n"
    "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\n"
    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\nContent-Length: "
    "-1\r\n\r\n{}",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\nContent-Length: 9\r\n\r\n{}",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\nContent-Length: "
    "4\r\n\r\nnull",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s\r\nContent-Length: "
    "4\r\n\r\n\xff\xfe[1",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key: %s",
    "POST /agent/task-status HTTP/1.1\r\nx-openclaw-session-key:\r\n %s\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01 /agent/",
};

/* Each is sent and the connection closed at once, or after the answer. */
static void test_nonsense_does_no_harm(void **state)
{
    struct test_env *env = *state;
    struct promptness promptness = {0};
    char credential[AGENT_CREDENTIAL_BYTES];
    char request[AGENT_CREDENTIAL_BYTES + 512];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    long before_kib = memory_peak_kib(&env->runtime);
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    for (int round = 0; round < NONSENSE_ROUNDS; round++) {
        for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
            const char *place = strstr(nonsense[i], "%s");
            int before = place != NULL ? (int)(place - nonsense[i]) : (int)strlen(nonsense[i]);
            snprintf(request, sizeof request, "%.*s%s%s", before, nonsense[i],
                place != NULL ? credential : "", place != NULL ? place + 2 : "");
            int fd = open_with(env, request);
            char byte;
            if (round % 2 == 1 && shutdown(fd, SHUT_WR) == 0)
                while (recv(fd, &byte, 1, 0) > 0)
                    ;
            close(fd);
        }
        promptness_add(&promptness, check_health(env));
    }
    promptness_check(&promptness);
    test_env_wait(env, "undelivered=0");
    agent_caller_must_get(env, "/agent/document-list", credential, "{}", 200, "documents");
    long growth_kib = memory_peak_kib(&env->runtime) - before_kib;
    print_message("nonsense: memory %+ld KiB\n", growth_kib);
    if (memory_is_measurable())
        assert_in_range(growth_kib, 0, LIMIT_KIB / 4);
    json_decref(rows);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_large_bodies_beside_deliveries),
        V1(test_slow_bodies_hold_up_nobody),
        V1(test_nonsense_does_no_harm),
    };
    return cmocka_run_group_tests_name("agent_api_abuse", tests, NULL, NULL);
}
