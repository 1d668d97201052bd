/*
 * Keeps agents from answering each other without end (docs/architecture.md, Agents that answer each
 * other).
 */
#ifndef DELIVERY_LOOP_GUARD_H
#define DELIVERY_LOOP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/service.h"
#include "delivery/entry.h"

/* Notifications whose cause is remembered; the least recently used is dropped first. */
enum { LOOP_GUARD_REMEMBERED = 8192 };

struct loop_guard;

struct loop_guard_settings {
    bool enabled;            /* if not, it stops only what our own notices cause */
    unsigned max_hops;       /* agents that may answer each other in a row */
    unsigned max_agent_runs; /* runs that one root, or one task, may lead to */
    const char *state_dir;   /* where their counts are kept; NULL: nowhere */
};

/*
 * Reads the counts in state_dir; the directory's lock is held while the guard exists. Blocks for
 * the disk. The caller destroys it, which saves the counts. ERROR_NO_MEMORY.
 */
int loop_guard_create(
    struct loop_guard **guard, const struct loop_guard_settings *settings, struct error *error);
void loop_guard_destroy(struct loop_guard *guard);

/* What the guard decided about a notification. */
struct loop_verdict {
    enum end_reason reason; /* why it has to be skipped, or REASON_REPLIED if it may be sent */
    bool note_due;          /* skipped, and its thread has to be told (limit_note_append) */
    bool counted;           /* its run is counted, so take it back if there was certainly none */
    char root[ID_BYTES];    /* what it is counted under, and the task, "" for none */
    char task_id[ID_BYTES];
    int64_t person_ms; /* when a person had last written in the task, as far as was known then */
    char notification_id[ID_BYTES];
};

/*
 * Judges the notification of context, which is for agent_id. Returns CONVEX_SUCCESS with *verdict,
 * or with *error why the backend could not be asked; never CONVEX_FUNCTION_ERROR, which counts as
 * the end of the chain. If it is not the notification's turn, no run is counted and no note is due;
 * what is let pass then may have to be skipped in its turn all the same. Any thread. May block for
 * a request for each notification of the chain, at most max_hops + 1.
 */
enum convex_outcome loop_guard_judge(struct loop_guard *guard, const struct service *service,
    const char *agent_id, const struct delivery_context *context, bool is_turn,
    struct loop_verdict *verdict, struct error *error);

/* Something that an agent did with a tool. */
struct tool_effect {
    const char *id;  /* of a notification, a message or a task; valid (id_is_valid) */
    int64_t from_ms; /* of a task: when it was done, by the backend's clock */
    int64_t until_ms;
};

/*
 * The agent that was asked about that notification has caused effect: what follows from it belongs
 * to the same chain. Forgotten after a restart, as chains are on v1. Any thread.
 */
void loop_guard_note_effect(
    struct loop_guard *guard, const char *notification_id, const struct tool_effect *effect);

/*
 * The agent is woken, and may cause something: that is the beginning of a chain of its own, of
 * which wake_id is the root (any id that no other chain has), and counts as caused by an agent.
 * Effects are noted under the agent's id. Any thread.
 */
void loop_guard_begin_wake(struct loop_guard *guard, const char *agent_id, const char *wake_id);

/* The run has not taken place: takes back its count, if there is one. Any thread. */
void loop_guard_take_back(struct loop_guard *guard, struct loop_verdict *verdict);

/* The note was posted, or cannot be: then the next notification that is skipped may try. */
void loop_guard_end_note(struct loop_guard *guard, const struct loop_verdict *verdict, bool posted);

/* Saves the counts now and then, at most once a second. One thread; may block for the disk. */
void loop_guard_save(struct loop_guard *guard);

#endif
