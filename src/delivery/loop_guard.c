/*
 * Agents that mention or assign each other could answer each other without end, each run costing
 * money. Every notification has a chain of causes: it was caused by a message; if an agent wrote
 * that message, it answered an earlier notification (sourceNotificationId), and so on back to a
 * person. The guard limits what a notification may be the end of:
 *
 * - a message of the agent itself, or our own failure notice: never delivered to an agent;
 * - an agent's message seen as a thread update: only to assignees of the task, and not if it
 *   answered a thread update itself;
 * - a chain of more than max_hops agents in a row: ends.
 *
 * What is known of a notification (struct cause) is remembered when it is judged, so the next one
 * of the chain needs a lookup only. After a restart, or once the least recently used ones have been
 * dropped, walk_back reads the chain from the backend. A chain that cannot be read to its end gets
 * the benefit of the doubt: its hops are a lower bound, and are not remembered unless that alone is
 * too many.
 *
 * Workers call it in parallel. The lock guards the memory only and is never held during a request.
 */
#include "delivery/loop_guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/containers.h"
#include "base/json.h"
#include "base/sync.h"
#include "delivery/prompt.h"

/* What has to be known of a notification to judge those that its answer causes. */
struct cause {
    bool thread_update;
    bool unsure;   /* the chain could not be read to its end: there may be more hops */
    unsigned hops; /* between agents, up to this notification */
};

struct remembered {
    struct id_item item;
    struct cause cause;
    TAILQ_ENTRY(remembered) in_order;
};

TAILQ_HEAD(remembered_list, remembered);

struct loop_guard {
    bool enabled; /* this and the next: never changed */
    unsigned max_hops;

    /* Guards everything below. */
    struct mutex lock;
    struct id_table table;
    struct remembered_list order; /* least recently used first */
    size_t count;
};

int loop_guard_create(
    struct loop_guard **guard, bool enabled, unsigned max_hops, struct error *error)
{
    struct loop_guard *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the loop guard");
    created->enabled = enabled;
    created->max_hops = max_hops;
    TAILQ_INIT(&created->order);
    mutex_init(&created->lock);
    int result = id_table_init(&created->table, LOOP_GUARD_REMEMBERED, error);
    if (result != 0) {
        loop_guard_destroy(created);
        return result;
    }
    *guard = created;
    return 0;
}

void loop_guard_destroy(struct loop_guard *guard)
{
    if (guard == NULL)
        return;
    struct remembered *first;
    while ((first = TAILQ_FIRST(&guard->order)) != NULL) {
        TAILQ_REMOVE(&guard->order, first, in_order);
        free(first);
    }
    id_table_fini(&guard->table);
    mutex_fini(&guard->lock);
    free(guard);
}

static bool recall_cause(struct loop_guard *guard, const char *id, struct cause *cause)
{
    mutex_lock(&guard->lock);
    struct id_item *found = id_table_find(&guard->table, id);
    if (found != NULL) {
        struct remembered *remembered = CONTAINER_OF(found, struct remembered, item);
        *cause = remembered->cause;
        TAILQ_REMOVE(&guard->order, remembered, in_order);
        TAILQ_INSERT_TAIL(&guard->order, remembered, in_order);
    }
    mutex_unlock(&guard->lock);
    return found != NULL;
}

/* Adds fresh, or only its cause if the id is known; returns what has to be freed, or NULL. */
static struct remembered *add_remembered_locked(struct loop_guard *guard, struct remembered *fresh)
{
    mutex_assert_held(&guard->lock);
    struct id_item *found = id_table_find(&guard->table, fresh->item.id);
    if (found != NULL) {
        CONTAINER_OF(found, struct remembered, item)->cause = fresh->cause;
        return fresh;
    }
    struct remembered *oldest = NULL;
    if (guard->count == LOOP_GUARD_REMEMBERED) {
        oldest = TAILQ_FIRST(&guard->order);
        TAILQ_REMOVE(&guard->order, oldest, in_order);
        id_table_remove(&guard->table, &oldest->item);
        guard->count--;
    }
    id_table_add(&guard->table, &fresh->item);
    TAILQ_INSERT_TAIL(&guard->order, fresh, in_order);
    guard->count++;
    return oldest;
}

/*
 * An uncertain cause is remembered only if its hops are already too many: else they may be more
 * than that, and asking the backend again may tell. Without memory nothing is remembered.
 */
static void remember_cause(struct loop_guard *guard, const char *id, const struct cause *cause)
{
    if (cause->unsure && cause->hops <= guard->max_hops)
        return;
    struct remembered *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return;
    text_copy(fresh->item.id, sizeof fresh->item.id, id);
    fresh->cause = *cause;
    mutex_lock(&guard->lock);
    struct remembered *left = add_remembered_locked(guard, fresh);
    mutex_unlock(&guard->lock);
    free(left);
}

static bool field_is(const json_t *object, const char *key, const char *word)
{
    const char *found = json_guard_string(object, key);
    return found != NULL && strcmp(found, word) == 0;
}

static bool is_thread_update(const struct delivery_context *context)
{
    return field_is(context->notification, "type", "thread_update");
}

