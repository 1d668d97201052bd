/*
 * Agents that mention or assign each other could answer each other without end, each run costing
 * money. Every notification has a chain of causes: it was caused by a message; if an agent wrote
 * that message, it answered an earlier notification (sourceNotificationId), and so on back to a
 * person. The guard limits what a notification may be the end of:
 *
 * - a message of the agent itself, or our own notice: never delivered to an agent;
 * - an agent's message seen as a thread update: only to assignees of the task, and not if it
 *   answered a thread update itself;
 * - a chain of more than max_hops agents in a row: ends;
 * - more runs than one root or one task may lead to, or a second run for the same message: see
 *   agent_runs.c, which the guard asks last, so that only what would be sent is counted.
 *
 * What is known of a notification (struct cause) is remembered when it is judged, so the next one
 * of the chain needs a lookup only. After a restart, or once the least recently used ones have been
 * dropped, walk_back reads the chain from the backend. A chain that cannot be read to its end gets
 * the benefit of the doubt: its hops are a lower bound, and are not remembered unless that alone is
 * too many.
 *
 * What agents cause with tools has no message, or one that names no notification. It is known by
 * the ids that the backend returned to the tool: of notifications and messages themselves, or of a
 * task, whose notifications are then told from those that people cause by the time of the call.
 *
 * The root of a chain is the message by which a person began it, or its first notification if a
 * person caused that in another way, as by an assignment. A message that an agent wrote on its own
 * is a root as well.
 *
 * Workers call it in parallel. The lock guards the memory only and is never held during a request.
 */
#include "delivery/loop_guard.h"

#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/json.h"
#include "base/sync.h"
#include "delivery/agent_runs.h"
#include "delivery/prompt.h"

/* What has to be known of a notification to judge those that its answer causes. */
struct cause {
    bool thread_update;
    bool unsure;   /* the chain could not be read to its end: there may be more hops */
    bool by_tool;  /* an agent caused it with a tool, so it counts as the agent's, as a message does
                    */
    unsigned hops; /* between agents, up to this notification */
    char root[ID_BYTES];
    /* Of a task that a tool changed: what was created in this time, of the backend's clock. */
    int64_t from_ms;
    int64_t until_ms;
};

struct remembered {
    struct lru_item item;
    struct cause cause;
};

struct loop_guard {
    bool enabled; /* this and the next two: never changed */
    unsigned max_hops;
    struct agent_runs *runs;

    /* Guards what follows. */
    struct mutex lock;
    struct id_lru causes; /* struct remembered */
};

int loop_guard_create(
    struct loop_guard **guard, const struct loop_guard_settings *settings, struct error *error)
{
    struct loop_guard *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the loop guard");
    created->enabled = settings->enabled;
    created->max_hops = settings->max_hops;
    mutex_init(&created->lock);
    int result =
        id_lru_init(&created->causes, LOOP_GUARD_REMEMBERED, sizeof(struct remembered), error);
    if (result == 0)
        result =
            agent_runs_create(&created->runs, settings->max_agent_runs, settings->state_dir, error);
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
    id_lru_fini(&guard->causes);
    agent_runs_destroy(guard->runs);
    mutex_fini(&guard->lock);
    free(guard);
}

static bool recall_cause(struct loop_guard *guard, const char *id, struct cause *cause)
{
    mutex_lock(&guard->lock);
    bool is_known = id_lru_find(&guard->causes, id) != NULL;
    if (is_known) {
        const struct remembered *remembered = id_lru_use(&guard->causes, id);
        *cause = remembered->cause;
    }
    mutex_unlock(&guard->lock);
    return is_known;
}

/*
 * An uncertain cause is remembered only if its hops are already too many: else they may be more
 * than that, and asking the backend again may tell.
 */
static void remember_cause(struct loop_guard *guard, const char *id, const struct cause *cause)
{
    if (cause->unsure && cause->hops <= guard->max_hops)
        return;
    mutex_lock(&guard->lock);
    struct remembered *remembered = id_lru_use(&guard->causes, id);
    remembered->cause = *cause;
    mutex_unlock(&guard->lock);
}

/* The root of a chain that begins with this notification, of that id. */
static void copy_root(
    char root[static ID_BYTES], const struct delivery_context *context, const char *notification_id)
{
    const char *message_id = json_guard_id(context->message, "_id");
    text_copy(root, ID_BYTES, message_id != NULL ? message_id : notification_id);
}

