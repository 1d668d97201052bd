#include "status_state.h"

#include "serve/json_body.h"

enum { SENTENCE_BYTES = GATE_REASON_BYTES + 64 };

const char *status_state_word(const struct health_sources *health, bool held_by_hand)
{
    int phase = atomic_load(&health->stats->phase);
    if (phase == PHASE_STARTING)
        return "starting";
    if (phase == PHASE_STOPPING)
        return "stopping";
    if (!health_is_good(health))
        return "degraded";
    return held_by_hand ? "held" : "healthy";
}

static void add(json_t *reasons, const char *words)
{
    json_array_append_new(reasons, json_body_words(words));
}

static void add_gateway(json_t *reasons, const struct health_sources *health)
{
    struct gate_view gate;
    char sentence[SENTENCE_BYTES];
    gateway_gate_look(health->gate, &gate);
    if (gate.state == GATE_OPEN && !gate.trickle)
        return;
    snprintf(sentence, sizeof sentence, "%s: %s",
        gate.state == GATE_OPEN ? "One agent is asked at a time" : "No agent can be asked",
        gate.reason);
    add(reasons, sentence);
}

static void add_process(json_t *reasons, const struct health_sources *health)
{
    struct gateway_process_status status;
    if (health->process == NULL)
        return;
    gateway_process_status(health->process, &status);
    if (!status.accepting)
        add(reasons, "The gateway, which runs as a child, accepts no connections yet");
}

static void add_backend(json_t *reasons, struct stats *stats)
{
    /* Without their number, which would make each of them news to who has the page read out. */
    if (atomic_load(&stats->consecutive_poll_failures) > 0)
        add(reasons, "The last polls of the backend failed");
    else if (atomic_load(&stats->last_poll_ms) == 0)
        add(reasons, "The backend has not answered a poll yet");
}

json_t *status_state_reasons(const struct health_sources *health, bool held_by_hand)
{
    struct stats *stats = health->stats;
    json_t *reasons = json_array();
    if (held_by_hand)
        add(reasons, "All sends are held by hand; SIGUSR2 releases them");
    add_gateway(reasons, health);
    add_process(reasons, health);
    add_backend(reasons, stats);
    if (atomic_load(&stats->spool_broken))
        add(reasons, "The state folder cannot be written");
    return reasons;
}
