/*
 * Service actions of version 1 on messages. createMessageFromAgent is idempotent by its source as
 * in version 0; but the length of the content is checked first, so repeating a call with a longer
 * text fails although the message exists. Nothing can be uploaded to the sandbox, so attachments
 * are refused, with the backend's reasons.
 */
#include "base/json.h"
#include "board.h"
#include "memory.h"
#include "service_v1.h"

enum { MAX_CONTENT_UNITS = 100000, THREAD_LIMIT = 50, MAX_THREAD_LIMIT = 200 };

static bool check_content(struct service_call *call)
{
    return service_check_length(
        call, "content", MAX_CONTENT_UNITS, "Message content too long (max 100000 characters)");
}

static bool is_registered(
    const struct store *store, const struct document *task, const char *storage_id)
{
    const struct document *upload = NULL;
    TAILQ_FOREACH (upload, &store->tables[TABLE_UPLOADS], siblings) {
        if (document_is(upload, "taskId", task->id) && document_is(upload, "storageId", storage_id))
            return true;
    }
    return false;
}

/* An attachment must be registered for the task and then be in the storage, where nothing is. */
static bool check_attachments(struct service_call *call, const struct document *task)
{
    const json_t *attachment = json_array_get(json_object_get(call->arguments, "attachments"), 0);
    if (attachment == NULL)
        return true;
    const char *storage_id = json_guard_string(attachment, "storageId");
    service_fail(call, "Attachment \"%s\": %s", json_guard_string(attachment, "name"),
        is_registered(&call->sandbox->store, task, storage_id)
            ? "file not found in storage (upload may have failed)"
            : "upload not registered for this task");
    return false;
}

static void answer_message(struct service_call *call, const struct document *message)
{
    service_answer(call, json_pack("{s:s}", "messageId", message->id));
}

void service_v1_create_message(struct service_call *call)
{
    struct store *store = &call->sandbox->store;
    struct document *agent = service_agent(call);
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL || !check_content(call))
        return;
    const char *source = service_argument(call, "sourceNotificationId");
    const struct document *message = source == NULL ? NULL : store_message_by_source(store, source);
    if (message == NULL && !check_attachments(call, task))
        return;
    if (message == NULL)
        message = board_post(store, &(struct new_message){.author = agent,
                                        .task = task,
                                        .content = json_object_get(call->arguments, "content"),
                                        .source = source,
                                        .suppress_agents = json_is_true(json_object_get(
                                            call->arguments, "suppressAgentNotifications"))});
    answer_message(call, message);
}

void service_v1_post_message(struct service_call *call)
{
    struct document *agent = service_orchestrator(call, "post task messages");
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL || !check_content(call))
        return;
    answer_message(call, board_post(&call->sandbox->store,
                             &(struct new_message){.author = agent,
                                 .task = task,
                                 .content = json_object_get(call->arguments, "content")}));
}

void service_v1_list_thread(struct service_call *call)
{
    size_t limit;
    if (service_orchestrator(call, "read threads") == NULL ||
        !service_take(call, service_limit(call, "limit", THREAD_LIMIT, MAX_THREAD_LIMIT), &limit))
        return;
    const struct document *task =
        store_get(&call->sandbox->store, TABLE_TASKS, service_argument(call, "taskId"));
    bool is_own = task != NULL && service_owns(call, task);
    service_answer(call, is_own ? service_thread(call, task->id, limit, 0) : json_array());
}

void service_v1_register_upload(struct service_call *call)
{
    const struct document *agent = service_agent(call);
    const struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    const struct document *upload = store_insert(&call->sandbox->store, TABLE_UPLOADS,
        json_pack("{s:s, s:s, s:s, s:s, s:f}", "accountId", call->account->id, "taskId", task->id,
            "agentId", agent->id, "storageId", service_argument(call, "storageId"), "createdAt",
            call->now_ms),
        NULL);
    service_answer(call, json_pack("{s:s}", "uploadId", upload->id));
}