/* One notification of a chain, on the way back to its beginning. */
struct link {
    char id[ID_BYTES];
    bool thread_update;
    bool by_agent;
    bool unsure;         /* the backend failed to tell, now or permanently */
    char root[ID_BYTES]; /* if the chain begins here, else "" */
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
    text_copy(link->root, sizeof link->root, link->id);
    enum convex_outcome outcome = service_get_delivery(service, link->id, &context, error);
    link->unsure = outcome == CONVEX_FUNCTION_ERROR;
    if (link->unsure)
        return CONVEX_SUCCESS;
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const char *source = context.source_id;
    link->thread_update = context.type == NOTIFICATION_THREAD_UPDATE;
    link->by_agent = context.author == AUTHOR_AGENT;
    if (source != NULL) {
        text_copy(next, ID_BYTES, source);
        link->root[0] = '\0';
    } else {
        copy_root(link->root, &context, link->id);
    }
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
    char root[ID_BYTES];
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
    text_copy(root, sizeof root, cause->root[0] != '\0' ? cause->root : next);
    while (outcome == CONVEX_SUCCESS && count-- > 0) {
        *cause = (struct cause){
            .thread_update = links[count].thread_update,
            .unsure = cause->unsure || links[count].unsure,
            .hops = links[count].by_agent ? cause->hops + 1 : 0,
        };
        text_copy(cause->root, ID_BYTES, links[count].root[0] != '\0' ? links[count].root : root);
        text_copy(root, sizeof root, cause->root);
        remember_cause(guard, links[count].id, cause);
    }
    free(links);
    return outcome;
}

/*
 * What is not remembered of a chain on v1 counts as its beginning: its context tells what kind of
 * notification the message answered, which is what the rules there go by, and the number of runs is
 * bounded per task as well.
 */
static void begin_chain_at(const char *id, struct cause *source)
{
    *source = (struct cause){.unsure = true};
    text_copy(source->root, sizeof source->root, id);
}

/* Whether the notification was created while a tool worked on its task. */
static bool is_within(const struct delivery_context *context, const struct cause *cause)
{
    int64_t created_ms;
    return json_guard_time_ms(context->notification, "createdAt", 0, &created_ms) &&
           created_ms >= cause->from_ms && created_ms <= cause->until_ms;
}

/* Whether an agent caused the notification with a tool; then *source is the run that did. */
static bool recall_tool(
    struct loop_guard *guard, const struct delivery_context *context, struct cause *source)
{
    const char *own_id = json_guard_id(context->notification, "_id");
    const char *message_id = json_guard_id(context->message, "_id");
    const char *task_id = json_guard_id(context->notification, "taskId");
    if (own_id != NULL && recall_cause(guard, own_id, source) && source->by_tool)
        return true;
    if (message_id != NULL && recall_cause(guard, message_id, source) && source->by_tool)
        return true;
    if (context->message == NULL && task_id != NULL && recall_cause(guard, task_id, source) &&
        source->by_tool && is_within(context, source))
        return true;
    *source = (struct cause){0};
    return false;
}

/* Why an agent's message must not be delivered, or REASON_REPLIED when it may. */
static enum end_reason judge_agents_message(const struct loop_guard *guard, const char *agent_id,
    const struct delivery_context *context, const struct cause *source, const struct cause *cause)
{
    /* On v1 the policy has judged who is told of whose messages. */
    bool is_v0_update = cause->thread_update && context->version != BACKEND_V1;
    if (is_v0_update && source->thread_update)
        return REASON_ANSWERS_UPDATE;
    if (is_v0_update && !delivery_context_is_assigned(context, agent_id))
        return REASON_NOT_ASSIGNED;
    return cause->hops > guard->max_hops ? REASON_TOO_MANY_HOPS : REASON_REPLIED;
}

/* Asks for a run, which only what is not skipped for another reason does; or what it would get. */
static void claim_run(struct loop_guard *guard, const char *agent_id,
    const struct delivery_context *context, bool by_agent, bool is_turn,
    struct loop_verdict *verdict)
{
    const char *task_id = json_guard_id(context->notification, "taskId");
    const struct agent_run run = {
        .notification_id = verdict->notification_id,
        .agent_id = agent_id,
        .message_id = json_guard_id(context->message, "_id"),
        .root = verdict->root,
        .task_id = task_id,
        .by_agent = by_agent,
        .person_wrote_ms = context->person_wrote_ms,
    };
    if (!is_turn) {
        verdict->reason = agent_runs_foresee(guard->runs, &run, clock_wall_ms());
        return;
    }
    if (task_id != NULL)
        text_copy(verdict->task_id, sizeof verdict->task_id, task_id);
    struct agent_claim claim;
    verdict->reason = agent_runs_claim(guard->runs, &run, clock_wall_ms(), &claim);
    verdict->note_due = claim.note_due;
    verdict->person_ms = claim.person_ms;
    verdict->counted = verdict->reason == REASON_REPLIED;
}

