/*
 * Service actions of version 1 that list and mark notifications. A notification that was read and
 * neither delivered nor ended is shown to people as its agent typing: reading begins that, and
 * begins it again after it ended; the end of a try and the delivery end it.
 */
#include <math.h>

#include "memory.h"
#include "service_v1.h"

static const double PAGE_LIMIT = 100;
static const double MAX_PAGE_LIMIT = 500;

void service_v1_list_undelivered(struct service_call *call)
{
    double limit = floor(service_limit(call, "limit", PAGE_LIMIT, MAX_PAGE_LIMIT));
    service_write_undelivered(call, limit < 1 ? 1 : limit);
}

/* The call's notification; NULL means that the call has failed. A foreign one counts as missing. */
static struct document *find_own_notification(struct service_call *call)
{
    struct document *notification = store_get(
        &call->sandbox->store, TABLE_NOTIFICATIONS, service_argument(call, "notificationId"));
    if (notification != NULL && service_owns(call, notification))
        return notification;
    service_fail(call, "Not found: Notification does not exist");
    return NULL;
}

static void set_time(struct service_call *call, struct document *notification, const char *key)
{
    if (document_field(notification, key) == NULL)
        store_set(&call->sandbox->store, notification, key, memory_json(json_real(call->now_ms)));
}

void service_v1_mark_read(struct service_call *call)
{
    struct document *notification = find_own_notification(call);
    if (notification == NULL)
        return;
    set_time(call, notification, "readAt");
    store_set(&call->sandbox->store, notification, "deliveryEndedAt", NULL);
    service_answer_success(call);
}

void service_v1_mark_ended(struct service_call *call)
{
    struct document *notification = find_own_notification(call);
    if (notification == NULL)
        return;
    if (document_field(notification, "deliveredAt") == NULL)
        set_time(call, notification, "deliveryEndedAt");
    service_answer_success(call);
}

void service_v1_mark_delivered(struct service_call *call)
{
    struct document *notification = find_own_notification(call);
    if (notification == NULL)
        return;
    store_mark_delivered(&call->sandbox->store, notification, call->now_ms);
    service_answer_success(call);
}
