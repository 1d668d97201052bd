/*
 * A post is a request with a body that a thread of another module answers. All of its states but
 * QUEUED belong to the server's thread:
 *
 *   REFUSED    the answer is an error: the body is dropped, then the error is sent
 *   WAITING    admitted; its body stays in the socket; suspended
 *   READING    its body is read into memory that is reserved for it
 *   QUEUED     for a thread, with one, or given back by it; suspended
 *   ANSWERED   resumed: libmicrohttpd will ask for the answer
 *   REPLYING   the library sends the answer
 *   LINGERING  the answer went out ahead of the library, which cannot send any in the middle of a
 *              body; what the client sends on is dropped, since closing a socket with unread data
 *              destroys the answer on its way
 *
 *      REFUSED ----------------------------> REPLYING      any of them -> LINGERING
 *      WAITING -> READING -> QUEUED -> ANSWERED -^
 *         ^---- QUEUED (HTTP_ASK)
 *
 * A suspended connection costs its 36 KiB of addresses and what is in the kernel's buffers. Bodies
 * are read only while a thread is free, one after the other as memory permits. A body has to arrive
 * within HTTP_POST_BODY_MS from then; a slow one keeps memory but no thread. The last SMALL_SHARE
 * of the memory is for small bodies, so that slow large ones cannot keep these out. The reservation
 * ends with the answer, as what a thread makes of a body is in proportion to it.
 *
 * Admitted posts are held (http/connections.h), and there are at most HTTP_POST_WAITING of them and
 * those in hand, so going through all of them at each turn costs nothing. The lock guards only what
 * is handed over between threads.
 */
#include "http/posts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/reply.h"

enum {
    DROP_BYTES = 64 * 1024,          /* of a refused body, before the answer goes out ahead */
    SMALL_BYTES = 64 * 1024,         /* a small body */
    SMALL_SHARE_BYTES = 1024 * 1024, /* of the memory, which only they may use */
    LINGER_MS = 1000,
    REPLY_MS = 5000, /* for the client to take its answer */
};

