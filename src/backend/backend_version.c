/*
 * The two generations of the backend differ in what they return and in the functions that they
 * have. Nothing tells the generation outright, so it is read off answers that are fetched anyway: a
 * key that only one of them has (docs/protocol.md, "Versions of the backend"). It may change while
 * we run, with a deployment.
 *
 * The state is one atomic, so that workers can ask on every delivery. It holds the last version
 * seen and a bit for doubt. Doubt does not erase the version: when the next answer confirms it,
 * nothing has changed and nothing is reported.
 */
#include "backend/backend_version.h"

#include <stddef.h>

enum { DOUBT_BIT = 1U << 8 };

const char *const backend_version_words[] = {
    [BACKEND_UNKNOWN] = "unknown",
    [BACKEND_V0] = "v0",
    [BACKEND_V1] = "v1",
};

enum backend_version backend_version_of_agents(const json_t *value)
{
    enum backend_version version = BACKEND_UNKNOWN;
    size_t index;
    const json_t *agent;
    json_array_foreach (value, index, agent) {
        /* The new key decides, should a migrated agent still have its old one. */
        if (json_is_string(json_object_get(agent, "systemSessionKey")))
            return BACKEND_V1;
        if (json_is_string(json_object_get(agent, "sessionKey")))
            version = BACKEND_V0;
    }
    return version;
}

enum backend_version backend_version_of_context(const json_t *value)
{
    if (json_object_get(value, "deliverySessionKey") != NULL ||
        json_object_get(value, "effectiveBehaviorFlags") != NULL)
        return BACKEND_V1;
    /* v1 always sends the flags. */
    return json_is_object(json_object_get(value, "notification")) ? BACKEND_V0 : BACKEND_UNKNOWN;
}

enum backend_version backend_version_of_orchestrator(
    enum convex_outcome outcome, const json_t *value)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        return BACKEND_V0;
    if (outcome == CONVEX_SUCCESS && json_object_get(value, "orchestratorAgentId") != NULL)
        return BACKEND_V1;
    return BACKEND_UNKNOWN;
}

void backend_version_init(struct backend_version_state *state, enum backend_version pinned)
{
    state->pinned = pinned;
    state->on_change = NULL;
    atomic_init(&state->seen, BACKEND_UNKNOWN);
}

void backend_version_on_change(struct backend_version_state *state, struct loop *loop)
{
    state->on_change = loop;
}

enum backend_version backend_version_get(const struct backend_version_state *state)
{
    unsigned seen = atomic_load(&state->seen);
    if (state->pinned != BACKEND_UNKNOWN)
        return state->pinned;
    return (seen & DOUBT_BIT) != 0 ? BACKEND_UNKNOWN : (enum backend_version)seen;
}

enum backend_version backend_version_likely(const struct backend_version_state *state)
{
    return state->pinned != BACKEND_UNKNOWN ? state->pinned : backend_version_last_seen(state);
}

enum backend_version backend_version_last_seen(const struct backend_version_state *state)
{
    return (enum backend_version)(atomic_load(&state->seen) & ~(unsigned)DOUBT_BIT);
}

bool backend_version_see(struct backend_version_state *state, enum backend_version version)
{
    if (version == BACKEND_UNKNOWN)
        return false;
    unsigned before = atomic_exchange(&state->seen, version);
    bool has_changed = (before & ~(unsigned)DOUBT_BIT) != version;
    if (has_changed && state->on_change != NULL)
        loop_poke(state->on_change);
    return has_changed;
}

void backend_version_doubt(struct backend_version_state *state)
{
    atomic_fetch_or(&state->seen, DOUBT_BIT);
}

bool backend_version_mismatches(enum backend_version pinned, enum backend_version seen)
{
    return pinned != BACKEND_UNKNOWN && seen != BACKEND_UNKNOWN && seen != pinned;
}
