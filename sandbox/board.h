/* Events on the board: messages, assignments and status changes, with all their side effects. */
#ifndef SANDBOX_BOARD_H
#define SANDBOX_BOARD_H

#include <jansson.h>

#include "store.h"

struct new_message {
    struct document *author; /* a user or an agent */
    struct document *task;
    json_t *content;     /* a string; borrowed, referenced by the message */
    json_t *attachments; /* or NULL; borrowed, referenced by the message */
    const char *source;  /* sourceNotificationId or NULL */
};

/* The current time as a new JSON number, in milliseconds. */
json_t *board_now(void);

/*
 * Posts the message that from describes: parses its mentions, subscribes its author and the
 * mentioned, records the activity, notifies the mentioned and then the other subscribers. The
 * caller deduplicates by source.
 */
struct document *board_post(struct store *store, const struct new_message *from);

struct new_notification {
    const char *type;
    struct document *recipient; /* a user or an agent; its account is the notification's */
    struct document *task;
    struct document *message; /* or NULL */
    const char *title;
    const char *body;
    double created_ms; /* 0: now */
};

/* Stores a notification and returns it; owned by the store. */
struct document *board_notify(struct store *store, const struct new_notification *notification);

/* Assigns an agent to a task on behalf of user (NULL: "Somebody"); returns its notification. */
struct document *board_assign(struct store *store, struct document *task, struct document *agent,
    const struct document *user);

/* Changes a task's status on behalf of user (or NULL) and notifies the assigned agents. */
void board_set_task_status(
    struct store *store, struct document *task, const char *status, const struct document *user);

/* Records an activity of actor on target. */
void board_record_activity(struct store *store, const char *type, const struct document *actor,
    const struct document *target, const char *summary);

#endif
