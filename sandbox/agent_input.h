/* What a simulated agent reads in an input, by the labels that the runtime's prompts have. */
#ifndef SANDBOX_AGENT_INPUT_H
#define SANDBOX_AGENT_INPUT_H

#include <stdbool.h>

/* The fields of a notification's prompt. Strings are owned, NULL when absent. */
struct agent_input {
    char *type;
    char *task;
    char *task_id;
    char *message;
    char *author;
    char *notification_id;
};

/* Reads the prompts of both backend versions. Free the result with agent_input_fini. Pure. */
void agent_input_read(const char *input, struct agent_input *agent_input);
void agent_input_fini(struct agent_input *agent_input);

/* Whether the notification's message was written by that type of author ("user", "agent"). */
bool agent_input_is_by(const struct agent_input *agent_input, const char *type);

/*
 * Returns the value after the last "Notification ID: " of an input, for the caller to free, or
 * NULL.
 */
char *agent_notification_id(const char *input);

/*
 * Returns what an input says after announcing the tool calls of an earlier run, for the caller to
 * free, or NULL.
 */
char *agent_input_changes(const char *input);

#endif
