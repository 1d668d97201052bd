/* The service actions of version 1, and what they have in common. */
#ifndef SANDBOX_SERVICE_V1_H
#define SANDBOX_SERVICE_V1_H

#include "service.h"

/*
 * The agent that agentId names, if it is the orchestrator. Otherwise returns NULL, and the call has
 * failed, with "Only the orchestrator can ..." if the agent exists.
 */
struct document *service_orchestrator(struct service_call *call, const char *what);

/*
 * The agent that agentId names, if its flag is set; otherwise returns NULL, and the call has
 * failed, with "Forbidden: " and the refusal if the agent exists.
 */
struct document *service_agent_allowed(
    struct service_call *call, const char *flag, const char *refusal);

/* An argument's number, or fallback when it is absent, at most max. */
double service_limit(
    const struct service_call *call, const char *name, double fallback, double max);

/*
 * Stores limit as the size of a query. The backend's queries take no fractions and no negative
 * numbers: false then, and the call has failed.
 */
bool service_take(struct service_call *call, double limit, size_t *count);

/*
 * The number of rows that JavaScript's slice(0, limit) leaves of count: it counts negative limits
 * from the end.
 */
size_t service_slice(double limit, size_t count);

/* Fails the call and returns false if a string argument has more than max UTF-16 units. */
bool service_check_length(
    struct service_call *call, const char *name, size_t max, const char *refusal);

/* Check the texts of a task, and that all ids are agents of the account, in the backend's words. */
bool service_check_reason(struct service_call *call);
bool service_check_texts(struct service_call *call);
bool service_check_agents(struct service_call *call, const json_t *ids);

/*
 * The last messages of a task as a new array of {messageId, authorType, authorId, authorName,
 * content, createdAt}, oldest first. Longer contents are cut at max_units (0: not at all).
 */
json_t *service_thread(
    struct service_call *call, const char *task_id, size_t limit, size_t max_units);

/*
 * Moves the task to a status step by step on behalf of agent. false means that the call has failed,
 * maybe after some of the steps. reason is that of being blocked, NULL for none.
 */
bool service_move_task(struct service_call *call, struct document *task,
    const struct document *agent, const char *status, const char *reason);

/* Agents. */
void service_v1_list_agents(struct service_call *call);
void service_v1_list_profiles(struct service_call *call);
void service_v1_get_orchestrator(struct service_call *call);
void service_v1_get_skills(struct service_call *call);

/* Supervision. */
void service_v1_update_runtime(struct service_call *call);
void service_v1_get_upgrade(struct service_call *call);
void service_v1_record_upgrade(struct service_call *call);

/* Notifications. */
void service_v1_list_undelivered(struct service_call *call);
void service_v1_get_notification(struct service_call *call);
void service_v1_mark_read(struct service_call *call);
void service_v1_mark_ended(struct service_call *call);
void service_v1_mark_delivered(struct service_call *call);
void service_v1_request_responses(struct service_call *call);

/* Messages. */
void service_v1_create_message(struct service_call *call);
void service_v1_post_message(struct service_call *call);
void service_v1_list_thread(struct service_call *call);
void service_v1_register_upload(struct service_call *call);

/* Tasks, reading. */
void service_v1_list_assigned(struct service_call *call);
void service_v1_list_tracked(struct service_call *call);
void service_v1_list_tasks(struct service_call *call);
void service_v1_get_task(struct service_call *call);
void service_v1_search_tasks(struct service_call *call);
void service_v1_load_task(struct service_call *call);
void service_v1_get_history(struct service_call *call);

/* Tasks, writing. */
void service_v1_update_status(struct service_call *call);
void service_v1_create_task(struct service_call *call);
void service_v1_assign_task(struct service_call *call);
void service_v1_update_task(struct service_call *call);
void service_v1_delete_task(struct service_call *call);
void service_v1_link_task(struct service_call *call);

/* Documents. */
void service_v1_create_document(struct service_call *call);
void service_v1_list_documents(struct service_call *call);

#endif