int posts_init(struct http_posts *posts, const struct http_server_posts *routes,
    struct connections *connections, struct error *error)
{
    *posts = (struct http_posts){.connections = connections, .closed = routes == NULL};
    if (routes != NULL)
        posts->routes = *routes;
    TAILQ_INIT(&posts->ready);
    TAILQ_INIT(&posts->returned);
    TAILQ_INIT(&posts->all);
    posts->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (posts->wake_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot start the HTTP server");
    mutex_init(&posts->lock);
    cond_init(&posts->work);
    return 0;
}

void posts_fini(struct http_posts *posts)
{
    cond_fini(&posts->work);
    mutex_fini(&posts->lock);
    close(posts->wake_fd);
}

bool posts_own_path(const struct http_posts *posts, const char *path)
{
    const char *prefix = posts->routes.prefix;
    return prefix != NULL && strncmp(path, prefix, strlen(prefix)) == 0;
}

static void post_set_error(
    struct http_post *post, unsigned status, unsigned retry_after_s, const char *reason)
{
    text_fini(&post->reply.body);
    reply_init(&post->reply);
    post->reply.status = status;
    post->reply.retry_after_s = retry_after_s;
    text_printf(&post->reply.body, "{\"success\":false,\"error\":\"%s\"}", reason);
}

static void post_suspend(struct http_post *post)
{
    if (!post->is_suspended)
        MHD_suspend_connection(post->handle);
    post->is_suspended = true;
}

static void post_resume(struct http_post *post)
{
    if (post->is_suspended)
        MHD_resume_connection(post->handle);
    post->is_suspended = false;
}

/* Tells the owner of the details once how the request ended; its memory goes with that. */
static void post_end(struct http_posts *posts, struct http_post *post, unsigned status)
{
    free(post->body);
    post->body = NULL;
    posts->reserved_bytes -= post->room_bytes;
    post->room_bytes = 0;
    if (post->details == NULL)
        return;
    posts->unanswered--;
    posts->routes.end(
        posts->routes.context, post->details, status, clock_monotonic_us() - post->began_us);
    post->details = NULL;
    post->group = NULL;
}

static void post_send_ahead(struct http_post *post)
{
    reply_send(post->connection->fd, &post->reply);
    post->state = POST_LINGERING;
    post->deadline_ms = clock_monotonic_ms() + LINGER_MS;
    post_resume(post);
}

/* Ends a post whose body has not been read in full with the error that its reply has. */
static void post_refuse(struct http_posts *posts, struct http_post *post)
{
    bool is_half_read = post->state == POST_READING;
    post_end(posts, post, post->reply.status);
    if (is_half_read || (post->expects_continue && !post->is_at_header) ||
        (!post->has_unknown_size && post->declared_bytes > DROP_BYTES)) {
        post_send_ahead(post);
        return;
    }
    post->state = POST_REFUSED;
    post->deadline_ms = clock_monotonic_ms() + REPLY_MS;
    post_resume(post);
}

static enum MHD_Result post_reply(struct http_post *post)
{
    if (post->reply.body.failed)
        post_set_error(post, MHD_HTTP_INTERNAL_SERVER_ERROR, 0, "out of memory");
    post->state = POST_REPLYING;
    post->deadline_ms = clock_monotonic_ms() + REPLY_MS;
    return reply_queue(post->handle, &post->reply);
}

/* Within its first call the library can answer, and the client has not sent what it announced. */
static enum MHD_Result post_refuse_at_once(struct http_posts *posts, struct http_post *post)
{
    if (post->expects_continue) {
        post_end(posts, post, post->reply.status);
        return post_reply(post);
    }
    post_refuse(posts, post);
    return MHD_YES;
}

static void posts_queue(struct http_posts *posts, struct http_post *post)
{
    post->state = POST_QUEUED;
    post_suspend(post);
    posts_offer(posts, post);
}

static size_t post_room(const struct http_post *post)
{
    return post->has_unknown_size ? HTTP_POST_BODY_BYTES : post->declared_bytes;
}

static bool posts_have_room(const struct http_posts *posts, size_t room_bytes)
{
    size_t max = HTTP_POST_BODIES_BYTES - (room_bytes > SMALL_BYTES ? SMALL_SHARE_BYTES : 0);
    return posts->reserved_bytes + room_bytes <= max;
}

/* Large blocks cost memory only as they fill up. */
static void post_start_reading(struct http_posts *posts, struct http_post *post, int64_t now_ms)
{
    size_t room_bytes = post_room(post);
    post->body = malloc(room_bytes + 1);
    if (post->body == NULL) {
        post_set_error(post, MHD_HTTP_SERVICE_UNAVAILABLE, 1, "out of memory");
        post_refuse(posts, post);
        return;
    }
    post->room_bytes = room_bytes;
    posts->reserved_bytes += room_bytes;
    post->body_bytes = 0;
    post->read_deadline_ms = now_ms + HTTP_POST_BODY_MS;
    post->state = POST_READING;
    post_resume(post);
}

/* Lets the oldest go first, but not keep back those for which there is room. */
static void posts_advance(struct http_posts *posts, int64_t now_ms)
{
    struct http_post *post;
    TAILQ_FOREACH (post, &posts->all, by_age) {
        if (post->state != POST_WAITING)
            continue;
        if (!posts_have_idle_thread(posts))
            return;
        if (posts_have_room(posts, post_room(post)))
            post_start_reading(posts, post, now_ms);
    }
}

static unsigned posts_count_group(const struct http_posts *posts, const char *group)
{
    unsigned count = 0;
    const struct http_post *post;
    TAILQ_FOREACH (post, &posts->all, by_age)
        count += post->group != NULL && strcmp(post->group, group) == 0;
    return count;
}

/* False, with the error in its reply, when there is no place for the post. */
static bool posts_find_place(struct http_posts *posts, struct http_post *post)
{
    if (posts_are_closed(posts))
        post_set_error(post, MHD_HTTP_SERVICE_UNAVAILABLE, 0, "The runtime is shutting down");
    else if (!post->has_unknown_size && post->declared_bytes > HTTP_POST_BODY_BYTES)
        post_set_error(post, MHD_HTTP_CONTENT_TOO_LARGE, 0, "Request body over 5 MiB");
    else if (posts_count_group(posts, post->group) >= posts->routes.max_of_group)
        post_set_error(post, MHD_HTTP_TOO_MANY_REQUESTS, 1,
            "Too many requests of this session at a time; try again");
    else if (posts_count_waiting(posts) >= HTTP_POST_WAITING ||
             !connections_hold(posts->connections, post->connection))
        post_set_error(
            post, MHD_HTTP_SERVICE_UNAVAILABLE, 1, "Too many requests at a time; try again");
    else
        return true;
    return false;
}

static enum MHD_Result posts_admit(struct http_posts *posts, struct http_post *post,
    const struct http_post_plan *plan, enum http_admission admission)
{
    int64_t now_ms = clock_monotonic_ms();
    post->details = plan->details;
    post->group = plan->group;
    bool has_place = posts_find_place(posts, post);
    posts->unanswered++;
    if (!has_place)
        return post_refuse_at_once(posts, post);
    post->deadline_ms = now_ms + HTTP_POST_LIMIT_MS;
    post->is_listed = true;
    TAILQ_INSERT_TAIL(&posts->all, post, by_age);
    post->state = POST_WAITING;
    if (admission == HTTP_ASK)
        posts_queue(posts, post);
    else
        posts_advance(posts, now_ms);
    if (post->state == POST_WAITING)
        post_suspend(post);
    post->is_at_header = post->is_suspended;
    return MHD_YES;
}

/* The library has checked the header's syntax; a size that it takes but we cannot read is large. */
static void post_read_framing(struct http_post *post, const struct http_server_request *request)
{
    const char *expect = http_server_request_header(request, MHD_HTTP_HEADER_EXPECT);
    const char *size = http_server_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    post->expects_continue = expect != NULL && strcasecmp(expect, "100-continue") == 0;
    post->has_unknown_size =
        http_server_request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    if (size == NULL || post->has_unknown_size)
        return;
    errno = 0;
    unsigned long long declared = strtoull(size, NULL, 10);
    post->declared_bytes = errno != 0 || declared > SIZE_MAX ? SIZE_MAX : (size_t)declared;
}

enum MHD_Result posts_begin(struct http_posts *posts, const struct http_server_request *request,
    struct connection *connection, unsigned status, const char *refusal)
{
    struct http_post *post = calloc(1, sizeof *post);
    if (post == NULL)
        return MHD_NO;
    post->handle = request->handle;
    post->connection = connection;
    post->began_us = clock_monotonic_us();
    connection->post = post;
    reply_init(&post->reply);
    post_read_framing(post, request);
    struct http_post_plan plan = {0};
    enum http_admission admission = HTTP_REFUSE;
    if (refusal != NULL)
        post_set_error(post, status, 0, refusal);
    else
        admission = posts->routes.admit(posts->routes.context, request, &plan, &post->reply);
    if (admission == HTTP_REFUSE)
        return post_refuse_at_once(posts, post);
    return posts_admit(posts, post, &plan, admission);
}

static void post_drop_bytes(struct http_post *post, size_t length_bytes)
{
    post->body_bytes += length_bytes;
    if (post->state == POST_REFUSED && post->body_bytes > DROP_BYTES)
        post_send_ahead(post);
}

/*
 * The library waits for an edge of epoll after a short read, and there is none for a client that
 * closed before that read: its memory would be kept until the body is overdue.
 */
static bool post_was_left(const struct http_post *post)
{
    char byte;
    return !post->has_unknown_size && post->body_bytes < post->declared_bytes &&
           recv(post->connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static enum MHD_Result post_keep_bytes(
    struct http_posts *posts, struct http_post *post, const char *bytes, size_t length_bytes)
{
    if (length_bytes > post->room_bytes - post->body_bytes) {
        post_set_error(post, MHD_HTTP_CONTENT_TOO_LARGE, 0, "Request body over 5 MiB");
        post_refuse(posts, post);
        return MHD_YES;
    }
    memcpy(post->body + post->body_bytes, bytes, length_bytes);
    post->body_bytes += length_bytes;
    return post_was_left(post) ? MHD_NO : MHD_YES;
}

/* As in the first call, the library can answer before the body. */
static enum MHD_Result post_repeat_first_call(struct http_post *post)
{
    post->is_at_header = false;
    return post->state == POST_REFUSED && post->expects_continue ? post_reply(post) : MHD_YES;
}

enum MHD_Result posts_continue(
    struct http_posts *posts, struct http_post *post, const char *bytes, size_t *length_bytes)
{
    if (post->is_at_header)
        return post_repeat_first_call(post);
    size_t count = *length_bytes;
    *length_bytes = 0;
    if (count > 0 && post->state == POST_READING)
        return post_keep_bytes(posts, post, bytes, count);
    if (count > 0) {
        post_drop_bytes(post, count);
        return MHD_YES;
    }
    switch (post->state) {
    case POST_READING:
        post->body[post->body_bytes] = '\0';
        post->has_body = true;
        posts_queue(posts, post);
        return MHD_YES;
    case POST_REFUSED:
    case POST_ANSWERED:
        return post_reply(post);
    default: /* POST_LINGERING, or all of them are abandoned */
        return MHD_NO;
    }
}

void posts_drop(struct http_posts *posts, struct http_post *post)
{
    if (post == NULL)
        return;
    post_end(posts, post, 0);
    if (post->is_listed)
        TAILQ_REMOVE(&posts->all, post, by_age);
    text_fini(&post->reply.body);
    free(post);
}

/* A thread has given the post back. */
static void posts_take_back(struct http_posts *posts, struct http_post *post)
{
    if (post->is_to_be_read) {
        post->state = POST_WAITING;
        return;
    }
    if (!post->has_body) {
        post_refuse(posts, post);
        return;
    }
    post_end(posts, post, post->reply.status);
    post->state = POST_ANSWERED;
    post->deadline_ms = clock_monotonic_ms() + REPLY_MS;
    post_resume(post);
}

static void posts_take_all_back(struct http_posts *posts)
{
    struct post_list returned = TAILQ_HEAD_INITIALIZER(returned);
    struct http_post *post;
    posts_collect(posts, &returned);
    while ((post = TAILQ_FIRST(&returned)) != NULL) {
        TAILQ_REMOVE(&returned, post, queued);
        posts_take_back(posts, post);
    }
}

static void posts_refuse_all(struct http_posts *posts)
{
    struct http_post *post;
    TAILQ_FOREACH (post, &posts->all, by_age) {
        bool is_ours = post->state == POST_WAITING || post->state == POST_READING ||
                       (post->state == POST_QUEUED && posts_unqueue(posts, post));
        if (!is_ours)
            continue;
        post_set_error(post, MHD_HTTP_SERVICE_UNAVAILABLE, 0, "The runtime is shutting down");
        post_refuse(posts, post);
    }
}

static int64_t post_due_ms(const struct http_post *post)
{
    bool reads = post->state == POST_READING && post->read_deadline_ms < post->deadline_ms;
    return reads ? post->read_deadline_ms : post->deadline_ms;
}

static void post_expire(struct http_posts *posts, struct http_post *post)
{
    if (post->state == POST_READING) {
        post_set_error(post, MHD_HTTP_REQUEST_TIMEOUT, 0, "Request body too slow");
        post_refuse(posts, post);
    } else if (post->state == POST_WAITING ||
               (post->state == POST_QUEUED && posts_unqueue(posts, post))) {
        post_set_error(post, MHD_HTTP_SERVICE_UNAVAILABLE, 0, "Backend unavailable");
        post_refuse(posts, post);
    } else if (post->state == POST_QUEUED) {
        /* The thread answers as soon as it notices. */
        atomic_store(&post->overdue, true);
        post->deadline_ms = INT64_MAX;
    } else {
        shutdown(post->connection->fd, SHUT_RDWR);
        post->deadline_ms = INT64_MAX;
    }
}

void posts_run(struct http_posts *posts, int64_t now_ms)
{
    eventfd_t unused;
    struct http_post *post;
    eventfd_read(posts->wake_fd, &unused);
    posts_take_all_back(posts);
    if (posts_are_closed(posts))
        posts_refuse_all(posts);
    posts_advance(posts, now_ms);
    TAILQ_FOREACH (post, &posts->all, by_age)
        if (post_due_ms(post) <= now_ms)
            post_expire(posts, post);
}

int64_t posts_due_ms(const struct http_posts *posts)
{
    int64_t due_ms = INT64_MAX;
    const struct http_post *post;
    TAILQ_FOREACH (post, &posts->all, by_age)
        if (post_due_ms(post) < due_ms)
            due_ms = post_due_ms(post);
    return due_ms;
}

void posts_abandon(struct http_posts *posts)
{
    struct http_post *post;
    TAILQ_FOREACH (post, &posts->all, by_age) {
        post->state = POST_LINGERING;
        post_resume(post);
    }
}
