/*
 * Whether agents can be asked now: a judgement from how sends and probes end, so that an outage of
 * the gateway costs no notification a run. A state machine without input or output; others send,
 * probe and hold the queue's sends as it says. (Design, section 5.)
 */
#ifndef GATEWAY_BREAKER_H
#define GATEWAY_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/gateway.h"

enum gate_state {
    GATE_OPEN,
    GATE_SUSPECT, /* something points at an outage; a probe decides */
    GATE_SHUT,
};

enum { GATE_REASON_BYTES = 512 };

/* What the gate says at one moment. */
struct gate_view {
    uint64_t version; /* grows with each change of what follows */
    enum gate_state state;
    bool trickle;         /* open, but one send at a time: the model provider is in trouble */
    int64_t next_send_ms; /* in a trickle: no send before (monotonic) */
    int64_t since_ms;     /* when the state began (monotonic) */
    char
        reason[GATE_REASON_BYTES]; /* why not open, or why a trickle, with what to check; else "" */
};

struct gateway_gate;

struct gate_settings {
    bool enabled;            /* false: shut for ever */
    const char *url;         /* the gateway's, for the reasons; outlives the gate */
    int64_t check_ms;        /* an open gate of which nothing was heard for so long is probed */
    int64_t backoff_base_ms; /* between the sends of a trickle: from this */
    int64_t backoff_max_ms;  /* to this */
};

/*
 * A gate that is suspect until a probe has opened it. The caller destroys it after its last use.
 * ERROR_NO_MEMORY.
 */
int gateway_gate_create(struct gateway_gate **gate, const struct gate_settings *settings,
    int64_t now_ms, struct error *error);
void gateway_gate_destroy(struct gateway_gate *gate);

/* All of the following: any thread, a short lock, no blocking. now_ms is monotonic. */

/* The state at this moment, in *view. */
void gateway_gate_look(struct gateway_gate *gate, struct gate_view *view);

/* The state as a word: "open", "trickle", "suspect" or "shut". Pure. */
const char *gate_view_word(const struct gate_view *view);

/* The same of the gate as it is now. Takes no lock. */
const char *gateway_gate_word(const struct gateway_gate *gate);

/* Taken before a send begins and given back with its result. */
uint64_t gateway_gate_ticket(struct gateway_gate *gate);

/*
 * Notes how a send to agent_id ended. What began in an earlier state says nothing of the present
 * one, but for a reply: it ends a trickle. Returns true when the view has changed.
 */
bool gateway_gate_note_send(struct gateway_gate *gate, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms);

/*
 * When the next probe may begin; SYNC_NO_DEADLINE while none is needed. patient asks for the probe
 * that waits long for its answer, which has its turn only after a quick one got none in time. An
 * open gate is probed only when nobody else hears of the gateway.
 */
int64_t gateway_gate_probe_due(struct gateway_gate *gate, bool patient);

/*
 * Takes the turn to probe, with a ticket to be given back; false when another thread was faster or
 * none is needed any more.
 */
bool gateway_gate_begin_probe(
    struct gateway_gate *gate, bool patient, int64_t now_ms, uint64_t *ticket);

/*
 * Notes how a probe ended. One that began before the gate was last opened, or last ceased to be
 * open, says nothing of now. Returns true when the view has changed.
 */
bool gateway_gate_note_probe(struct gateway_gate *gate, bool patient, uint64_t ticket,
    const struct gateway_result *result, int64_t now_ms);

/* Milliseconds for which the gate has been open since it was made: the clock of failing time. */
int64_t gateway_gate_open_ms(struct gateway_gate *gate, int64_t now_ms);

#endif
