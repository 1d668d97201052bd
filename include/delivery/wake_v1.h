/* Waking an agent on version 1 of the backend: it is told of its tasks, and may work on them. */
#ifndef DELIVERY_WAKE_V1_H
#define DELIVERY_WAKE_V1_H

#include <jansson.h>

#include "backend/service.h"
#include "base/sync.h"
#include "delivery/delivery.h"

/* So many reads from the backend for wake-ups go on at a time; others wait for their turn. */
enum { WAKE_READERS = 8 };

struct wake_gate {
    struct mutex lock;
    struct cond freed;
    unsigned readers; /* under the lock */
};

/* Embedded. Cannot fail. */
void wake_gate_init(struct wake_gate *gate);
void wake_gate_fini(struct wake_gate *gate);

/* Wait for a turn to read, for as long as others read, and end it. Any thread. */
void wake_gate_enter(struct wake_gate *gate);
void wake_gate_leave(struct wake_gate *gate);

/*
 * The tasks at which the orchestrator's wake-ups have looked for follow-ups. Each looks at a few
 * only, so the next go on with those that are not in here, until all have had their turn and a new
 * round begins. One for each runtime; a restart begins a new round.
 */
struct follow_up_round {
    struct mutex lock;
    json_t *looked_at; /* under the lock; ids of tasks as members; NULL: a new round, or taken */
};

/* Embedded. Cannot fail. */
void follow_up_round_init(struct follow_up_round *round);
void follow_up_round_fini(struct follow_up_round *round);

/* How a wake-up ended. */
enum wake_end {
    WAKE_POSTPONED, /* it did not take place, or has to go on soon */
    WAKE_UNUSABLE,  /* the agent could be in another's session, so it was not asked */
    WAKE_DONE,
    WAKE_ANSWERED, /* and the backend is to hear of it */
};

/* A wake-up of an agent. Borrowed until wake_v1_run has returned. */
struct wake_v1 {
    const struct delivery *delivery;
    struct wake_gate *gate;
    struct follow_up_round *follow_ups;
    const struct agent *agent; /* as the account's list has it now */
    /* Finds another agent of that list, as wake_schedule_find does. */
    bool (*find_agent)(void *find_context, const char *id, struct agent *agent);
    void *find_context;

    /* Filled in. */
    bool was_asked;               /* result tells how that ended; it has no body */
    struct gateway_result result; /* of the last request */
    char task_id[ID_BYTES];       /* where its answer was posted; "" for nowhere */
};

/*
 * Wakes the agent, whose entry of kind ENTRY_WAKE a worker has taken; the caller finishes the
 * entry. Blocks for backend, gateway and disk, for as long as the agent takes. Workers only, each
 * with its own client.
 */
enum wake_end wake_v1_run(struct wake_v1 *wake, struct http_client *client, struct entry *entry);

#endif
