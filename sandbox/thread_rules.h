/* Version 1's rules on whom a message notifies, where they differ from version 0's. */
#ifndef SANDBOX_THREAD_RULES_H
#define SANDBOX_THREAD_RULES_H

#include "board.h"

/*
 * The mentions of a new message, as a new array: those in its text, without agents if the author
 * is an agent that may not mention any; none if an agent posts in the orchestrator's chat.
 */
json_t *thread_rules_mentions(struct store *store, const struct new_message *from);

/* Whether the message notifies recipient, whom it mentions. */
bool thread_rules_allow_mention(const struct new_message *from, const struct document *recipient);

/* Whether the message notifies recipient, who follows the thread and is not mentioned. */
bool thread_rules_allow_update(const struct store *store, const struct new_message *from,
    const json_t *mentions, const struct document *recipient);

/*
 * Patches the agent's undelivered thread_update about the task, if there is one, to the new
 * message, and returns it; else returns NULL, and a new notification is due. The times of reading
 * and of the end of delivery stay.
 */
struct document *thread_rules_coalesce(
    struct store *store, const struct new_notification *notification);

#endif
