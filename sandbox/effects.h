/* A record of what backend functions changed on the board for agents, to find what came twice. */
#ifndef SANDBOX_EFFECTS_H
#define SANDBOX_EFFECTS_H

#include <jansson.h>
#include <stdint.h>
#include <sys/queue.h>

enum { EFFECTS_CAPACITY = 50000 };

TAILQ_HEAD(effect_list, effect);

/* Used by the server's thread only. Zero-initialise and call effects_init. */
struct effects {
    struct effect_list list; /* oldest first */
    size_t kept;
    uint64_t last; /* number of the last one, since the last reset */
};

/* A call of a function that has succeeded. Copied. */
struct new_effect {
    uint64_t call; /* its number in the call log */
    const char *function;
    const char *agent; /* slug of the agent that it was made for; NULL: unknown */
    const json_t *arguments;
    const char *value; /* its value as JSON; NULL: null */
    const char *trace; /* traceparent header; NULL: none */
};

void effects_init(struct effects *effects);
void effects_fini(struct effects *effects);

void effects_record(struct effects *effects, const struct new_effect *effect);

/*
 * Returns the effects with a number above since as a new array; only those of a function, of an
 * agent and on a task, unless these are NULL.
 */
json_t *effects_describe(const struct effects *effects, uint64_t since, const char *function,
    const char *agent, const char *task_id);

#endif
