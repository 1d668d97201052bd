/*
 * An event loop around libmicrohttpd in external epoll mode, in one thread. A request that waits
 * is suspended in the library and watched here: by a timer heap for its deadline and by an epoll
 * set of our own for its client's disconnect, which the library does not report for suspended
 * connections.
 *
 * READING -> RUNNING <-> WAITING, RUNNING -> ANSWERED or DROPPED
 *
 * A handler or continuation runs in RUNNING and must leave it by exchange_answer, exchange_drop or
 * exchange_wait before it returns; the connection is suspended after that. An exchange lives from
 * its header block to exchange_on_completed, which the library calls exactly once for each.
 *
 * Loop: poll -> resume disconnected and due exchanges -> MHD_run -> batch_ended. Resumed exchanges
 * run inside MHD_run.
 */
#include "server.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/containers.h"
#include "base/sync.h"
#include "listener.h"
#include "memory.h"

enum {
    CONNECTION_LIMIT = 8192,
    CONNECTION_MEMORY_BYTES = 32 * 1024, /* also bounds the header block: 431 beyond it */
    IDLE_TIMEOUT_S = 60,
    BLOCK_BYTES = 16 * 1024,
    HANGUP_BATCH = 64,
};

enum exchange_state { READING, WAITING, RUNNING, ANSWERED, DROPPED };

STAILQ_HEAD(header_list, header);
LIST_HEAD(exchange_list, exchange);

struct header {
    STAILQ_ENTRY(header) link;
    char *name;
    char *value;
};

struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    struct text body;
    size_t body_limit_bytes;
    bool body_is_too_large;
    enum exchange_state state;
    void (*ended)(void *owner);
    void *owner;

    /* The wait; exclusive with an answer. */
    bool suspended;
    bool gone;
    struct heap_item timer;
    exchange_function then;
    void *then_argument;
    LIST_ENTRY(exchange) suspended_link;

    unsigned status;
    struct header_list headers;
    char *answer;
    size_t answer_bytes;
    struct exchange_cut cut;
    bool chunk_is_due;
};

struct server {
    struct server_handler handler;
    struct MHD_Daemon *daemon;
    unsigned port;
    bool is_on_all_addresses;
    int daemon_descriptor;
    int signal_descriptor;
    int hangup_descriptor; /* an epoll set of the sockets of suspended exchanges */
    struct heap timers;
    bool has_resumed; /* an exchange was resumed since the last MHD_run: do not sleep */
    struct exchange_list suspended;
};

static int socket_of(const struct exchange *exchange)
{
    return MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
        ->connect_fd;
}

/* Suspends the connection until exchange_unsuspend; due_ms as for exchange_wait. */
static void exchange_suspend(struct exchange *exchange, int64_t due_ms)
{
    struct server *server = exchange->server;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = exchange};
    epoll_ctl(server->hangup_descriptor, EPOLL_CTL_ADD, socket_of(exchange), &event);
    if (due_ms != SYNC_NO_DEADLINE)
        heap_push(&server->timers, &exchange->timer, due_ms);
    LIST_INSERT_HEAD(&server->suspended, exchange, suspended_link);
    exchange->suspended = true;
    MHD_suspend_connection(exchange->connection);
}

static void exchange_unsuspend(struct exchange *exchange)
{
    if (!exchange->suspended)
        return;
    struct server *server = exchange->server;
    exchange->suspended = false;
    LIST_REMOVE(exchange, suspended_link);
    epoll_ctl(server->hangup_descriptor, EPOLL_CTL_DEL, socket_of(exchange), NULL);
    if (exchange->timer.place != 0)
        heap_remove(&server->timers, &exchange->timer);
    MHD_resume_connection(exchange->connection);
    server->has_resumed = true;
}

const char *exchange_method(const struct exchange *exchange)
{
    return exchange->method;
}

const char *exchange_path(const struct exchange *exchange)
{
    return exchange->path;
}