static bool is_by_agent(const struct delivery_context *context)
{
    return field_is(context->message, "authorType", "agent");
}

/* The id of the notification that the message answered; NULL when it answered none. */
static const char *source_of(const struct delivery_context *context)
{
    const char *id = json_guard_string(context->message, "sourceNotificationId");
    return is_by_agent(context) && id != NULL && id_is_valid(id) ? id : NULL;
}

/* One notification of a chain, on the way back to its beginning. */
struct link {
    char id[ID_BYTES];
    bool thread_update;
    bool by_agent;
    bool unsure; /* the backend failed to tell, now or permanently */
};

/*
 * Reads the notification link->id into *link, and into next the id of what its message answered: ""
 * when the chain ends here, because a person began it, the backend has deleted it, or its function
 * fails for it.
 */
static enum convex_outcome read_link(const struct service *service, struct link *link,
    char next[static ID_BYTES], struct error *error)
{
    struct delivery_context context;
    next[0] = '\0';
    enum convex_outcome outcome = service_get_delivery(service, link->id, &context, error);
    link->unsure = outcome == CONVEX_FUNCTION_ERROR;
    if (link->unsure)
        return CONVEX_SUCCESS;
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const char *source = source_of(&context);
    link->thread_update = is_thread_update(&context);
    link->by_agent = is_by_agent(&context);
    if (source != NULL)
        text_copy(next, ID_BYTES, source);
    delivery_context_fini(&context);
    return CONVEX_SUCCESS;
}

/* Reads the chain back from id, at most until it is too long anyway, and remembers its causes. */
static enum convex_outcome walk_back(struct loop_guard *guard, const struct service *service,
    const char *id, struct cause *cause, struct error *error)
{
    struct link *links = calloc(guard->max_hops + 1, sizeof *links);
    if (links == NULL) {
        error_set(error, ERROR_NO_MEMORY, "no memory to trace a chain of answers");
        return CONVEX_UNAVAILABLE;
    }
    enum convex_outcome outcome = CONVEX_SUCCESS;
    char next[ID_BYTES];
    unsigned count = 0;
    *cause = (struct cause){0};
    text_copy(next, sizeof next, id);
    while (outcome == CONVEX_SUCCESS && next[0] != '\0' && count <= guard->max_hops &&
           !recall_cause(guard, next, cause)) {
        text_copy(links[count].id, ID_BYTES, next);
        outcome = read_link(service, &links[count], next, error);
        count++;
    }
    if (next[0] != '\0' && count > guard->max_hops)
        cause->unsure = true;
    while (outcome == CONVEX_SUCCESS && count-- > 0) {
        *cause = (struct cause){
            .thread_update = links[count].thread_update,
            .unsure = cause->unsure || links[count].unsure,
            .hops = links[count].by_agent ? cause->hops + 1 : 0,
        };
        remember_cause(guard, links[count].id, cause);
    }
    free(links);
    return outcome;
}

static bool is_assigned(const struct delivery_context *context, const char *agent_id)
{
    size_t index;
    const json_t *item;
    json_array_foreach (json_object_get(context->task, "assignedAgentIds"), index, item) {
        if (json_is_string(item) && strcmp(json_string_value(item), agent_id) == 0)
            return true;
    }
    return false;
}

/* Why an agent's message must not be delivered, or REASON_REPLIED when it may. */
static enum end_reason judge_agents_message(const struct loop_guard *guard, const char *agent_id,
    const struct delivery_context *context, const struct cause *source, const struct cause *cause)
{
    if (cause->thread_update && source->thread_update)
        return REASON_ANSWERS_UPDATE;
    if (cause->thread_update && !is_assigned(context, agent_id))
        return REASON_NOT_ASSIGNED;
    return cause->hops > guard->max_hops ? REASON_TOO_MANY_HOPS : REASON_REPLIED;
}

enum convex_outcome loop_guard_judge(struct loop_guard *guard, const struct service *service,
    const char *agent_id, const struct delivery_context *context, enum end_reason *reason,
    struct error *error)
{
    struct cause source = {0};
    struct cause cause = {.thread_update = is_thread_update(context)};
    *reason = REASON_REPLIED;
    if (is_by_agent(context)) {
        if (failure_notice_is_ours(context->message))
            *reason = REASON_CAUSED_BY_NOTICE;
        else if (guard->enabled && field_is(context->message, "authorId", agent_id))
            *reason = REASON_OWN_MESSAGE;
        if (!guard->enabled || *reason != REASON_REPLIED)
            return CONVEX_SUCCESS;
        const char *id = source_of(context);
        if (id != NULL && !recall_cause(guard, id, &source)) {
            enum convex_outcome outcome = walk_back(guard, service, id, &source, error);
            if (outcome != CONVEX_SUCCESS)
                return outcome;
        }
        cause.hops = source.hops + 1;
        cause.unsure = source.unsure;
        *reason = judge_agents_message(guard, agent_id, context, &source, &cause);
    }
    const char *own_id = json_guard_string(context->notification, "_id");
    if (guard->enabled && own_id != NULL && id_is_valid(own_id))
        remember_cause(guard, own_id, &cause);
    return CONVEX_SUCCESS;
}
