/* Events on the board: messages, assignments and status changes, with all their side effects. */
#ifndef SANDBOX_BOARD_H
#define SANDBOX_BOARD_H

#include <jansson.h>

#include "store.h"

struct new_message {
    struct document *author; /* a user or an agent */
    struct document *task;
    json_t *content;      /* a string; borrowed, referenced by the message */
    json_t *attachments;  /* or NULL; borrowed, referenced by the message */
    const char *source;   /* sourceNotificationId or NULL */
    bool suppress_agents; /* version 1: notify no agents */
    json_t *patched;      /* NULL, or gets the ids of notifications patched instead of added */
};

/* "user" or "agent". */
const char *board_actor_kind(const struct document *actor);

/* The current time as a new JSON number, in milliseconds. */
json_t *board_now(void);

/*
 * Posts the message that from describes: parses its mentions, subscribes its author and the
 * mentioned, records the activity, notifies the mentioned and then the other subscribers. The
 * caller deduplicates by source.
 */
struct document *board_post(struct store *store, const struct new_message *from);

/*
 * Whom board_post would notify, as a new array of {id, kind, type}: kind is "user" or "agent", type
 * that of the notification. Changes nothing.
 */
json_t *board_readers(struct store *store, const struct new_message *from);

struct new_notification {
    const char *type;
    struct document *recipient; /* a user or an agent; its account is the notification's */
    const struct document *task;
    const struct document *message; /* or NULL */
    const char *title;
    const char *body;
    double created_ms; /* 0: now */
};

/* Stores a notification and returns it; owned by the store. */
struct document *board_notify(struct store *store, const struct new_notification *notification);

/* Makes a user or an agent follow the task's thread. */
void board_subscribe(
    struct store *store, const struct document *task, const struct document *subscriber);

/* Version 1: makes an agent that is assigned now, and the orchestrator, follow the task's thread.
 */
void board_follow_assigned(
    struct store *store, const struct document *task, const struct document *agent);

/* Ends following a thread. */
void board_unsubscribe(struct store *store, const char *task_id, const char *subscriber_id);

/*
 * Assigns an agent to a task on behalf of actor, a user or an agent (NULL: "Somebody"), and moves
 * the task out of the inbox. Returns the agent's notification; NULL if it is assigned already,
 * which only version 1 notices. In version 1 the agent and the orchestrator then follow the thread.
 */
struct document *board_assign(struct store *store, struct document *task, struct document *agent,
    const struct document *actor);

/*
 * Changes a task's status on behalf of actor (or NULL) and notifies the assigned agents, in version
 * 1 except for the actor. reason is that of being blocked, NULL for none; version 1 only.
 */
void board_set_task_status(struct store *store, struct document *task, const char *status,
    const char *reason, const struct document *actor);

/* Notifies the assigned agents other than except (or NULL) that actor changed the status. */
void board_notify_status(struct store *store, const struct document *task,
    const struct document *actor, const struct document *except);

/* Notifies an agent that actor (NULL: "Somebody") assigned it; returns the notification. */
struct document *board_notify_assigned(struct store *store, struct document *task,
    struct document *agent, const struct document *actor);

/*
 * Removes a document with its notifications, subscriptions and messages, and an agent from the
 * tasks that it is assigned to. Returns how many documents are gone.
 */
size_t board_remove(struct store *store, struct document *document);

/* Records an activity of actor on target. */
void board_record_activity(struct store *store, const char *type, const struct document *actor,
    const struct document *target, const char *summary);

#endif
