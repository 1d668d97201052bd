/*
 * Service actions on the board: agents, notifications, messages, heartbeats. Listing is cheap
 * however long the backlog, since the store keeps each account's undelivered notifications in
 * order and caches their JSON text.
 *
 * createMessageFromAgent is idempotent by sourceNotificationId, and markNotificationDelivered by
 * nature; the runtime's exactly-once delivery rests on both.
 */
#include "board.h"
#include "memory.h"
#include "rows.h"
#include "service.h"

static const double DEFAULT_LIMIT = 100;

void service_list_agents(struct service_call *call)
{
    const struct store *store = &call->sandbox->store;
    struct rows agents = {0};
    if (!call->sandbox->settings.hide_agents)
        rows_add_account(&agents, store, TABLE_AGENTS, call->account->id);
    rows_write(&agents, &call->value);
    rows_fini(&agents);
}

/* A limit below 1 returns none, as the backend does; without one it is 100. */
void service_list_undelivered(struct service_call *call)
{
    const json_t *given = json_object_get(call->arguments, "limit");
    service_write_undelivered(call, given == NULL ? DEFAULT_LIMIT : json_number_value(given));
}

void service_write_undelivered(struct service_call *call, double limit)
{
    size_t left = call->sandbox->store.undelivered_count;
    if (limit < (double)left)
        left = limit < 1 ? 0 : (size_t)limit;
    const char *separator = "";
    const struct document_list *list = store_undelivered(&call->sandbox->store, call->account->id);
    text_append(&call->value, "[");
    for (struct document *notification = TAILQ_FIRST(list); notification != NULL && left > 0;
         notification = TAILQ_NEXT(notification, link), left--) {
        text_append(&call->value, separator);
        document_write(notification, &call->value);
        separator = ",";
        call->sandbox->listed++;
        if (call->sandbox->settings.timings)
            timings_record(&call->sandbox->timings, notification->id, TIMING_LISTED);
    }
    text_append(&call->value, "]");
}

/* Returns the call's notification; NULL when it does not exist, or the call has failed. */
static struct document *find_notification(struct service_call *call)
{
    struct document *notification = store_get(
        &call->sandbox->store, TABLE_NOTIFICATIONS, service_argument(call, "notificationId"));
    if (notification == NULL || service_owns(call, notification))
        return notification;
    service_fail(call, "Forbidden: Notification belongs to different account");
    return NULL;
}

static void write_context_part(
    struct service_call *call, const char *name, enum table table, const char *id)
{
    struct document *document = store_get(&call->sandbox->store, table, id);
    text_printf(&call->value, ",\"%s\":", name);
    if (document == NULL)
        text_append(&call->value, "null");
    else
        document_write(document, &call->value);
}

/* Parts whose documents are gone are null; a notification that is gone is null as a whole. */
void service_get_notification(struct service_call *call)
{
    struct document *notification = find_notification(call);
    if (notification == NULL)
        return;
    bool for_agent = document_is(notification, "recipientType", "agent");
    text_append(&call->value, "{\"notification\":");
    document_write(notification, &call->value);
    write_context_part(call, "agent", TABLE_AGENTS,
        for_agent ? document_string(notification, "recipientId") : NULL);
    write_context_part(call, "task", TABLE_TASKS, document_string(notification, "taskId"));
    write_context_part(call, "message", TABLE_MESSAGES, document_string(notification, "messageId"));
    text_append(&call->value, "}");
}

void service_mark_delivered(struct service_call *call)
{
    struct document *notification = find_notification(call);
    if (notification == NULL) {
        if (call->failure.length_bytes == 0)
            service_fail(call, "Not found: Notification does not exist");
        return;
    }
    store_mark_delivered(&call->sandbox->store, notification, call->now_ms);
    service_answer_success(call);
}

struct document *service_agent(struct service_call *call)
{
    return service_agent_in(call, "agentId");
}

struct document *service_agent_in(struct service_call *call, const char *argument)
{
    struct document *agent =
        store_get(&call->sandbox->store, TABLE_AGENTS, service_argument(call, argument));
    if (agent != NULL && service_owns(call, agent))
        return agent;
    service_fail(call, agent == NULL ? "Not found: Agent does not exist"
                                     : "Forbidden: Agent belongs to different account");
    return NULL;
}

struct document *service_task(struct service_call *call)
{
    struct document *task =
        store_get(&call->sandbox->store, TABLE_TASKS, service_argument(call, "taskId"));
    if (task != NULL && service_owns(call, task))
        return task;
    service_fail(call, task == NULL ? "Not found: Task does not exist"
                                    : "Forbidden: Task belongs to different account");
    return NULL;
}

/* A second call with the same source returns the message of the first and has no other effect. */
void service_create_message(struct service_call *call)
{
    struct document *agent = service_agent(call);
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    struct store *store = &call->sandbox->store;
    const char *source = service_argument(call, "sourceNotificationId");
    const struct document *message = source == NULL ? NULL : store_message_by_source(store, source);
    if (message == NULL)
        message =
            board_post(store, &(struct new_message){.author = agent,
                                  .task = task,
                                  .content = json_object_get(call->arguments, "content"),
                                  .attachments = json_object_get(call->arguments, "attachments"),
                                  .source = source});
    service_answer(call, json_pack("{s:s}", "messageId", message->id));
}

void service_update_heartbeat(struct service_call *call)
{
    struct document *agent = service_agent(call);
    if (agent == NULL)
        return;
    struct store *store = &call->sandbox->store;
    const char *status = service_argument(call, "status");
    if (!document_is(agent, "status", status))
        board_record_activity(store, "agent_status_changed", agent, agent, status);
    store_set(store, agent, "status", memory_json(json_string(status)));
    store_set(store, agent, "lastHeartbeat", memory_json(json_real(call->now_ms)));
    store_set(store, agent, "currentTaskId",
        json_incref(json_object_get(call->arguments, "currentTaskId")));
    service_answer(call, json_pack("{s:b, s:f}", "success", 1, "timestamp", call->now_ms));
}
