/*
 * The bytes are what a server says, as they are: status line, headers such as Retry-After, body.
 * The client has to come back in time with an answer that is within its limits, and again with the
 * same when it hears it again.
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

/* One thread that says the current input to whoever connects. */
struct talker {
    int listening;
    char url[64];
    struct http_client *client;
    const uint8_t *data; /* the thread's from a connection's begin to said */
    size_t size;
    sem_t said;
    atomic_uint requests; /* so far */
};

static void say(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void *talk(void *argument)
{
    struct talker *talker = argument;
    char request[REQUEST_BYTES];
    sigset_t all;
    /* libFuzzer's alarm is for the other thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        int fd = accept(talker->listening, NULL, NULL);
        assert(fd >= 0);
        /* The whole request is a few hundred bytes and comes as one. */
        atomic_fetch_add(&talker->requests, 1);
        if (recv(fd, request, sizeof request, 0) > 0)
            say(fd, talker->data, talker->size);
        shutdown(fd, SHUT_WR);
        while (recv(fd, request, sizeof request, 0) > 0)
            continue;
        close(fd);
        sem_post(&talker->said);
    }
    return NULL;
}

static void listen_anywhere(struct talker *talker)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    talker->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(talker->listening, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(talker->listening, 16) != 0 ||
        getsockname(talker->listening, (struct sockaddr *)&address, &length) != 0)
        abort();
    snprintf(talker->url, sizeof talker->url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
}

static struct talker *the_talker(void)
{
    static struct talker talker;
    static const atomic_bool never = false;
    static struct ca_store *store;
    pthread_t thread;
    if (talker.client != NULL)
        return &talker;
    listen_anywhere(&talker);
    sem_init(&talker.said, 0, 0);
    if (http_client_library_start(NULL) != 0 || ca_store_create(&store, NULL, NULL) != 0 ||
        http_client_create(&talker.client, store, &never, NULL) != 0 ||
        thread_start(&thread, "talker", talk, &talker, NULL) != 0)
        abort();
    return &talker;
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

static void ask(struct talker *talker, struct http_response *answer)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    const struct http_request request = {
        .url = talker->url,
        .headers = headers,
        .body = "{}",
        .body_bytes = 2,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true,
    };
    unsigned before = atomic_load(&talker->requests);
    http_client_perform(talker->client, &request, answer);
    /* libFuzzer's alarm interrupts it. */
    while (sem_wait(&talker->said) != 0)
        continue;
    /* What a client sends twice by itself would run an agent twice. */
    assert(atomic_load(&talker->requests) == before + 1);
    check_answer(answer);
}

static void check_meaning(const struct http_response *answer)
{
    struct gateway_result result = {.outcome = GATEWAY_DISABLED};
    gateway_classify(answer, &result);
    assert(result.outcome != GATEWAY_DISABLED && result.outcome != GATEWAY_UNREACHABLE);
    assert(result.retry_after_ms >= 0 && result.retry_after_ms <= MAX_PAUSE_MS);
    gateway_result_fini(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct talker *talker = the_talker();
    struct http_response first;
    struct http_response second;
    talker->size = size;
    talker->data = data;
    ask(talker, &first);
    check_meaning(&first);
    ask(talker, &second);
    assert(first.failure == second.failure && first.status == second.status);
    assert(first.has_retry_after == second.has_retry_after);
    return 0;
}
