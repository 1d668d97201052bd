/* Plain words in a message that tell a simulated agent what to do with its tools. */
#ifndef SANDBOX_AGENT_WORDS_H
#define SANDBOX_AGENT_WORDS_H

#include <jansson.h>

/* Who reads the words, and where. Borrowed; task_id is NULL where there is no task. */
struct agent_listener {
    const char *agent; /* its slug */
    const char *task_id;
};

/*
 * Returns the calls that a message asks for, in order, as a new array of {"name", "arguments",
 * "later"}; later is true where the call belongs into an answer of its own, as it was asked for
 * with "then". docs/sandbox.md lists the words. Pure.
 */
json_t *agent_words_read(const char *message, const struct agent_listener *listener);

#endif
