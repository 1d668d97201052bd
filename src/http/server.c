#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/sync.h"
#include "http/connections.h"

enum {
    HEADER_BYTES = 8 * 1024,
    /*
     * The header, the library's list of its fields, and the header of the answer. Over 32 KiB the
     * library maps it, so that only what is used counts, and goes back at the connection's end.
     */
    CONNECTION_MEMORY_BYTES = 36 * 1024,
    /* A body is read, as closing in the middle of it would destroy our answer on its way. */
    BODY_BYTES = 64 * 1024,
};

struct http_server {
    const struct http_server_route *routes;
    struct http_server_ticker ticker; /* tick NULL: none */
    unsigned port;
    int stop_fd;
    pthread_t thread;

    /* The rest belongs to the thread from its start to its end. */
    struct MHD_Daemon *daemon;
    int epoll_fd;
    struct connections connections;
    int64_t tick_due_ms;
    bool closed_some; /* since the flag was last lowered */
};

static int descriptor_of(struct MHD_Connection *handle)
{
    return MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void on_connection(void *argument, struct MHD_Connection *handle, void **context,
    enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = argument;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context =
            connections_add(&server->connections, descriptor_of(handle), clock_monotonic_ms());
        return;
    }
    server->closed_some = true;
    connections_remove(&server->connections, *context);
}

static void set_error(struct http_server_reply *reply, unsigned status, const char *reason)
{
    reply->status = status;
    reply->content_type = "application/json";
    text_clear(&reply->body);
    text_printf(&reply->body, "{\"error\":\"%s\"}", reason);
}

static bool has_method(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static void route(const struct http_server *server, const struct http_server_request *request,
    struct http_server_reply *reply)
{
    for (const struct http_server_route *at = server->routes; at->path != NULL; at++) {
        if (strcmp(at->path, request->path) == 0) {
            at->handle(at->context, request, reply);
            return;
        }
    }
    set_error(reply, MHD_HTTP_NOT_FOUND, "no such path");
}

static enum MHD_Result add_headers(
    struct MHD_Response *response, const struct http_server_reply *reply)
{
    const struct {
        const char *name;
        const char *value;
    } headers[] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type},
        {MHD_HTTP_HEADER_CONTENT_SECURITY_POLICY, reply->content_policy},
        {MHD_HTTP_HEADER_X_CONTENT_TYPE_OPTIONS, "nosniff"},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {MHD_HTTP_HEADER_CONNECTION, "close"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES)
            return MHD_NO;
    if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        return MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return MHD_YES;
}

