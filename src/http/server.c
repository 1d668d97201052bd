/*
 * libmicrohttpd without its own threads: our thread mc-http polls the library's epoll descriptor,
 * an eventfd for stopping and one for posts, expires old connections, runs the ticker, the posts
 * and then the library. All handlers run on that thread, one after the other, so a handler that
 * blocks delays every client and handlers need no locks among themselves.
 *
 * The library calls server_on_request several times for each request: once with the header, once
 * for each part of a body, and once more to respond. Requests with bodies that other threads answer
 * are the business of http/posts.c. Elsewhere only GET and HEAD are served, but a body is read (up
 * to BODY_BYTES) before the error is sent: closing a socket with unread data sends a reset that may
 * destroy the response on its way. Memory per connection is fixed by CONNECTION_MEMORY_BYTES.
 *
 * Every response closes its connection, which keeps the limits on connections (http/connections.h)
 * simple: a connection is a request.
 */
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/watch.h"
#include "http/connections.h"
#include "http/posts.h"
#include "http/reply.h"

enum {
    HEADER_BYTES = 8 * 1024,
    /*
     * For the header, the library's list of its fields, and the header of the response. Above 32
     * KiB the library uses mmap, so only touched pages count, and are returned when it is closed.
     */
    CONNECTION_MEMORY_BYTES = 36 * 1024,
    BODY_BYTES = 64 * 1024,
    STARVED_WAIT_MS = 200, /* between attempts to accept while there are no descriptors */
};

struct http_server {
    const struct http_server_route *routes;
    struct http_server_ticker ticker; /* none if tick is NULL */
    unsigned port;
    bool is_on_all_addresses;
    int stop_fd;
    pthread_t thread;

    /* Used only by the thread while it runs. */
    struct MHD_Daemon *daemon;
    int listen_fd; /* the daemon's */
    int epoll_fd;
    struct connections connections;
    struct http_posts posts;
    int64_t tick_due_ms;
    bool closed_some; /* a connection, since the library last ran */
};

static int server_connection_fd(struct MHD_Connection *handle)
{
    return MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* The library's connection carries ours as its context, NULL if there was no memory. */
static void server_on_connection(void *argument, struct MHD_Connection *handle, void **context,
    enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = argument;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = connections_add(
            &server->connections, server_connection_fd(handle), clock_monotonic_ms());
        return;
    }
    struct connection *connection = *context;
    server->closed_some = true;
    if (connection != NULL)
        posts_drop(&server->posts, connection->post);
    connections_remove(&server->connections, connection);
}

static bool server_allows_method(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static void server_route(const struct http_server *server,
    const struct http_server_request *request, struct http_server_reply *reply)
{
    for (const struct http_server_route *at = server->routes; at->path != NULL; at++) {
        if (strcmp(at->path, request->path) == 0) {
            at->handle(at->context, request, reply);
            return;
        }
    }
    reply_set_error(reply, MHD_HTTP_NOT_FOUND, "no such path");
}

static size_t server_header_bytes(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL ? 0 : info->header_size;
}

/* Whether the query has that parameter, with or without a value. */
static bool server_has_parameter(struct MHD_Connection *handle, const char *name)
{
    return MHD_lookup_connection_value_n(
               handle, MHD_GET_ARGUMENT_KIND, name, strlen(name), NULL, NULL) == MHD_YES;
}

/*
 * The path of a request target. A client that takes us for a proxy sends the absolute form,
 * http://host/path, which every server has to accept (RFC 9112, section 3.2.2); then *authority is
 * that of the target, else it is left alone. The library has already removed the query.
 */
static const char *server_target_path(const char *target, struct text_span *authority)
{
    size_t scheme_bytes = strncasecmp(target, "http://", 7) == 0    ? 7
                          : strncasecmp(target, "https://", 8) == 0 ? 8
                                                                    : 0;
    if (scheme_bytes == 0)
        return target;
    *authority = (struct text_span){target + scheme_bytes, strcspn(target + scheme_bytes, "/")};
    const char *path = authority->bytes + authority->length_bytes;
    return *path != '\0' ? path : "/";
}

const char *http_server_request_header(const struct http_server_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->handle, MHD_HEADER_KIND, name);
}

static struct http_server_request server_read_request(
    struct MHD_Connection *handle, const char *target, const char *method)
{
    struct http_server_request request = {
        .verbose = server_has_parameter(handle, "verbose"),
        .method = method,
        .peer = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr,
        .handle = handle,
    };
    const char *accept = http_server_request_header(&request, MHD_HTTP_HEADER_ACCEPT);
    request.accept = accept == NULL ? "" : accept;
    const char *host = http_server_request_header(&request, MHD_HTTP_HEADER_HOST);
    if (host != NULL)
        request.authority = text_trim(host, strlen(host));
    request.path = server_target_path(target, &request.authority);
    return request;
}

/* What has been found out about the header's fields. */
struct server_fields {
    bool malformed;
    unsigned hosts;
};

