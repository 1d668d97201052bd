/* The backend's functions that a runtime calls, typed (contract service-actions-v0, section 2). */
#ifndef REMOTE_SERVICE_ACTIONS_H
#define REMOTE_SERVICE_ACTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "remote/convex.h"

/* One row of the list of undelivered notifications. */
struct notification_row {
    char id[ID_BYTES];
    char agent_id[ID_BYTES];
    int64_t created_at_ms;
};

struct notification_page {
    struct notification_row *rows; /* oldest first; freed with notification_page_fini */
    size_t count;
    size_t listed;  /* rows the backend sent, with those left out */
    size_t refused; /* rows left out because their id or their agent's is none */
};

/*
 * Reads what listUndeliveredNotifications returned. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with
 * *error and nothing to free: the value is no list, or there is no memory. Pure but for memory.
 */
enum convex_outcome notification_page_read(
    const json_t *value, struct notification_page *page, struct error *error);
void notification_page_fini(struct notification_page *page);

/* All that is known of one notification. Everything but value is borrowed from value. */
struct delivery_context {
    json_t *value; /* owned; JSON null when the notification is gone */
    const json_t *notification;
    const json_t *agent;   /* NULL when deleted */
    const json_t *task;    /* NULL when there is none or it was deleted */
    const json_t *message; /* likewise */
};

/*
 * Reads what getNotificationForDelivery returned; the reference is taken in any case.
 * CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with *error and nothing to free: the value holds no
 * notification and is not null. Pure.
 */
enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error);
void delivery_context_fini(struct delivery_context *context);

/* Whether the notification has ended: it is gone, or somebody has marked it as delivered. Pure. */
bool delivery_context_is_over(const struct delivery_context *context);

/* Whether the notification names a task that is no longer there. Pure. */
bool delivery_context_task_is_gone(const struct delivery_context *context);

/*
 * Each call blocks as convex_call does and returns its outcome; on anything but CONVEX_SUCCESS
 * *error says why and nothing needs freeing. Any thread, each with its own client.
 */
enum convex_outcome service_list_undelivered(const struct service *service, unsigned limit,
    struct notification_page *page, struct error *error);

enum convex_outcome service_get_delivery(const struct service *service, const char *notification_id,
    struct delivery_context *context, struct error *error);

/* Idempotent by notification_id: the first message stays and later contents are dropped. */
enum convex_outcome service_create_message(const struct service *service, const char *agent_id,
    const char *task_id, const char *content, const char *notification_id, struct error *error);

/* Idempotent. */
enum convex_outcome service_mark_delivered(
    const struct service *service, const char *notification_id, struct error *error);

/* Calls an action whose result says nothing more than that it ran; as convex_call. */
enum convex_outcome service_call_for_effect(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, struct error *error);

#endif
