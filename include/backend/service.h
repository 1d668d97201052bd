/* The backend's functions as typed calls (docs/protocol.md, "Backend functions"). */
#ifndef BACKEND_SERVICE_H
#define BACKEND_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/convex.h"
#include "backend/delivery_context.h"
#include "base/containers.h"
#include "config/config.h"

/*
 * Why a function refused the call, as far as its error says. Production deployments do not say, so
 * this is a hint for the operator and must never decide anything.
 */
enum service_refusal {
    REFUSAL_NONE, /* the error is about something else */
    REFUSAL_TOKEN_INVALID,
    REFUSAL_TOKEN_NOT_CONFIGURED, /* the account has no token yet */
    REFUSAL_ACCOUNT_MISMATCH,     /* the token is valid, but for another account */
    REFUSAL_ACCOUNT_UNKNOWN,
    REFUSAL_ARGUMENTS_INVALID, /* of listAgents: ACCOUNT_ID is not an id */
    REFUSAL_FUNCTION_UNKNOWN,  /* the deployment is not Mission Control's backend */
    REFUSAL_UNEXPLAINED,       /* a production deployment, which hides the reason */
};

/* Interprets the text of a CONVEX_FUNCTION_ERROR. Pure. */
enum service_refusal service_refusal_parse(const char *text);

/* One row of the list of undelivered notifications. */
struct notification_row {
    char id[ID_BYTES];
    char agent_id[ID_BYTES];
    char task_id[ID_BYTES]; /* "" for none */
    int64_t created_at_ms;  /* wall clock; 0 when it cannot be read */
};

struct notification_page {
    struct notification_row *rows; /* oldest first; freed by notification_page_fini */
    size_t count;
    size_t listed;  /* rows that the backend sent, including those left out */
    size_t refused; /* rows left out because an id is missing or invalid */
};

/*
 * Reads the result of listUndeliveredNotifications. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with
 * *error set and nothing to free: value is not a list, or memory is short. Allocates; otherwise
 * pure.
 */
enum convex_outcome notification_page_read(
    const json_t *value, struct notification_page *page, struct error *error);
void notification_page_fini(struct notification_page *page);

/*
 * All calls below block as convex_call does and return its outcome; on anything but CONVEX_SUCCESS
 * *error says why, without secrets, and nothing needs freeing. Any thread, each with its own
 * client.
 */

/* Lists up to limit undelivered notifications, oldest first; newer backends cap it at 500. */
enum convex_outcome service_list_undelivered(const struct service *service, unsigned limit,
    struct notification_page *page, struct error *error);

/* Reads one notification's context, which the caller ends with delivery_context_fini. */
enum convex_outcome service_get_delivery(const struct service *service, const char *notification_id,
    struct delivery_context *context, struct error *error);

/* A message to a task's thread. */
struct new_message {
    const char *agent_id; /* its author */
    const char *task_id;
    const char *content;
    /*
     * The notification that it answers, which is its idempotency key: the first message stays, and
     * the content of later calls is dropped. NULL: none, so each call posts a message.
     */
    const char *notification_id;
    char *message_id; /* receives the message's id, ID_BYTES, once it is there; NULL: not wanted */
};

/* Posts a message; idempotent if it has a key. */
enum convex_outcome service_create_message(
    const struct service *service, const struct new_message *message, struct error *error);

/* The whole of a reply that is too long for a thread, as a document of its task. On v1 only. */
struct reply_document {
    const char *agent_id;
    const char *task_id;
    const char *title; /* by which it can be found again */
    const char *content;
};

/* Makes the document; document_id becomes its id. Each call makes one. */
enum convex_outcome service_create_document(const struct service *service,
    const struct reply_document *document, char document_id[static ID_BYTES], struct error *error);

/*
 * Looks among the task's latest documents for one of that title, as it may be that an earlier call
 * made it; document_id becomes its id, or "".
 */
enum convex_outcome service_find_document(const struct service *service, const char *task_id,
    const char *title, char document_id[static ID_BYTES], struct error *error);

/* Takes the notification off the list. Idempotent. */
enum convex_outcome service_mark_delivered(
    const struct service *service, const char *notification_id, struct error *error);

/*
 * The next three exist in version 1 of the backend only, and must not be called before it was seen
 * (convex_version). After a function error of any of them the version is in doubt.
 */

/* The board shows the recipient as typing until the notification is delivered or has ended. */
enum convex_outcome service_mark_read(
    const struct service *service, const char *notification_id, struct error *error);

