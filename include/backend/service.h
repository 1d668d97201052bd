/* The backend's functions that a runtime calls, typed (contract service-actions-v0, section 2). */
#ifndef BACKEND_SERVICE_H
#define BACKEND_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/convex.h"
#include "base/containers.h"

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

/* The backend's functions about agents (contract service-actions-v0, section 2). */

enum { AGENT_NAME_BYTES = 128, AGENT_KEY_BYTES = 256 };

/* What is kept of an agent. Too long texts are cut. */
struct agent {
    char id[ID_BYTES];
    char slug[ID_BYTES];
    char name[AGENT_NAME_BYTES];
    char session_key[AGENT_KEY_BYTES]; /* "" when the backend gives none */
    int64_t heartbeat_interval_ms;     /* 5 minutes when the backend gives none */
};

struct agent_list {
    struct agent *agents; /* freed with agent_list_fini */
    size_t count;
    size_t refused; /* rows left out because their id is no id */
};

/*
 * Reads what listAgents returned. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with *error and nothing to
 * free: the value is no list, or there is no memory. Of agents of the same id the first counts.
 * Pure but for memory.
 */
enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error);
void agent_list_fini(struct agent_list *list);

/* Both block and fail as convex_call does; any thread, each with its own client. */
enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error);

/* Reports an agent as online, which also clears its current task. Idempotent. */
enum convex_outcome service_agent_is_online(
    const struct service *service, const char *agent_id, struct error *error);

/* The backend's functions about the runtime itself (contract service-actions-v0, section 2). */

enum { VERSION_BYTES = 128, STRATEGY_BYTES = 32 };

/* What a status report tells beside the status. Borrowed texts. */
struct runtime_report {
    const char *droplet_id;
    const char *ip_address;
    const char *region;
    const char *openclaw_version; /* NULL while it is not known: left out */
    const char *runtime_version;
    int64_t at_ms; /* wall clock */
};

/* What the operator asked for. */
struct upgrade {
    char openclaw[VERSION_BYTES]; /* the targets */
    char runtime[VERSION_BYTES];
    int64_t initiated_at_ms; /* tells one request from another; 0 when there is none */
    char strategy[STRATEGY_BYTES];
};

struct upgrade_result {
    bool success;
    const char *from_openclaw;
    const char *to_openclaw;
    const char *from_runtime;
    const char *to_runtime;
    int64_t duration_ms;
    const char *error; /* NULL with success */
};

/* All of these block and fail as convex_call does; any thread, each with its own client. */

/* Replaces the stored status, and the configuration unless report is NULL. Idempotent. */
enum convex_outcome service_report_status(const struct service *service, const char *status,
    const struct runtime_report *report, struct error *error);

/* Takes a pending request to restart: it is reported once, and lost with a lost answer. */
enum convex_outcome service_take_restart_request(
    const struct service *service, bool *requested, struct error *error);

/* The pending upgrade; its initiated_at_ms is 0 when there is none. */
enum convex_outcome service_pending_upgrade(
    const struct service *service, struct upgrade *upgrade, struct error *error);

/* Ends the pending upgrade with its result. Not idempotent. */
enum convex_outcome service_record_upgrade(
    const struct service *service, const struct upgrade_result *result, struct error *error);

#endif
