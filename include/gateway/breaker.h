/*
 * The circuit breaker for the gateway: judges from the results of sends and probes whether agents
 * can be asked (docs/architecture.md, "The circuit breaker"). A pure state machine behind a lock.
 */
#ifndef GATEWAY_BREAKER_H
#define GATEWAY_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/gateway.h"

enum breaker_state {
    BREAKER_CLOSED,    /* agents may be asked */
    BREAKER_HALF_OPEN, /* an outage is suspected; no sends, a probe decides */
    BREAKER_OPEN,      /* an outage is known; no sends until a probe is answered */
};

enum { BREAKER_REASON_BYTES = 512 };

/* A snapshot of the breaker. */
struct breaker_view {
    uint64_t version; /* grows with every change of the fields below, or of the token */
    enum breaker_state state;
    bool limited;     /* few sends at a time: the model provider is in trouble */
    int64_t since_ms; /* when the state began (monotonic) */
    /* Why the circuit is not closed, or why limited, and what to check; "" otherwise. */
    char reason[BREAKER_REASON_BYTES];
};

struct breaker;

struct breaker_settings {
    bool enabled;          /* false: open for good, no probes */
    const char *url;       /* the gateway's, quoted in reasons; outlives the breaker */
    int64_t idle_probe_ms; /* closed and no answer for this long: probe */
};

/*
 * Creates a breaker, half-open until a probe closes it. The caller destroys it after its last use.
 * ERROR_NO_MEMORY.
 */
int breaker_create(struct breaker **breaker, const struct breaker_settings *settings,
    int64_t now_ms, struct error *error);
void breaker_destroy(struct breaker *breaker);

/*
 * Everything below may be called from any thread, takes the breaker's lock briefly where nothing
 * else is said, and does not block. now_ms is monotonic.
 */

/* Copies the present state to *view. */
void breaker_snapshot(struct breaker *breaker, struct breaker_view *view);

/*
 * The state as published in /health, /status and the metrics: "open" (closed circuit), "trickle"
 * (closed, limited), "suspect" (half-open) or "shut" (open). Pure.
 */
const char *breaker_view_word(const struct breaker_view *view);

/*
 * Records how a send to agent_id ended; NULL for a wake-up, whose failed run is no sign of trouble
 * with the model provider. ticket: version of the view that allowed the send. If it is no longer
 * the present one only a reply counts: it ends the limit. Returns whether the view has changed.
 */
bool breaker_record_send(struct breaker *breaker, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms);

/*
 * When the next probe is due; SYNC_NO_DEADLINE while none is needed. While the circuit is closed a
 * probe is due only if no send has got an answer for idle_probe_ms.
 */
int64_t breaker_probe_due(struct breaker *breaker);

struct breaker_probe {
    uint64_t ticket;    /* for breaker_record_probe */
    int64_t timeout_ms; /* 1.5 s to 15 s, longer after probes that got no answer in time */
};

/* Begins the probe that is due and fills *probe; false when none is. One thread only. */
bool breaker_begin_probe(struct breaker *breaker, int64_t now_ms, struct breaker_probe *probe);

/*
 * Records how a probe ended; ignored if the circuit has closed, or ceased to be closed, the token
 * has changed, or breaker_suspect was called since the ticket was taken. Returns whether the view
 * has changed.
 */
bool breaker_record_probe(
    struct breaker *breaker, uint64_t ticket, const struct gateway_result *result, int64_t now_ms);

/*
 * The gateway is in doubt for that reason: a closed circuit becomes half-open, a probe in flight no
 * longer counts, and the next one is due at once, unless the token is refused. is_new: it is a new
 * process, which has forgotten what it refused. Returns whether the view has changed.
 */
bool breaker_suspect(struct breaker *breaker, const char *reason, bool is_new, int64_t now_ms);

/* The gateway's token has been exchanged: a refused one is tried again at once. */
void breaker_token_changed(struct breaker *breaker, int64_t now_ms);

/*
 * Whether the gateway's latest answer refused the token. It locks out an address that keeps trying,
 * so meanwhile only the prober should send requests.
 */
bool breaker_token_is_refused(struct breaker *breaker);

/* Total milliseconds in which the circuit was closed: the clock for DELIVERY_GIVE_UP_AFTER_MS. */
int64_t breaker_closed_ms(struct breaker *breaker, int64_t now_ms);

#endif
