/* Which generation of the backend this is, learned from its answers. */
#ifndef BACKEND_BACKEND_VERSION_H
#define BACKEND_BACKEND_VERSION_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "backend/convex.h"

enum backend_version {
    BACKEND_UNKNOWN, /* nothing has told yet */
    BACKEND_V0,      /* one session for each agent */
    BACKEND_V1,      /* sessions by task, behaviour flags, an orchestrator */
};

/* Their words in the log and in JSON documents; indexed by the enum's values. */
extern const char *const backend_version_words[];

/*
 * What an answer tells (docs/protocol.md, "Versions of the backend"); BACKEND_UNKNOWN when it tells
 * nothing. value is a result as the backend sent it, of any form, or NULL. Pure.
 */
enum backend_version backend_version_of_agents(const json_t *value); /* listAgents */
enum backend_version backend_version_of_context(
    const json_t *value); /* getNotificationForDelivery */

/*
 * What the end of getOrchestratorAgentId tells. It is called only right after a listAgents that
 * succeeded and was empty, so a function error means that the function does not exist. value is
 * looked at only when outcome is CONVEX_SUCCESS. Pure.
 */
enum backend_version backend_version_of_orchestrator(
    enum convex_outcome outcome, const json_t *value);

/*
 * The version that the process goes by. One for the process, shared by all threads without a lock;
 * every function below may be called by any thread.
 */
struct backend_version_state {
    enum backend_version pinned; /* by the operator; BACKEND_UNKNOWN: go by what is seen */
    struct loop *on_change;      /* poked when the version seen changes; NULL: none */
    _Atomic unsigned seen;       /* an enum backend_version, and whether it is in doubt */
};

/* Call before any other thread uses the state. It needs no freeing. */
void backend_version_init(struct backend_version_state *state, enum backend_version pinned);

/* Names the loop to poke when the version seen changes. Call likewise; the loop outlives the use.
 */
void backend_version_on_change(struct backend_version_state *state, struct loop *loop);

/*
 * The version to go by: the pinned one, else the last one seen unless that is in doubt. Only what
 * BACKEND_V1 is returned for may be sent functions and arguments that are new in it.
 */
enum backend_version backend_version_get(const struct backend_version_state *state);

/*
 * The same for what is right for both versions, or nearly: in doubt the last one seen, as a doubt
 * seldom proves right.
 */
enum backend_version backend_version_likely(const struct backend_version_state *state);

/* The last version seen, in doubt or not, whatever is pinned. */
enum backend_version backend_version_last_seen(const struct backend_version_state *state);

/*
 * Takes in what an answer told; BACKEND_UNKNOWN changes nothing. Returns whether it differs from
 * the last version seen: then, and only in one thread, the change is to be reported.
 */
bool backend_version_see(struct backend_version_state *state, enum backend_version version);

/*
 * A function or argument that is new in v1 was refused: as production deployments do not say why,
 * the version is unknown until an answer tells it again.
 */
void backend_version_doubt(struct backend_version_state *state);

/* Whether the backend was seen to be another version than the pinned one, if both are known. Pure.
 */
bool backend_version_mismatches(enum backend_version pinned, enum backend_version seen);

#endif
