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

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_HALF_OPEN, /* something points at an outage; a probe decides */
    BREAKER_OPEN,
};

enum { BREAKER_REASON_BYTES = 512 };

/* What the gate says at one moment. */
struct breaker_view {
    uint64_t version; /* grows with each change of what follows */
    enum breaker_state state;
    bool single_flight;   /* open, but one send at a time: the model provider is in trouble */
    int64_t next_send_ms; /* in a trickle: no send before (monotonic) */
    int64_t since_ms;     /* when the state began (monotonic) */
    char reason[BREAKER_REASON_BYTES]; /* why not open, or why a trickle, with what to check; else
                                          "" */
};

struct breaker;

struct breaker_settings {
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
int breaker_create(struct breaker **breaker, const struct breaker_settings *settings,
    int64_t now_ms, struct error *error);
void breaker_destroy(struct breaker *breaker);

/* All of the following: any thread, a short lock, no blocking. now_ms is monotonic. */

/* The state at this moment, in *view. */
void breaker_snapshot(struct breaker *breaker, struct breaker_view *view);

/* The state as a word: "open", "trickle", "suspect" or "shut". Pure. */
const char *breaker_view_word(const struct breaker_view *view);

/* The same of the gate as it is now. Takes no lock. */
const char *breaker_word(const struct breaker *breaker);

/* Taken before a send begins and given back with its result. */
uint64_t breaker_ticket(struct breaker *breaker);

/*
 * Notes how a send to agent_id ended. What began in an earlier state says nothing of the present
 * one, but for a reply: it ends a trickle. Returns true when the view has changed.
 */
bool breaker_record_send(struct breaker *breaker, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms);

/*
 * When the next probe may begin; SYNC_NO_DEADLINE while none is needed. patient asks for the probe
 * that waits long for its answer, which has its turn only after a quick one got none in time. An
 * open gate is probed only when nobody else hears of the gateway.
 */
int64_t breaker_probe_due(struct breaker *breaker, bool slow_probe);

/*
 * Takes the turn to probe, with a ticket to be given back; false when another thread was faster or
 * none is needed any more.
 */
bool breaker_begin_probe(
    struct breaker *breaker, bool slow_probe, int64_t now_ms, uint64_t *ticket);

/*
 * Notes how a probe ended. One that began before the gate was last opened, or last ceased to be
 * open, says nothing of now. Returns true when the view has changed.
 */
bool breaker_record_probe(struct breaker *breaker, bool slow_probe, uint64_t ticket,
    const struct gateway_result *result, int64_t now_ms);

/* Milliseconds for which the gate has been open since it was made: the clock of failing time. */
int64_t breaker_closed_ms(struct breaker *breaker, int64_t now_ms);

#endif