const char *exchange_query(const struct exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *exchange_header(const struct exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const struct text *exchange_body(const struct exchange *exchange)
{
    return &exchange->body;
}

bool exchange_body_is_too_large(const struct exchange *exchange)
{
    return exchange->body_is_too_large;
}

void exchange_on_end(struct exchange *exchange, void (*ended)(void *owner), void *owner)
{
    assert(exchange->ended == NULL);
    exchange->ended = ended;
    exchange->owner = owner;
}

void exchange_wait(
    struct exchange *exchange, int64_t due_ms, exchange_function then, void *argument)
{
    assert(exchange->state == RUNNING && exchange->then == NULL);
    exchange->then = then;
    exchange->then_argument = argument;
    exchange->timer.due_ms = due_ms;
    exchange->state = WAITING;
}

void exchange_resume(struct exchange *exchange)
{
    exchange_unsuspend(exchange);
}

bool exchange_is_gone(const struct exchange *exchange)
{
    return exchange->gone;
}

void exchange_add_header(struct exchange *exchange, const char *name, const char *value)
{
    struct header *header = memory_new(1, sizeof *header);
    header->name = memory_copy(name);
    header->value = memory_copy(value);
    STAILQ_INSERT_TAIL(&exchange->headers, header, link);
}

void exchange_answer(struct exchange *exchange, unsigned status, char *body, size_t body_bytes)
{
    assert(exchange->state == RUNNING);
    exchange->status = status;
    exchange->answer = body;
    exchange->answer_bytes = body_bytes;
    exchange->state = ANSWERED;
}

void exchange_set_cut(struct exchange *exchange, const struct exchange_cut *cut)
{
    exchange->cut = *cut;
}

void exchange_drop(struct exchange *exchange)
{
    assert(exchange->state == RUNNING);
    exchange->state = DROPPED;
}

void exchange_drop_after_bytes(struct exchange *exchange, const char *bytes, size_t length_bytes)
{
    /* Bytes that the socket buffer does not take are lost: the connection is closed anyway. */
    ssize_t sent = send(socket_of(exchange), bytes, length_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
    exchange_drop(exchange);
}

/* MHD_ContentReaderCallback: the next part of an answer that is sent in chunks or truncated. */
static ssize_t read_answer_part(void *argument, uint64_t position, char *buffer, size_t max)
{
    struct exchange *exchange = argument;
    const struct exchange_cut *cut = &exchange->cut;
    size_t end = exchange->answer_bytes;
    if (cut->kind != CUT_NONE && cut->at_bytes < end)
        end = cut->at_bytes;
    size_t size = end - (size_t)position;
    if (exchange->gone || (size == 0 && cut->kind == CUT_CLOSE))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (size == 0) {
        exchange_suspend(exchange, SYNC_NO_DEADLINE);
        return 0;
    }
    if (cut->chunk_bytes > 0 && !exchange->chunk_is_due && position > 0) {
        exchange->chunk_is_due = true;
        exchange_suspend(exchange, clock_monotonic_ms() + cut->chunk_ms);
        return 0;
    }
    exchange->chunk_is_due = false;
    if (cut->chunk_bytes > 0 && size > cut->chunk_bytes)
        size = cut->chunk_bytes;
    if (size > max)
        size = max;
    memcpy(buffer, exchange->answer + position, size);
    return (ssize_t)size;
}

static struct MHD_Response *make_response(struct exchange *exchange)
{
    bool plain = exchange->cut.kind == CUT_NONE && exchange->cut.chunk_bytes == 0;
    if (!plain)
        return MHD_create_response_from_callback(
            exchange->answer_bytes, BLOCK_BYTES, read_answer_part, exchange, NULL);
    char *body = exchange->answer;
    exchange->answer = NULL;
    return MHD_create_response_from_buffer(exchange->answer_bytes, body, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result queue_answer(struct exchange *exchange)
{
    struct MHD_Response *response = make_response(exchange);
    if (response == NULL)
        return MHD_NO;
    for (struct header *header = STAILQ_FIRST(&exchange->headers); header != NULL;
         header = STAILQ_NEXT(header, link))
        MHD_add_response_header(response, header->name, header->value);
    enum MHD_Result result = MHD_queue_response(exchange->connection, exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Runs the handler or continuation and acts on the state in which it left the exchange. */
static enum MHD_Result exchange_proceed(struct exchange *exchange)
{
    exchange->state = RUNNING;
    if (exchange->then == NULL) {
        exchange->server->handler.begin(exchange->server->handler.context, exchange);
    } else {
        exchange_function then = exchange->then;
        exchange->then = NULL;
        then(exchange, exchange->then_argument);
    }
    switch (exchange->state) {
    case WAITING:
        exchange_suspend(exchange, exchange->timer.due_ms);
        return MHD_YES;
    case ANSWERED:
        return queue_answer(exchange);
    case DROPPED:
        return MHD_NO;
    case READING:
    case RUNNING:
        break;
    }
    /* The handler neither answered nor waited, which is a bug. */
    abort();
}

/* An oversized body is read to its end and discarded: a client that sends would miss the answer. */
static void append_request_body(struct exchange *exchange, const char *bytes, size_t length_bytes)
{
    size_t room = exchange->body_limit_bytes - exchange->body.length_bytes;
    if (length_bytes > room)
        exchange->body_is_too_large = true;
    if (!exchange->body_is_too_large)
        text_append_bytes(&exchange->body, bytes, length_bytes);
}

/*
 * MHD_AccessHandlerCallback. Called once with the header block, then with each part of the body,
 * then without data when the request is complete and again after each resumption.
 */
static enum MHD_Result exchange_on_request(void *argument, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version, const char *upload_data,
    size_t *upload_data_size, void **request)
{
    (void)version;
    struct exchange *exchange = *request;
    if (exchange == NULL) {
        exchange = memory_new(1, sizeof *exchange);
        *exchange = (struct exchange){
            .server = argument, .connection = connection, .method = method, .path = url};
        STAILQ_INIT(&exchange->headers);
        *request = exchange;
        exchange->body_limit_bytes =
            exchange->server->handler.body_limit_bytes(exchange->server->handler.context, url);
        return MHD_YES;
    }
    if (*upload_data_size > 0) {
        append_request_body(exchange, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    return exchange_proceed(exchange);
}

/* MHD_RequestCompletedCallback: also called when the connection breaks or the daemon stops. */
static void exchange_on_completed(void *argument, struct MHD_Connection *connection, void **request,
    enum MHD_RequestTerminationCode code)
{
    (void)argument;
    (void)connection;
    (void)code;
    struct exchange *exchange = *request;
    if (exchange == NULL)
        return;
    *request = NULL;
    if (exchange->ended != NULL)
        exchange->ended(exchange->owner);
    struct header *header = NULL;
    while ((header = STAILQ_FIRST(&exchange->headers)) != NULL) {
        STAILQ_REMOVE_HEAD(&exchange->headers, link);
        free(header->name);
        free(header->value);
        free(header);
    }
    text_fini(&exchange->body);
    free(exchange->answer);
    free(exchange);
}

static int open_signals(struct error *error)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int descriptor = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot watch for signals");
    return descriptor;
}

static int start_daemon(struct server *server, int listening, struct error *error)
{
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        exchange_on_request, server, MHD_OPTION_LISTEN_SOCKET, listening,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTION_LIMIT, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
        MHD_OPTION_END);
    if (server->daemon == NULL)
        return error_set(error, ERROR_SYSTEM, "cannot start the HTTP server");
    server->daemon_descriptor =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

int server_create(const char *host, const char *port, const struct server_handler *handler,
    struct server **server, struct error *error)
{
    struct server *made = memory_new(1, sizeof *made);
    made->handler = *handler;
    LIST_INIT(&made->suspended);
    int result = heap_reserve(&made->timers, CONNECTION_LIMIT, error);
    if (result != 0)
        goto err_after_memory;
    made->signal_descriptor = result = open_signals(error);
    if (result < 0)
        goto err_after_timers;
    made->hangup_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (made->hangup_descriptor < 0) {
        result = error_set_errno(error, ERROR_SYSTEM, errno, "cannot create an epoll set");
        goto err_after_signals;
    }
    int listening;
    result = listener_open(host, port, &listening, error);
    if (result != 0)
        goto err_after_epoll;
    made->port = listener_port(listening, &made->is_on_all_addresses);
    result = start_daemon(made, listening, error);
    if (result != 0)
        goto err_after_listener;
    *server = made;
    return 0;

err_after_listener:
    close(listening);
err_after_epoll:
    close(made->hangup_descriptor);
err_after_signals:
    close(made->signal_descriptor);
err_after_timers:
    heap_fini(&made->timers);
err_after_memory:
    free(made);
    return result;
}

unsigned server_port(const struct server *server)
{
    return server->port;
}

bool server_is_on_all_addresses(const struct server *server)
{
    return server->is_on_all_addresses;
}

/* The heap item is embedded in its exchange. */
static void resume_due(struct server *server)
{
    int64_t now_ms = clock_monotonic_ms();
    struct heap_item *first;
    while ((first = heap_first(&server->timers)) != NULL && first->due_ms <= now_ms) {
        size_t offset = offsetof(struct exchange, timer);
        exchange_unsuspend((struct exchange *)(void *)((char *)first - offset));
    }
}

static void resume_disconnected(struct server *server)
{
    struct epoll_event events[HANGUP_BATCH];
    int count = epoll_wait(server->hangup_descriptor, events, HANGUP_BATCH, 0);
    for (int i = 0; i < count; i++) {
        struct exchange *exchange = events[i].data.ptr;
        exchange->gone = true;
        exchange_unsuspend(exchange);
    }
}

/* Time until the next timer of ours or of the library's, at most five seconds. */
static struct timespec poll_timeout(struct server *server)
{
    int64_t wait_us = 5000000;
    unsigned MHD_LONG_LONG daemon_ms;
    if (MHD_get_timeout(server->daemon, &daemon_ms) == MHD_YES &&
        (int64_t)daemon_ms * 1000 < wait_us)
        wait_us = (int64_t)daemon_ms * 1000;
    const struct heap_item *first = heap_first(&server->timers);
    if (first != NULL && first->due_ms * 1000 - clock_monotonic_us() < wait_us)
        wait_us = first->due_ms * 1000 - clock_monotonic_us();
    if (wait_us < 0 || server->has_resumed)
        wait_us = 0;
    return (struct timespec){.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
}

int server_run(struct server *server, struct error *error)
{
    struct pollfd polled[] = {
        {.fd = server->daemon_descriptor, .events = POLLIN},
        {.fd = server->signal_descriptor, .events = POLLIN},
        {.fd = server->hangup_descriptor, .events = POLLIN},
        {.fd = server->handler.wake_descriptor, .events = POLLIN},
    };
    for (;;) {
        struct timespec timeout = poll_timeout(server);
        if (ppoll(polled, sizeof polled / sizeof *polled, &timeout, NULL) < 0 && errno != EINTR)
            return error_set_errno(error, ERROR_SYSTEM, errno, "cannot wait for requests");
        if (polled[1].revents != 0)
            return 0;
        if (polled[2].revents != 0)
            resume_disconnected(server);
        resume_due(server);
        server->has_resumed = false;
        if (MHD_run(server->daemon) != MHD_YES)
            return error_set(error, ERROR_SYSTEM, "the HTTP server failed");
        server->handler.batch_ended(server->handler.context);
    }
}

/* MHD_stop_daemon must not be called while connections are suspended. */
void server_destroy(struct server *server)
{
    if (server == NULL)
        return;
    struct exchange *exchange;
    while ((exchange = LIST_FIRST(&server->suspended)) != NULL)
        exchange_unsuspend(exchange);
    MHD_stop_daemon(server->daemon);
    close(server->hangup_descriptor);
    close(server->signal_descriptor);
    heap_fini(&server->timers);
    free(server);
}
