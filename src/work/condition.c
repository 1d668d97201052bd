#include "work/condition.h"

bool condition_of(
    const struct gate_view *gate, long long last_poll_ms, unsigned poll_failures, bool spool_broken)
{
    return gate->state == GATE_OPEN && !gate->trickle && last_poll_ms != 0 && poll_failures == 0 &&
           !spool_broken;
}

bool condition_is_good(struct stats *stats, struct gateway_gate *gate)
{
    struct gate_view view;
    gateway_gate_look(gate, &view);
    return condition_of(&view, atomic_load(&stats->last_poll_ms),
        atomic_load(&stats->consecutive_poll_failures), atomic_load(&stats->spool_broken));
}

bool condition_is_known(struct stats *stats, struct gateway_gate *gate)
{
    struct gate_view view;
    gateway_gate_look(gate, &view);
    bool polled = atomic_load(&stats->last_poll_ms) != 0 ||
                  atomic_load(&stats->consecutive_poll_failures) != 0;
    return view.state != GATE_SUSPECT && polled;
}
