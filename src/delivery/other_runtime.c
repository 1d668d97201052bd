/*
 * Traces of another runtime. They are collected where they show, as plain fields of the entry, and
 * judged in one place when the queue forgets the entry, which is when all of them are known:
 *
 *   a page lacks a row in hand, no mark of ours begun  --> queue.unlisted          (intake.c)
 *   the stage "written" begins, so a mark may be sent  --> queue.may_be_marked     (send_queue.c)
 *   an earlier process may have had the notification   --> evidence.inherited      (intake.c)
 *   the context became null                            --> evidence.gone           (attempt.c)
 *   our reply was posted, under the key                --> evidence.posted         (delivery.c)
 *   the message in a context answers a notification    --> evidence.heard          (here)
 *
 * So an ordinary delivery calls nothing here. A notification that was unlisted before our own mark
 * was begun, and that is not gone, was marked by another: our mark then succeeds, as marks are
 * idempotent, and without a page at the right moment nobody would know.
 *
 * Replies of notifications without such a trace go to a ring, as digests of their first bytes.
 * What agents have said, in messages and threads, is compared with it. A digest is used once, so
 * that a thread that is read again and again counts as one trace.
 *
 * What was listed before the first complete page of this process is inherited: an earlier process
 * may have had it in hand, and its last calls may take effect late. What came after that page,
 * nobody but us can have had.
 */
#include "delivery/other_runtime.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/prompt.h"

static const char component[] = "Delivery";

static const char delivered_trace[] = "delivered";
static const char reply_trace[] = "reply";

/* A reply of ours; hashes of the ids, 0 for none. */
struct posted_reply {
    uint64_t notification;
    uint64_t message;
    uint64_t digest;
};

struct other_runtime {
    struct metrics *metrics;

    /* Guards everything below. */
    struct mutex lock;
    int64_t traces_ms[OTHER_RUNTIME_TRACES]; /* the last ones (monotonic); 0: none */
    size_t next_trace;
    int64_t seen_ms; /* the last trace that was the third within the window; 0: none */
    bool warned;
    struct posted_reply replies[OTHER_RUNTIME_REPLIES];
    size_t next_reply;
};

int other_runtime_create(struct other_runtime **other, struct metrics *metrics, struct error *error)
{
    struct other_runtime *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    created->metrics = metrics;
    mutex_init(&created->lock);
    *other = created;
    return 0;
}

void other_runtime_destroy(struct other_runtime *other)
{
    if (other == NULL)
        return;
    mutex_fini(&other->lock);
    free(other);
}

static bool other_is_seen_locked(const struct other_runtime *other, int64_t now_ms)
{
    mutex_assert_held(&other->lock);
    return other->seen_ms != 0 && now_ms - other->seen_ms < OTHER_RUNTIME_WINDOW_MS;
}

bool other_runtime_is_seen(struct other_runtime *other, int64_t now_ms)
{
    if (other == NULL)
        return false;
    mutex_lock(&other->lock);
    bool seen = other_is_seen_locked(other, now_ms);
    mutex_unlock(&other->lock);
    return seen;
}

/* Counts a trace; returns whether it is the one with which another runtime is believed in. */
static bool add_trace(struct other_runtime *other, int64_t now_ms)
{
    mutex_lock(&other->lock);
    other->traces_ms[other->next_trace] = now_ms;
    other->next_trace = (other->next_trace + 1) % OTHER_RUNTIME_TRACES;
    /* Since the ring is full, the next place has the oldest. */
    int64_t oldest_ms = other->traces_ms[other->next_trace];
    if (oldest_ms != 0 && now_ms - oldest_ms < OTHER_RUNTIME_WINDOW_MS)
        other->seen_ms = now_ms;
    bool news = !other->warned && other->seen_ms == now_ms;
    other->warned = other->warned || news;
    mutex_unlock(&other->lock);
    return news;
}

/* what was found about the notification or message of that id. */
static void note_trace(struct other_runtime *other, const char *trace, const char *what,
    const char *id, int64_t now_ms)
{
    metrics_add(other->metrics, METRIC_OTHER_RUNTIME_TRACES, trace, NULL, 1);
    log_info(component, "%s %s", id, what);
    if (add_trace(other, now_ms))
        log_warn(component,
            "Another runtime seems to work on this account: %d traces of it within ten minutes. "
            "Agents are run twice until one of the two is stopped",
            OTHER_RUNTIME_TRACES);
}

/* Once no trace has been found for as long as they count. */
static void end_warning(struct other_runtime *other, int64_t now_ms)
{
    mutex_lock(&other->lock);
    bool is_over = other->warned && !other_is_seen_locked(other, now_ms);
    if (is_over)
        other->warned = false;
    mutex_unlock(&other->lock);
    if (is_over)
        log_info(component, "No traces of another runtime for ten minutes");
}

/* Replies. */