static enum MHD_Result server_check_name(void *argument, enum MHD_ValueKind kind, const char *name,
    size_t name_bytes, const char *value, size_t value_bytes)
{
    static const char token[] = TEXT_LETTERS TEXT_DIGITS "!#$%&'*+-.^_`|~";
    struct server_fields *fields = argument;
    (void)kind, (void)value, (void)value_bytes;
    fields->malformed = name_bytes == 0 || strspn(name, token) != name_bytes;
    if (!fields->malformed && strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
        fields->hosts++;
    return fields->malformed ? MHD_NO : MHD_YES;
}

/*
 * What is wrong with the header, and the status to refuse it with; NULL: nothing. libmicrohttpd
 * appends the further lines of a folded field (obsolete since RFC 7230) to its name, where all but
 * plain words show, as names are tokens. A server may refuse folded fields (RFC 9112, section 5.2),
 * and must refuse a second Host (section 3.2).
 */
static const char *server_find_header_fault(struct MHD_Connection *handle, unsigned *status)
{
    struct server_fields fields = {0};
    *status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    if (server_header_bytes(handle) > HEADER_BYTES)
        return "header over 8 KiB";
    MHD_get_connection_values_n(handle, MHD_HEADER_KIND, server_check_name, &fields);
    *status = MHD_HTTP_BAD_REQUEST;
    if (fields.malformed)
        return "a header field is folded or has a malformed name";
    return fields.hosts > 1 ? "more than one Host header" : NULL;
}

static enum MHD_Result server_respond(
    const struct http_server *server, const struct http_server_request *request)
{
    struct http_server_reply reply;
    unsigned status;
    reply_init(&reply);
    const char *fault = server_find_header_fault(request->handle, &status);
    if (fault != NULL)
        reply_set_error(&reply, status, fault);
    else if (!server_allows_method(request->method))
        reply_set_error(&reply, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    else
        server_route(server, request, &reply);
    if (reply.body.failed) {
        text_fini(&reply.body);
        reply_set_error(&reply, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    }
    return reply_queue(request->handle, &reply);
}

/* The first call for a request, before its body. */
static enum MHD_Result server_begin(struct http_server *server,
    const struct http_server_request *request, struct connection *connection)
{
    connection->header_seen = true;
    if (!posts_own_path(&server->posts, request->path))
        return MHD_YES;
    unsigned status;
    const char *fault = server_find_header_fault(request->handle, &status);
    return posts_begin(&server->posts, request, connection, status, fault);
}

/* Leaves %XX in the path: decoded, "/health%00x" would read as "/health". */
static size_t server_keep_escapes(void *argument, struct MHD_Connection *handle, char *string)
{
    (void)argument, (void)handle;
    return strlen(string);
}

/* Called once for the header, then for each part of a body, then once to respond. */
static enum MHD_Result server_on_request(void *argument, struct MHD_Connection *handle,
    const char *path, const char *method, const char *version, const char *body, size_t *body_bytes,
    void **context)
{
    (void)version, (void)context;
    struct http_server *server = argument;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info->socket_context;
    if (connection == NULL)
        return MHD_NO;
    if (connection->post != NULL)
        return posts_continue(&server->posts, connection->post, body, body_bytes);
    const struct http_server_request request = server_read_request(handle, path, method);
    if (!connection->header_seen)
        return server_begin(server, &request, connection);
    if (*body_bytes == 0)
        return server_respond(server, &request);
    connection->body_bytes += *body_bytes;
    *body_bytes = 0;
    return connection->body_bytes <= BODY_BYTES ? MHD_YES : MHD_NO;
}

/* The timeout for poll: until the library, a connection or the ticker is due; -1 for none. */
static int server_wait_ms(struct http_server *server)
{
    /* A closed connection may allow accepting again, which the library only checks when it runs. */
    if (server->closed_some)
        return 0;
    int64_t min_ms = INT_MAX;
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES && library_ms < INT_MAX)
        min_ms = (int64_t)library_ms;
    int64_t now_ms = clock_monotonic_ms();
    if (connections_due_ms(&server->connections) - now_ms < min_ms)
        min_ms = connections_due_ms(&server->connections) - now_ms;
    if (posts_due_ms(&server->posts) - now_ms < min_ms)
        min_ms = posts_due_ms(&server->posts) - now_ms;
    if (server->ticker.tick != NULL && server->tick_due_ms - now_ms < min_ms)
        min_ms = server->tick_due_ms - now_ms;
    if (min_ms == INT_MAX)
        return -1;
    return min_ms < 0 ? 0 : (int)min_ms;
}

/*
 * Without a descriptor to accept with, and no connection whose end could free one, the library
 * would try again at once and forever. The clients wait in the listener's backlog meanwhile.
 */
static bool server_is_starved(const struct http_server *server)
{
    if (server->connections.listed + server->connections.held > 0 ||
        !fd_wait_readable(server->listen_fd, 0))
        return false;
    int shortage = fd_find_shortage();
    if (shortage != 0)
        log_warn("Health", "cannot accept connections: %s", strerrordesc_np(shortage));
    return shortage != 0;
}

/* Returns false when the server must stop. */
static bool server_wait(struct http_server *server)
{
    struct pollfd fds[] = {
        {.fd = server->epoll_fd, .events = POLLIN},
        {.fd = server->stop_fd, .events = POLLIN},
        {.fd = server->posts.wake_fd, .events = POLLIN},
    };
    if (server_is_starved(server) && fd_wait_readable(server->stop_fd, STARVED_WAIT_MS))
        return false;
    int wait_ms = server_wait_ms(server);
    watch_pause();
    int ready = poll(fds, 3, wait_ms);
    watch_resume();
    assert(ready >= 0 || errno == EINTR);
    return ready <= 0 || fds[1].revents == 0;
}

/* Ticks that were missed, e.g. while the process was suspended, are skipped. */
static void server_tick_if_due(struct http_server *server)
{
    int64_t interval_ms = server->ticker.interval_ms;
    int64_t late_ms = clock_monotonic_ms() - server->tick_due_ms;
    if (server->ticker.tick == NULL || late_ms < 0)
        return;
    server->tick_due_ms += (late_ms / interval_ms + 1) * interval_ms;
    server->ticker.tick(server->ticker.tick_context);
}

/*
 * What has been answered until now still goes out, as far as its clients take it at once: a
 * response takes the library a few rounds, from the resumed connection to the last byte.
 */
static void server_send_last_answers(struct http_server *server)
{
    enum { ROUNDS = 8 };
    for (int round = 0; round < ROUNDS; round++) {
        posts_run(&server->posts, clock_monotonic_ms());
        MHD_run(server->daemon);
    }
    posts_abandon(&server->posts);
    for (int round = 0; round < ROUNDS; round++)
        MHD_run(server->daemon);
}

static void *server_main(void *argument)
{
    struct http_server *server = argument;
    while (server_wait(server)) {
        connections_expire_old(&server->connections, clock_monotonic_ms());
        server_tick_if_due(server);
        server->closed_some = false;
        posts_run(&server->posts, clock_monotonic_ms());
        MHD_run(server->daemon);
    }
    server_send_last_answers(server);
    MHD_stop_daemon(server->daemon);
    return NULL;
}

/* On success the daemon owns listen_fd. */
static int server_start_daemon(struct http_server *server, int listen_fd, struct error *error)
{
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        server_on_request, server, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        server->connections.max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, server_on_connection, server,
        MHD_OPTION_UNESCAPE_CALLBACK, server_keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon == NULL)
        return error_set(error, ERROR_SYSTEM, "cannot start the HTTP server");
    server->listen_fd = listen_fd;
    server->epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

int http_server_create(struct http_server **server, const char *host, unsigned port,
    const struct http_server_route *routes, const struct http_server_ticker *ticker,
    const struct http_server_posts *posts, struct error *error)
{
    struct http_server *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory starting the HTTP server");
    created->routes = routes;
    if (ticker != NULL) {
        created->ticker = *ticker;
        created->tick_due_ms = clock_monotonic_ms() + ticker->interval_ms;
    }
    connections_init(&created->connections);
    int listen_fd = -1;
    int result = 0;
    created->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (created->stop_fd < 0) {
        result = error_set_errno(error, ERROR_SYSTEM, errno, "cannot start the HTTP server");
        goto err_after_calloc;
    }
    result = posts_init(&created->posts, posts, &created->connections, error);
    if (result != 0)
        goto err_after_eventfd;
    result = listener_open(host, port, &listen_fd, &created->port, error);
    if (result != 0)
        goto err_after_posts;
    created->is_on_all_addresses = listener_is_on_all_addresses(listen_fd);
    result = server_start_daemon(created, listen_fd, error);
    if (result != 0)
        goto err_after_listener;
    result = thread_start(&created->thread, "mc-http", server_main, created, error);
    if (result != 0)
        goto err_after_daemon;
    *server = created;
    return 0;

err_after_daemon:
    /* Also closes the listener. */
    MHD_stop_daemon(created->daemon);
    goto err_after_posts;
err_after_listener:
    close(listen_fd);
err_after_posts:
    posts_fini(&created->posts);
err_after_eventfd:
    close(created->stop_fd);
err_after_calloc:
    free(created);
    return result;
}

int http_server_check_address(const char *host, unsigned port, struct error *error)
{
    return listener_check(host, port, error);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}

bool http_server_is_on_all_addresses(const struct http_server *server)
{
    return server->is_on_all_addresses;
}

struct http_post *http_server_take_post(struct http_server *server)
{
    return posts_take(&server->posts);
}

void http_server_read_post(struct http_server *server, struct http_post *post)
{
    posts_read(&server->posts, post);
}

void http_server_answer_post(
    struct http_server *server, struct http_post *post, struct http_server_reply *reply)
{
    posts_answer(&server->posts, post, reply);
}

void http_server_close_posts(struct http_server *server)
{
    posts_close(&server->posts);
}

void http_server_destroy(struct http_server *server)
{
    if (server == NULL)
        return;
    eventfd_write(server->stop_fd, 1);
    thread_join(server->thread);
    posts_fini(&server->posts);
    close(server->stop_fd);
    free(server);
}
