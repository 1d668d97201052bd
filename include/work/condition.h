/* Whether the runtime does its work: the one judgement behind /health and the reports. */
#ifndef WORK_CONDITION_H
#define WORK_CONDITION_H

#include <stdbool.h>

#include "base/stats.h"
#include "remote/gateway_gate.h"

/*
 * True while the gate is open, and not for one send at a time, the last poll worked and so did the
 * last write to the spool. Before the first poll it is false. Any thread; a short lock.
 */
bool condition_is_good(struct stats *stats, struct gateway_gate *gate);

/* The same of what was read already; last_poll_ms is 0 before the first poll that worked. Pure. */
bool condition_of(const struct gate_view *gate, long long last_poll_ms, unsigned poll_failures,
    bool spool_broken);

/* Whether the first probe and the first poll have ended, well or not. Any thread; a short lock. */
bool condition_is_known(struct stats *stats, struct gateway_gate *gate);

#endif