static uint64_t words_digest(const char *words)
{
    return text_digest(words, OTHER_RUNTIME_DIGEST_BYTES);
}

static bool is_ours(const struct posted_reply *reply, uint64_t notification, uint64_t message)
{
    return reply->digest != 0 && ((notification != 0 && reply->notification == notification) ||
                                     (message != 0 && reply->message == message));
}

/*
 * Whether what is there as our reply to that notification, or as that message, has other words.
 * Either may be 0. Then the reply is forgotten.
 */
static bool take_if_foreign(
    struct other_runtime *other, uint64_t notification, uint64_t message, uint64_t digest)
{
    bool is_foreign = false;
    mutex_lock(&other->lock);
    for (size_t i = 0; i < OTHER_RUNTIME_REPLIES && !is_foreign; i++) {
        struct posted_reply *reply = &other->replies[i];
        is_foreign = is_ours(reply, notification, message) && reply->digest != digest;
        if (is_foreign)
            *reply = (struct posted_reply){0};
    }
    mutex_unlock(&other->lock);
    return is_foreign;
}

static void keep_posted(struct other_runtime *other, const struct entry *entry)
{
    const struct posted_reply reply = {
        .notification = id_hash(entry->item.id),
        .message = entry->work.evidence.posted_message,
        .digest = entry->work.evidence.posted,
    };
    mutex_lock(&other->lock);
    other->replies[other->next_reply] = reply;
    other->next_reply = (other->next_reply + 1) % OTHER_RUNTIME_REPLIES;
    mutex_unlock(&other->lock);
}

static const char foreign_reply[] = "has other words than the reply that was posted as it";

/* A thread cuts long messages, behind what the digest covers, and does not tell whose are edited.
 */
static void read_thread(struct other_runtime *other, const json_t *thread)
{
    size_t index;
    const json_t *item;
    json_array_foreach (thread, index, item) {
        const char *id = json_guard_id(item, "messageId");
        const char *content = json_guard_string(item, "content");
        if (id != NULL && content != NULL && json_guard_is(item, "authorType", "agent", "") &&
            take_if_foreign(other, 0, id_hash(id), words_digest(content)))
            note_trace(other, reply_trace, foreign_reply, id, clock_monotonic_ms());
    }
}

void other_runtime_read_context(
    struct other_runtime *other, struct entry *entry, const struct delivery_context *context)
{
    const char *content = json_guard_string(context->message, "content");
    /* Our notices share the key of a reply, and a person may change words. */
    bool may_tell = context->source_id != NULL && content != NULL &&
                    !notice_is_ours(context->message) &&
                    json_object_get(context->message, "editedAt") == NULL;
    entry->work.evidence.heard_source = may_tell ? id_hash(context->source_id) : 0;
    entry->work.evidence.heard = may_tell ? words_digest(content) : 0;
    if (other != NULL)
        read_thread(other, context->thread);
}

/* Notifications. */

/* Whether another has marked it as delivered before we did. */
static bool was_delivered_by_another(const struct entry *entry)
{
    bool found_marked = entry->work.reason == REASON_ALREADY_DELIVERED ||
                        entry->work.reason == REASON_ENDED_ELSEWHERE;
    if (entry->work.evidence.gone)
        return false;
    return (found_marked && !entry->queue.may_be_marked) ||
           (entry->queue.unlisted && entry->work.closing == CLOSING_ACKNOWLEDGED);
}

/* Not what an earlier process settled, nor what the backend has listed after its end. */
static bool can_be_judged(const struct entry *entry)
{
    return entry->queue.stage == STAGE_SETTLED && entry->work.attempts > 0 &&
           entry->work.reopened == 0;
}

static void judge_end(struct other_runtime *other, const struct entry *entry, int64_t now_ms)
{
    if (entry->work.evidence.inherited)
        return;
    if (was_delivered_by_another(entry))
        note_trace(other, delivered_trace, "was marked as delivered, but not by this runtime",
            entry->item.id, now_ms);
    else if (entry->work.evidence.posted != 0)
        keep_posted(other, entry);
}

void other_runtime_judge(struct other_runtime *other, const struct id_item *ended, int64_t now_ms)
{
    const struct id_item *item;
    end_warning(other, now_ms);
    for (item = ended; item != NULL; item = item->next) {
        const struct entry *entry = CONTAINER_OF(item, const struct entry, item);
        if (can_be_judged(entry))
            judge_end(other, entry, now_ms);
    }
    /* After those, as a reply and what it caused may end together. */
    for (item = ended; item != NULL; item = item->next) {
        const struct entry *entry = CONTAINER_OF(item, const struct entry, item);
        if (can_be_judged(entry) && entry->work.evidence.heard_source != 0 &&
            take_if_foreign(
                other, entry->work.evidence.heard_source, 0, entry->work.evidence.heard))
            note_trace(other, reply_trace,
                "is about a reply with other words than ours, which was posted before",
                entry->item.id, now_ms);
    }
}
