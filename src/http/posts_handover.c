/*
 * How posts get from the server's thread to those that answer them and back. A thread takes what is
 * ready, and gives it back with its answer or with the wish to have its body read; the server's
 * thread is woken by an eventfd, as it waits in poll.
 *
 * A body is read only when a thread is free, so the server's thread has to know of those that wait:
 * idle counts them, less what has been offered to them already. When it found none, the next one
 * that becomes idle wakes it.
 *
 * The lock is held for a few instructions at a time; under it nothing is freed, and nothing is
 * called that could block.
 */
#include <stdlib.h>
#include <sys/eventfd.h>

#include "http/posts.h"

void posts_offer(struct http_posts *posts, struct http_post *post)
{
    mutex_lock(&posts->lock);
    post->is_taken = false;
    TAILQ_INSERT_TAIL(&posts->ready, post, queued);
    posts->ready_count++;
    cond_signal(&posts->work);
    mutex_unlock(&posts->lock);
}

bool posts_unqueue(struct http_posts *posts, struct http_post *post)
{
    mutex_lock(&posts->lock);
    bool is_free = !post->is_taken;
    if (is_free) {
        TAILQ_REMOVE(&posts->ready, post, queued);
        posts->ready_count--;
    }
    mutex_unlock(&posts->lock);
    return is_free;
}

bool posts_have_idle_thread(struct http_posts *posts)
{
    mutex_lock(&posts->lock);
    bool has_idle = posts->idle > posts->ready_count;
    posts->wants_idle = !has_idle;
    mutex_unlock(&posts->lock);
    return has_idle;
}

unsigned posts_count_waiting(struct http_posts *posts)
{
    mutex_lock(&posts->lock);
    unsigned waiting = posts->unanswered - posts->in_hand;
    mutex_unlock(&posts->lock);
    return waiting;
}

bool posts_are_closed(struct http_posts *posts)
{
    mutex_lock(&posts->lock);
    bool closed = posts->closed;
    mutex_unlock(&posts->lock);
    return closed;
}

void posts_collect(struct http_posts *posts, struct post_list *returned)
{
    mutex_lock(&posts->lock);
    TAILQ_CONCAT(returned, &posts->returned, queued);
    mutex_unlock(&posts->lock);
}

struct http_post *posts_take(struct http_posts *posts)
{
    mutex_lock(&posts->lock);
    posts->idle++;
    if (posts->wants_idle)
        eventfd_write(posts->wake_fd, 1);
    posts->wants_idle = false;
    while (!posts->closed && TAILQ_EMPTY(&posts->ready))
        cond_wait(&posts->work, &posts->lock);
    posts->idle--;
    struct http_post *post = posts->closed ? NULL : TAILQ_FIRST(&posts->ready);
    if (post != NULL) {
        TAILQ_REMOVE(&posts->ready, post, queued);
        posts->ready_count--;
        posts->in_hand++;
        post->is_taken = true;
    }
    mutex_unlock(&posts->lock);
    return post;
}

static void posts_give_back(struct http_posts *posts, struct http_post *post)
{
    mutex_lock(&posts->lock);
    posts->in_hand--;
    TAILQ_INSERT_TAIL(&posts->returned, post, queued);
    mutex_unlock(&posts->lock);
    eventfd_write(posts->wake_fd, 1);
}

void posts_read(struct http_posts *posts, struct http_post *post)
{
    post->is_to_be_read = true;
    posts_give_back(posts, post);
}

void posts_answer(struct http_posts *posts, struct http_post *post, struct http_server_reply *reply)
{
    post->is_to_be_read = false;
    text_fini(&post->reply.body);
    post->reply = *reply;
    reply->body = (struct text){0};
    posts_give_back(posts, post);
}

void posts_close(struct http_posts *posts)
{
    mutex_lock(&posts->lock);
    posts->closed = true;
    cond_broadcast(&posts->work);
    mutex_unlock(&posts->lock);
    eventfd_write(posts->wake_fd, 1);
}

void *http_post_details(const struct http_post *post)
{
    return post->details;
}

struct text_span http_post_body(const struct http_post *post)
{
    if (!post->has_body)
        return (struct text_span){0};
    return (struct text_span){post->body, post->body_bytes};
}

int64_t http_post_deadline_ms(const struct http_post *post)
{
    return post->began_us / 1000 + HTTP_POST_LIMIT_MS;
}

const atomic_bool *http_post_overdue(const struct http_post *post)
{
    return &post->overdue;
}