/* Takes the reply's body. MHD_NO drops the connection. */
static enum MHD_Result send_reply(struct MHD_Connection *handle, struct http_server_reply *reply)
{
    size_t length_bytes = reply->body.length_bytes;
    char *body = text_take(&reply->body);
    if (body == NULL)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length_bytes, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    enum MHD_Result result = add_headers(response, reply);
    if (result == MHD_YES)
        result = MHD_queue_response(handle, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

static size_t header_bytes(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL ? 0 : info->header_size;
}

/* Whether the query has it, with a value or without. */
static bool has_argument(struct MHD_Connection *handle, const char *name)
{
    return MHD_lookup_connection_value_n(
               handle, MHD_GET_ARGUMENT_KIND, name, strlen(name), NULL, NULL) == MHD_YES;
}

static enum MHD_Result answer(const struct http_server *server, struct MHD_Connection *handle,
    const char *path, const char *method)
{
    const char *accept =
        MHD_lookup_connection_value(handle, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    const struct http_server_request request = {
        .path = path,
        .accept = accept == NULL ? "" : accept,
        .verbose = has_argument(handle, "verbose"),
    };
    struct http_server_reply reply = {
        .status = MHD_HTTP_OK,
        .content_type = "application/json",
        .content_policy = "default-src 'none'",
    };
    if (header_bytes(handle) > HEADER_BYTES)
        set_error(&reply, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "header over 8 KiB");
    else if (!has_method(method))
        set_error(&reply, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    else
        route(server, &request, &reply);
    if (reply.body.failed) {
        text_fini(&reply.body);
        set_error(&reply, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    }
    return send_reply(handle, &reply);
}

/* Leaves %XX in the path: decoded, "/health%00x" would be "/health". */
static size_t keep_escapes(void *argument, struct MHD_Connection *handle, char *string)
{
    (void)argument, (void)handle;
    return strlen(string);
}

/* Called once when the header is there, then for each piece of a body, then once for the answer. */
static enum MHD_Result on_request(void *argument, struct MHD_Connection *handle, const char *path,
    const char *method, const char *version, const char *body, size_t *body_bytes, void **context)
{
    (void)version, (void)body, (void)context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info->socket_context;
    if (connection == NULL)
        return MHD_NO;
    if (!connection->header_seen) {
        connection->header_seen = true;
        return MHD_YES;
    }
    if (*body_bytes == 0)
        return answer(argument, handle, path, method);
    connection->body_bytes += *body_bytes;
    *body_bytes = 0;
    return connection->body_bytes <= BODY_BYTES ? MHD_YES : MHD_NO;
}

static int wait_ms(struct http_server *server)
{
    /* A closed connection may have made room to accept again, which only a run finds out. */
    if (server->closed_some)
        return 0;
    int64_t min_ms = INT_MAX;
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES && library_ms < INT_MAX)
        min_ms = (int64_t)library_ms;
    int64_t now_ms = clock_monotonic_ms();
    if (connections_due_ms(&server->connections) - now_ms < min_ms)
        min_ms = connections_due_ms(&server->connections) - now_ms;
    if (server->ticker.tick != NULL && server->tick_due_ms - now_ms < min_ms)
        min_ms = server->tick_due_ms - now_ms;
    if (min_ms == INT_MAX)
        return -1;
    return min_ms < 0 ? 0 : (int)min_ms;
}

/* Returns false when the server is to stop. */
static bool wait_for_work(struct http_server *server)
{
    struct pollfd fds[] = {
        {.fd = server->epoll_fd, .events = POLLIN},
        {.fd = server->stop_fd, .events = POLLIN},
    };
    int ready = poll(fds, 2, wait_ms(server));
    assert(ready >= 0 || errno == EINTR);
    return ready <= 0 || fds[1].revents == 0;
}

/* Ticks that were missed, as while the process was halted, are left out. */
static void tick_if_due(struct http_server *server)
{
    int64_t interval_ms = server->ticker.interval_ms;
    int64_t late_ms = clock_monotonic_ms() - server->tick_due_ms;
    if (server->ticker.tick == NULL || late_ms < 0)
        return;
    server->tick_due_ms += (late_ms / interval_ms + 1) * interval_ms;
    server->ticker.tick(server->ticker.tick_context);
}

static void *serve(void *argument)
{
    struct http_server *server = argument;
    while (wait_for_work(server)) {
        connections_expire_old(&server->connections, clock_monotonic_ms());
        tick_if_due(server);
        server->closed_some = false;
        MHD_run(server->daemon);
    }
    MHD_stop_daemon(server->daemon);
    return NULL;
}

/* Takes listen_fd, on success for as long as the daemon lives. */
static int start_daemon(struct http_server *server, int listen_fd, struct error *error)
{
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, server->connections.max,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon == NULL)
        return error_set(error, ERROR_SYSTEM, "the HTTP server cannot start");
    server->epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

int http_server_create(struct http_server **server, const char *host, unsigned port,
    const struct http_server_route *routes, const struct http_server_ticker *ticker,
    struct error *error)
{
    struct http_server *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the HTTP server");
    made->routes = routes;
    if (ticker != NULL) {
        made->ticker = *ticker;
        made->tick_due_ms = clock_monotonic_ms() + ticker->interval_ms;
    }
    connections_init(&made->connections);
    int listen_fd = -1;
    int result = 0;
    made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->stop_fd < 0) {
        result = error_set_errno(error, ERROR_SYSTEM, errno, "the HTTP server cannot start");
        goto err_after_calloc;
    }
    result = listener_open(host, port, &listen_fd, &made->port, error);
    if (result != 0)
        goto err_after_eventfd;
    result = start_daemon(made, listen_fd, error);
    if (result != 0)
        goto err_after_eventfd;
    result = thread_start(&made->thread, "mc-http", serve, made, error);
    if (result != 0)
        goto err_after_daemon;
    *server = made;
    return 0;

err_after_daemon:
    MHD_stop_daemon(made->daemon);
err_after_eventfd:
    close(made->stop_fd);
err_after_calloc:
    free(made);
    return result;
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_destroy(struct http_server *server)
{
    if (server == NULL)
        return;
    eventfd_write(server->stop_fd, 1);
    thread_join(server->thread);
    close(server->stop_fd);
    free(server);
}
