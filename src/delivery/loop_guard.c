#include "delivery/loop_guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/containers.h"
#include "base/json.h"
#include "base/sync.h"
#include "delivery/prompt.h"

/* What is to be known of a notification to judge those that its answer causes. */
struct cause {
    bool thread_update;
    bool unsure;   /* the way back could not be read to its end: there may be more hops */
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

static bool recall(struct loop_guard *guard, const char *id, struct cause *cause)
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

/* Takes fresh in, or only its cause if the id is there; returns what is to be freed, or NULL. */
static struct remembered *take_in_locked(struct loop_guard *guard, struct remembered *fresh)
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
 * Of a chain that could not be read to its end, a number may be too low, but not one over the
 * limit. Without memory nothing is remembered; in either case the backend is asked again.
 */
static void remember(struct loop_guard *guard, const char *id, const struct cause *cause)
{
    if (cause->unsure && cause->hops <= guard->max_hops)
        return;
    struct remembered *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return;
    text_copy(fresh->item.id, sizeof fresh->item.id, id);
    fresh->cause = *cause;
    mutex_lock(&guard->lock);
    struct remembered *left = take_in_locked(guard, fresh);
    mutex_unlock(&guard->lock);
    free(left);
}

static bool is_word(const json_t *object, const char *key, const char *word)
{
    const char *found = json_guard_string(object, key);
    return found != NULL && strcmp(found, word) == 0;
}

static bool is_thread_update(const struct delivery_context *context)
{
    return is_word(context->notification, "type", "thread_update");
}

static bool is_by_agent(const struct delivery_context *context)
{
    return is_word(context->message, "authorType", "agent");
}

/* The notification that the message answered; NULL when it answered none. */
static const char *source_of(const struct delivery_context *context)
{
    const char *id = json_guard_string(context->message, "sourceNotificationId");
    return is_by_agent(context) && id != NULL && id_is_valid(id) ? id : NULL;
}

/* One notification of a chain, on the way back to who began it. */
struct link {
    char id[ID_BYTES];
    bool thread_update;
    bool by_agent;
    bool unsure; /* the backend would not say, for now or for ever */
};

/*
 * Reads the notification into *link and the id of what its message answered into next, "" when the
 * chain ends here: a person began it, the backend no longer has it, or it would not say.
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

/* Goes back from id, at most to where the chain is too long anyway, and remembers what it read. */
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
           !recall(guard, next, cause)) {
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
        remember(guard, links[count].id, cause);
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
        else if (guard->enabled && is_word(context->message, "authorId", agent_id))
            *reason = REASON_OWN_MESSAGE;
        if (!guard->enabled || *reason != REASON_REPLIED)
            return CONVEX_SUCCESS;
        const char *id = source_of(context);
        if (id != NULL && !recall(guard, id, &source)) {
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
        remember(guard, own_id, &cause);
    return CONVEX_SUCCESS;
}
