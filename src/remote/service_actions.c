#include "remote/service_actions.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"

void notification_page_fini(struct notification_page *page)
{
    free(page->rows);
    *page = (struct notification_page){0};
}

/* False for a row without usable ids: it could not be asked for, nor be written for its agent. */
static bool read_row(const json_t *item, struct notification_row *row)
{
    const char *id = json_guard_string(item, "_id");
    const char *agent_id = json_guard_string(item, "recipientId");
    if (id == NULL || !id_is_valid(id) || agent_id == NULL || !id_is_valid(agent_id))
        return false;
    text_copy(row->id, sizeof row->id, id);
    text_copy(row->agent_id, sizeof row->agent_id, agent_id);
    row->created_at_ms = 0;
    json_guard_time_ms(item, "createdAt", 0, &row->created_at_ms);
    return true;
}

enum convex_outcome notification_page_read(
    const json_t *value, struct notification_page *page, struct error *error)
{
    static const char action[] = "listUndeliveredNotifications";
    *page = (struct notification_page){0};
    if (!json_is_array(value)) {
        error_set(error, ERROR_REMOTE, "%s: the answer is no array", action);
        return CONVEX_UNAVAILABLE;
    }
    page->listed = json_array_size(value);
    page->rows = calloc(page->listed + 1, sizeof *page->rows);
    if (page->rows == NULL) {
        error_set(error, ERROR_NO_MEMORY, "%s: no memory for %zu rows", action, page->listed);
        return CONVEX_UNAVAILABLE;
    }
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (read_row(item, &page->rows[page->count]))
            page->count++;
    }
    page->refused = page->listed - page->count;
    return CONVEX_SUCCESS;
}

enum convex_outcome service_list_undelivered(const struct service *service, unsigned limit,
    struct notification_page *page, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, "listUndeliveredNotifications",
        json_pack("{s:i}", "limit", (int)limit), CONVEX_LIST, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    outcome = notification_page_read(value, page, error);
    json_decref(value);
    return outcome;
}

void delivery_context_fini(struct delivery_context *context)
{
    json_decref(context->value);
    *context = (struct delivery_context){0};
}

bool delivery_context_is_over(const struct delivery_context *context)
{
    return json_is_null(context->value) ||
           json_is_number(json_object_get(context->notification, "deliveredAt"));
}

bool delivery_context_task_is_gone(const struct delivery_context *context)
{
    return context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
}

static const json_t *object_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_object(found) ? found : NULL;
}

/* Null, and nothing else, says that there is none. */
static bool is_object_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_object(found) || json_is_null(found);
}

static const char get_delivery[] = "getNotificationForDelivery";

/* What is wrong with a context; NULL for nothing. An agent or task that is gone is no defect. */
static const char *find_defect(const struct delivery_context *context)
{
    if (json_is_null(context->value))
        return NULL;
    if (context->notification == NULL)
        return "notification";
    if (!is_object_or_null(context->value, "agent"))
        return "agent";
    bool needs_task = json_guard_string(context->notification, "taskId") != NULL;
    return needs_task && !is_object_or_null(context->value, "task") ? "task" : NULL;
}

enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error)
{
    *context = (struct delivery_context){
        .value = value,
        .notification = object_or_null(value, "notification"),
        .agent = object_or_null(value, "agent"),
        .task = object_or_null(value, "task"),
        .message = object_or_null(value, "message"),
    };
    const char *defect = find_defect(context);
    if (defect == NULL)
        return CONVEX_SUCCESS;
    delivery_context_fini(context);
    error_set(error, ERROR_REMOTE, "%s: the answer holds no proper %s", get_delivery, defect);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_get_delivery(const struct service *service, const char *notification_id,
    struct delivery_context *context, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, get_delivery,
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, &value, error);
    if (outcome == CONVEX_SUCCESS)
        outcome = delivery_context_read(value, context, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const char *id = json_guard_string(context->notification, "_id");
    if (id == NULL || strcmp(id, notification_id) == 0)
        return CONVEX_SUCCESS;
    delivery_context_fini(context);
    error_set(error, ERROR_REMOTE, "%s: the answer is of another notification", get_delivery);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_call_for_effect(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action, arguments, kind, &value, error);
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
    return outcome;
}

enum convex_outcome service_create_message(const struct service *service, const char *agent_id,
    const char *task_id, const char *content, const char *notification_id, struct error *error)
{
    static const char action[] = "createMessageFromAgent";
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action,
        json_pack("{s:s, s:s, s:s, s:s}", "taskId", task_id, "agentId", agent_id, "content",
            content, "sourceNotificationId", notification_id),
        CONVEX_PLAIN, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    /* The reply is let go of once it is there. */
    bool is_there = json_guard_string(value, "messageId") != NULL;
    json_decref(value);
    if (is_there)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "%s: the answer names no message", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_mark_delivered(
    const struct service *service, const char *notification_id, struct error *error)
{
    return service_call_for_effect(service, "markNotificationDelivered",
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, error);
}
