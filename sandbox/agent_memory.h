/* What a session of the gateway remembers about the work that its agent is doing with tools. */
#ifndef SANDBOX_AGENT_MEMORY_H
#define SANDBOX_AGENT_MEMORY_H

#include <jansson.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

/* Number of sessions that are remembered. */
enum { AGENT_MEMORIES_CAPACITY = 4096 };

TAILQ_HEAD(agent_memory_list, agent_memory);

/* Strings and JSON are owned, NULL when absent. */
struct agent_memory {
    TAILQ_ENTRY(agent_memory) link; /* private */
    char *session;                  /* private */
    char *input;                    /* what began the work; NULL: there is none */
    char *task_id;                  /* of that input */
    json_t *wishes;                 /* calls that are still to be made (agent_words.h) */
    json_t *asked;                  /* calls of the last answer: {call_id, name, arguments} */
    json_t *ended;                  /* calls that came to an end, for agent_report() */
    unsigned calls;                 /* that the agent has made in this work */
    uint64_t first_run;             /* the run that began the work */
    unsigned round; /* 1 for that run, one more with each request that brings results */
};

/* The memories of the sessions used last. Used by the server's thread only. */
struct agent_memories {
    struct map by_session;
    struct agent_memory_list by_use; /* the one used last is the last one */
};

void agent_memories_init(struct agent_memories *memories);
void agent_memories_fini(struct agent_memories *memories);

/* The memory of a session, empty at first; valid until the next call. */
struct agent_memory *agent_memory_of(struct agent_memories *memories, const char *session);

/* Forgets earlier work, answered or not, and begins with an input of an agent in a run. */
void agent_memory_begin(
    struct agent_memory *memory, const char *agent, const char *input, uint64_t run);

/* Notes calls that have ended, an array of {name, arguments, output?}. */
void agent_memory_add(struct agent_memory *memory, const json_t *calls);

/*
 * Ends the calls of the last answer with results, an array of {call_id, output}; those that have
 * none end without. run begins the work if there is none.
 */
void agent_memory_take_results(struct agent_memory *memory, const json_t *results, uint64_t run);

/* Notes the calls that an answer makes. Keeps a reference. */
void agent_memory_ask(struct agent_memory *memory, json_t *calls);

/* Notes a call that the gateway did not pass on, and what it told the model. */
void agent_memory_tell(
    struct agent_memory *memory, const char *name, const json_t *arguments, const char *told);

#endif