/* Why an agent's message is skipped without regard to what came before it. */
static enum end_reason judge_author(
    const struct loop_guard *guard, const char *agent_id, const struct delivery_context *context)
{
    if (context->author != AUTHOR_AGENT)
        return REASON_REPLIED;
    if (notice_is_ours(context->message))
        return REASON_CAUSED_BY_NOTICE;
    if (guard->enabled && json_guard_is(context->message, "authorId", agent_id, ""))
        return REASON_OWN_MESSAGE;
    return REASON_REPLIED;
}

enum convex_outcome loop_guard_judge(struct loop_guard *guard, const struct service *service,
    const char *agent_id, const struct delivery_context *context, bool is_turn,
    struct loop_verdict *verdict, struct error *error)
{
    struct cause source = {0};
    struct cause cause = {.thread_update = context->type == NOTIFICATION_THREAD_UPDATE};
    const char *own_id = json_guard_id(context->notification, "_id");
    *verdict = (struct loop_verdict){.reason = judge_author(guard, agent_id, context)};
    if (!guard->enabled || verdict->reason != REASON_REPLIED)
        return CONVEX_SUCCESS;
    const char *id = context->source_id;
    if (id != NULL && !recall_cause(guard, id, &source)) {
        if (context->version == BACKEND_V1) {
            begin_chain_at(id, &source);
        } else {
            enum convex_outcome outcome = walk_back(guard, service, id, &source, error);
            if (outcome != CONVEX_SUCCESS)
                return outcome;
        }
    }
    bool by_tool =
        id == NULL && context->version == BACKEND_V1 && recall_tool(guard, context, &source);
    if (context->author == AUTHOR_AGENT || by_tool) {
        cause.by_tool = by_tool;
        cause.hops = source.hops + 1;
        cause.unsure = source.unsure;
        verdict->reason = judge_agents_message(guard, agent_id, context, &source, &cause);
    }
    if (own_id == NULL)
        return CONVEX_SUCCESS;
    if (id != NULL || by_tool)
        text_copy(cause.root, sizeof cause.root, source.root);
    else
        copy_root(cause.root, context, own_id);
    text_copy(verdict->root, sizeof verdict->root, cause.root);
    text_copy(verdict->notification_id, sizeof verdict->notification_id, own_id);
    remember_cause(guard, own_id, &cause);
    if (verdict->reason == REASON_REPLIED)
        claim_run(guard, agent_id, context, cause.hops > 0, is_turn, verdict);
    return CONVEX_SUCCESS;
}

void loop_guard_note_effect(
    struct loop_guard *guard, const char *notification_id, const struct tool_effect *effect)
{
    struct cause cause;
    if (!guard->enabled || !recall_cause(guard, notification_id, &cause))
        return;
    cause.by_tool = true;
    cause.unsure = false; /* what is known of the chain is more than what the effect will show */
    cause.thread_update = false;
    cause.from_ms = effect->from_ms;
    cause.until_ms = effect->until_ms;
    remember_cause(guard, effect->id, &cause);
}

void loop_guard_begin_wake(struct loop_guard *guard, const char *agent_id, const char *wake_id)
{
    struct cause cause = {0};
    text_copy(cause.root, sizeof cause.root, wake_id);
    if (guard->enabled)
        remember_cause(guard, agent_id, &cause);
}

void loop_guard_take_back(struct loop_guard *guard, struct loop_verdict *verdict)
{
    if (verdict->counted)
        agent_runs_take_back(guard->runs, verdict->root, verdict->task_id, verdict->person_ms);
    verdict->counted = false;
}

void loop_guard_end_note(struct loop_guard *guard, const struct loop_verdict *verdict, bool posted)
{
    agent_runs_end_note(
        guard->runs, verdict->root, verdict->task_id, verdict->notification_id, posted);
}

void loop_guard_save(struct loop_guard *guard)
{
    agent_runs_save(guard->runs, clock_monotonic_ms(), false);
}
