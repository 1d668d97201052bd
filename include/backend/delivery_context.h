/* What the backend returns for one notification: read, checked and taken apart. */
#ifndef BACKEND_DELIVERY_CONTEXT_H
#define BACKEND_DELIVERY_CONTEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/convex.h"

enum notification_type {
    NOTIFICATION_NONE,  /* there is none */
    NOTIFICATION_OTHER, /* a type that we do not know */
    NOTIFICATION_ASSIGNMENT,
    NOTIFICATION_MENTION,
    NOTIFICATION_RESPONSE_REQUEST,
    NOTIFICATION_STATUS_CHANGE,
    NOTIFICATION_THREAD_UPDATE,
};

enum task_status {
    TASK_NONE,         /* there is no task */
    TASK_OTHER_STATUS, /* one that we do not know */
    TASK_INBOX,
    TASK_ASSIGNED,
    TASK_IN_PROGRESS,
    TASK_REVIEW,
    TASK_DONE,
    TASK_BLOCKED,
    TASK_ARCHIVED,
};

enum author_type {
    AUTHOR_NONE,  /* there is no message */
    AUTHOR_OTHER, /* neither of these two */
    AUTHOR_USER,
    AUTHOR_AGENT,
};

/* What an agent may do on the board. */
struct behavior_flags {
    bool can_create_tasks;
    bool can_modify_task_status;
    bool can_create_documents;
    bool can_mention_agents;
    bool can_review_tasks;
    bool can_mark_done;
};

/*
 * Reads the flags as the backend sends them, with its defaults for what is missing; all of them if
 * flags is not an object. Pure.
 */
struct behavior_flags behavior_flags_read(const json_t *flags);

/* All but value is borrowed from value. */
struct delivery_context {
    json_t *value; /* owned; JSON null when the notification is gone */
    const json_t *notification;
    const json_t *agent;   /* NULL when deleted */
    const json_t *task;    /* NULL when deleted or there is none */
    const json_t *message; /* likewise */
    enum notification_type type;
    enum task_status task_status;
    enum author_type author; /* of the message */
    const char *source_id;   /* the notification that an agent's message answered; NULL for none */
    int64_t person_wrote_ms; /* createdAt of the newest words of a person in it; 0 for none */
    bool has_ended;          /* the notification is gone or has been marked as delivered */
    bool task_is_gone;       /* it names a task that has been deleted */

    enum backend_version version; /* that the context shows */

    /* From v1 only; in a context of v0 all of this is NULL, false, 0 or NOTIFICATION_NONE. */
    const char *session_key;     /* NULL when the backend gives none */
    const char *orchestrator_id; /* NULL when the account has none */
    const char *message_id;      /* that the notification is about; NULL for none */
    bool may_be_changed; /* until it is marked, the backend may make it one about a newer message */
    bool begins_task;    /* with the agent's reply its task is in progress */
    enum notification_type source_type; /* of the notification that the message answered */
    struct behavior_flags flags;        /* of the recipient */
    const json_t *thread;               /* array of the task's last messages, oldest first */
    int64_t newest_in_thread_ms;        /* createdAt of the newest of them; 0 for none */
    /* For the prompt only: NULL as well when absent or of another type. */
    const json_t *mentionable_agents; /* array: all agents of the account */
    const json_t *assigned_agents;    /* array: those of the task */
    const json_t *primary_user;       /* these four: objects */
    const json_t *repository_doc;
    const json_t *briefing_doc;
    const json_t *task_overview;
};

/*
 * Reads the result of getNotificationForDelivery of either version; takes the reference in any
 * case. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with *error set and nothing to free: value is not
 * null and something that a decision rests on is missing or of the wrong type. Pure.
 */
enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error);
void delivery_context_fini(struct delivery_context *context);

/*
 * Frees value, which may be large; what remains is type, author, version, flags and the like, and
 * all that was borrowed is NULL.
 */
void delivery_context_shrink(struct delivery_context *context);

/* Whether the agent is assigned to the task. Pure. */
bool delivery_context_is_assigned(const struct delivery_context *context, const char *agent_id);

/* Whether the agent is the account's orchestrator. Pure. */
bool delivery_context_is_orchestrator(const struct delivery_context *context, const char *agent_id);

/* Whether the task is the chat between people and the orchestrator. Pure. */
bool delivery_context_is_orchestrator_chat(const struct delivery_context *context);

/* Whether the recipient may set the task to done, which is possible out of review only. Pure. */
bool delivery_context_may_mark_done(const struct delivery_context *context);

#endif
