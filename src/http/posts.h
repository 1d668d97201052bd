/* The requests with bodies that other threads answer: admission, memory, deadlines, hand-over. */
#ifndef HTTP_POSTS_H
#define HTTP_POSTS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/sync.h"
#include "http/connections.h"
#include "http/server.h"

enum post_state {
    POST_REFUSED,
    POST_WAITING,
    POST_READING,
    POST_QUEUED,
    POST_ANSWERED,
    POST_REPLYING,
    POST_LINGERING,
};

struct http_post {
    TAILQ_ENTRY(http_post) by_age; /* in all, if is_listed */
    TAILQ_ENTRY(http_post) queued; /* in ready or returned */
    struct MHD_Connection *handle;
    struct connection *connection;
    enum post_state state;
    bool is_listed;
    bool is_suspended;
    bool is_at_header;     /* was suspended in its first call, which the library will repeat */
    bool is_taken;         /* by a thread; guarded by the lock */
    bool is_to_be_read;    /* what the thread that gave it back wants */
    bool expects_continue; /* the client waits for our word before it sends the body */
    bool has_body;         /* it has been read */
    bool has_unknown_size;
    size_t declared_bytes; /* unless its size is unknown */
    char *body;
    size_t body_bytes; /* read, or dropped */
    size_t room_bytes; /* reserved */
    int64_t began_us;
    int64_t deadline_ms; /* of the answer; after that, of the connection */
    int64_t read_deadline_ms;
    atomic_bool overdue;
    void *details; /* NULL once it has ended */
    const char *group;
    struct http_server_reply reply;
};

TAILQ_HEAD(post_list, http_post);

struct http_posts {
    struct http_server_posts routes; /* prefix NULL: none */
    struct connections *connections;
    int wake_fd; /* eventfd, readable when posts_run has something to do; owned */

    /* Guards the next seven, and is_taken of each post. */
    struct mutex lock;
    struct cond work;          /* ready has one more, or closed */
    struct post_list ready;    /* for a thread to take */
    struct post_list returned; /* given back by threads */
    unsigned idle;             /* threads that wait for work */
    unsigned ready_count;
    unsigned in_hand; /* posts that threads have */
    bool wants_idle;  /* wake_fd is to be written when a thread becomes idle */
    bool closed;

    /* Used only by the server's thread while it runs. */
    struct post_list all; /* admitted ones, oldest first */
    unsigned unanswered;  /* of them */
    size_t reserved_bytes;
};

/* routes NULL: there are none. ERROR_SYSTEM. posts_fini frees nothing but its own memory. */
int posts_init(struct http_posts *posts, const struct http_server_posts *routes,
    struct connections *connections, struct error *error);
void posts_fini(struct http_posts *posts);

/* Whether requests to the path are posts. */
bool posts_own_path(const struct http_posts *posts, const char *path);

/*
 * The rest is called on the server's thread.
 *
 * The first call for a request; refusal, unless NULL, is an error that the server found in the
 * header, with a status of its own.
 */
enum MHD_Result posts_begin(struct http_posts *posts, const struct http_server_request *request,
    struct connection *connection, unsigned status, const char *refusal);

/* Each further call. */
enum MHD_Result posts_continue(
    struct http_posts *posts, struct http_post *post, const char *bytes, size_t *length_bytes);

/* Its connection has been closed; frees it. NULL does nothing. */
void posts_drop(struct http_posts *posts, struct http_post *post);

/* What threads gave back, what can be read now, and what is overdue. */
void posts_run(struct http_posts *posts, int64_t now_ms);

/* When posts_run has to be called again, monotonic; INT64_MAX: only when wake_fd is readable. */
int64_t posts_due_ms(const struct http_posts *posts);

/* Resumes every connection, as the library cannot stop otherwise; all of them close. */
void posts_abandon(struct http_posts *posts);

/*
 * The hand-over (http/posts_handover.c), by which the server's thread and the others pass posts to
 * each other.
 *
 * Offers a post to the threads.
 */
void posts_offer(struct http_posts *posts, struct http_post *post);

/* Takes an offered post away from the threads. False when one of them has it already. */
bool posts_unqueue(struct http_posts *posts, struct http_post *post);

/* Whether a thread waits that is not needed for what has been offered; if not, one that gets free
 * makes wake_fd readable.
 */
bool posts_have_idle_thread(struct http_posts *posts);

/* How many posts are unanswered and with no thread. */
unsigned posts_count_waiting(struct http_posts *posts);

bool posts_are_closed(struct http_posts *posts);

/* Moves what threads have given back to the end of returned. */
void posts_collect(struct http_posts *posts, struct post_list *returned);

/* For other threads: http_server_take_post and the like (http/server.h). */
struct http_post *posts_take(struct http_posts *posts);
void posts_read(struct http_posts *posts, struct http_post *post);
void posts_answer(
    struct http_posts *posts, struct http_post *post, struct http_server_reply *reply);
void posts_close(struct http_posts *posts);

#endif