/* It is no longer shown as typing; the notification stays undelivered. Idempotent. */
enum convex_outcome service_mark_delivery_ended(
    const struct service *service, const char *notification_id, struct error *error);

/* Moves a task that is "assigned" to "in_progress"; one of another status stays. Idempotent. */
enum convex_outcome service_begin_task(
    const struct service *service, const char *agent_id, const char *task_id, struct error *error);

enum { AGENT_NAME_BYTES = 128, AGENT_KEY_BYTES = 256 };

/* An agent of the board, as far as it is used. Texts that are too long are cut. */
struct agent {
    char id[ID_BYTES];
    char slug[ID_BYTES];
    char name[AGENT_NAME_BYTES];
    char session_key[AGENT_KEY_BYTES]; /* as the backend names it; "" when it gives none */
    enum backend_version version;      /* of the backend that lists it */
    struct behavior_flags flags;       /* from v1 only */
    int64_t heartbeat_interval_ms;     /* 5 minutes when the backend gives none */
};

struct agent_list {
    struct agent *agents; /* freed by agent_list_fini */
    size_t count;
    size_t refused; /* rows left out because the id is missing or invalid */
};

/*
 * Reads the result of listAgents. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with *error set and nothing
 * to free: value is not a list, or memory is short. Allocates; otherwise pure.
 */
enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error);
void agent_list_fini(struct agent_list *list);

/*
 * Which version of the backend the result of listAgents shows (docs/protocol.md, "Versions of the
 * backend"); BACKEND_UNKNOWN when it shows none. value may be of any form, or NULL. Pure.
 */
enum backend_version backend_version_of_agents(const json_t *value);

/*
 * What the end of getOrchestratorAgentId shows. It is called only right after a listAgents that
 * succeeded and was empty, so a function error means that the function does not exist. value is
 * looked at only when outcome is CONVEX_SUCCESS. Pure.
 */
enum backend_version backend_version_of_orchestrator(
    enum convex_outcome outcome, const json_t *value);

/* Lists the account's agents, which also shows the backend's version. */
enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error);

/*
 * Reads which agent is the account's orchestrator; "" when none is. On v1 only, and in doubt the
 * version has to be learned first.
 */
enum convex_outcome service_get_orchestrator(
    const struct service *service, char agent_id[static ID_BYTES], struct error *error);

/*
 * Lists the profiles of the account's agents: *rows becomes a new reference to an array of objects
 * with _id, slug, name, openclawConfig, effectiveSoulContent and other texts, resolvedSkills. On v1
 * only, and in doubt the version has to be learned first.
 */
enum convex_outcome service_list_profiles(
    const struct service *service, json_t **rows, struct error *error);

/* Reports an agent as online, which also clears its current task. Idempotent. */
enum convex_outcome service_report_agent_online(
    const struct service *service, const char *agent_id, struct error *error);

enum { VERSION_BYTES = 128, STRATEGY_BYTES = 32 };

/* A request of the operator to upgrade. */
struct upgrade {
    char openclaw[VERSION_BYTES]; /* the targets */
    char runtime[VERSION_BYTES];
    int64_t initiated_at_ms; /* identifies the request; 0 when there is none */
    char strategy[STRATEGY_BYTES];
};

struct upgrade_result {
    const char *status; /* "success", "failed" or "rolled_back" */
    const char *from_openclaw;
    const char *to_openclaw;
    const char *from_runtime;
    const char *to_runtime;
    int64_t duration_ms;
    const char *error; /* NULL on success */
};

/*
 * Replaces the stored status and, unless config is NULL, what is known of this runtime: machine and
 * versions, as of now. openclaw_version is NULL while it is being detected. Idempotent.
 */
enum convex_outcome service_report_status(const struct service *service, const char *status,
    const struct config *config, const char *openclaw_version, struct error *error);

/* Takes a pending restart request. Reported only once, so a lost answer loses the request. */
enum convex_outcome service_take_restart_request(
    const struct service *service, bool *requested, struct error *error);

/* Reads the pending upgrade; initiated_at_ms is 0 when there is none. */
enum convex_outcome service_pending_upgrade(
    const struct service *service, struct upgrade *upgrade, struct error *error);

/* Ends the pending upgrade with its result. Not idempotent. */
enum convex_outcome service_record_upgrade(
    const struct service *service, const struct upgrade_result *result, struct error *error);

#endif
