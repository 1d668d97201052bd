/*
 * Any bytes as the raw response of a server. The client must return in time, with a response within
 * its limits, send each request exactly once, and classify the same bytes the same way twice.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sync.h"
#include "gateway/gateway.h"

enum {
    TIMEOUT_MS = 3000,
    LIMIT_BYTES = 4096,
    REQUEST_BYTES = 4096,
    MAX_RETRY_AFTER_MS = 24 * 3600 * 1000,
    MAX_PAUSE_MS = 15 * 60 * 1000,
};

/* A thread that sends the current input to every client. */
struct raw_server {
    int listening;
    char url[64];
    struct http_client *client;
    const uint8_t *data; /* owned by the thread from a connection's begin until it posts sent_all */
    size_t size;
    sem_t sent_all;
    atomic_uint requests; /* total */
};

static void send_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void *serve_raw(void *argument)
{
    struct raw_server *raw_server = argument;
    char request[REQUEST_BYTES];
    sigset_t all;
    /* libFuzzer's SIGALRM must be handled by the other thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        int fd = accept(raw_server->listening, NULL, NULL);
        assert(fd >= 0);
        /* The request is a few hundred bytes and arrives in one segment. */
        atomic_fetch_add(&raw_server->requests, 1);
        if (recv(fd, request, sizeof request, 0) > 0)
            send_all(fd, raw_server->data, raw_server->size);
        shutdown(fd, SHUT_WR);
        while (recv(fd, request, sizeof request, 0) > 0)
            continue;
        close(fd);
        sem_post(&raw_server->sent_all);
    }
    return NULL;
}

static void listen_on_free_port(struct raw_server *raw_server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    raw_server->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(raw_server->listening, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(raw_server->listening, 16) != 0 ||
        getsockname(raw_server->listening, (struct sockaddr *)&address, &length) != 0)
        abort();
    snprintf(
        raw_server->url, sizeof raw_server->url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
}

static struct raw_server *get_server(void)
{
    static struct raw_server raw_server;
    static const atomic_bool never = false;
    static struct ca_store *store;
    pthread_t thread;
    if (raw_server.client != NULL)
        return &raw_server;
    listen_on_free_port(&raw_server);
    sem_init(&raw_server.sent_all, 0, 0);
    if (http_client_library_start(NULL) != 0 || ca_store_create(&store, NULL, NULL) != 0 ||
        http_client_create(&raw_server.client, store, &never, NULL) != 0 ||
        thread_start(&thread, "talker", serve_raw, &raw_server, NULL) != 0)
        abort();
    return &raw_server;
}

static void check_answer(const struct http_response *answer)
{
    assert(answer->failure <= HTTP_NO_MEMORY && answer->failure != HTTP_ABORTED);
    assert(answer->failure != HTTP_TIMED_OUT && answer->failure != HTTP_NO_MEMORY);
    assert(answer->sent);
    assert((answer->failure == HTTP_ANSWERED) == (answer->reason[0] == '\0'));
    assert(answer->failure == HTTP_ANSWERED || answer->body.length_bytes == 0);
    assert(answer->body.length_bytes <= LIMIT_BYTES);
    assert(strpbrk(answer->reason, "\r\n") == NULL);
    assert(answer->status == 0 || (answer->status >= 200 && answer->status <= 999));
    assert(answer->failure != HTTP_ANSWERED || answer->status != 0);
    assert(answer->retry_after_ms >= 0 && answer->retry_after_ms <= MAX_RETRY_AFTER_MS);
    assert(answer->has_retry_after || answer->retry_after_ms == 0);
}

static void request_once(struct raw_server *raw_server, struct http_response *answer)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    const struct http_request request = {
        .url = raw_server->url,
        .headers = headers,
        .body = "{}",
        .body_bytes = 2,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true,
    };
    unsigned before = atomic_load(&raw_server->requests);
    http_client_perform(raw_server->client, &request, answer);
    /* libFuzzer's SIGALRM interrupts it. */
    while (sem_wait(&raw_server->sent_all) != 0)
        continue;
    /* A client that retried by itself would run an agent twice. */
    assert(atomic_load(&raw_server->requests) == before + 1);
    check_answer(answer);
}

static void check_classification(const struct http_response *answer)
{
    struct gateway_result result = {.outcome = GATEWAY_DISABLED};
    gateway_classify(answer, &result);
    assert(result.outcome != GATEWAY_DISABLED && result.outcome != GATEWAY_UNREACHABLE);
    assert(result.retry_after_ms >= 0 && result.retry_after_ms <= MAX_PAUSE_MS);
    json_decref(result.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raw_server *raw_server = get_server();
    struct http_response first;
    struct http_response second;
    raw_server->size = size;
    raw_server->data = data;
    request_once(raw_server, &first);
    check_classification(&first);
    request_once(raw_server, &second);
    assert(first.failure == second.failure && first.status == second.status);
    assert(first.has_retry_after == second.has_retry_after);
    return 0;
}
