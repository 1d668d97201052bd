#include "loops/roll_call.h"

#include "base/clock.h"

const char *roll_call_find_stuck(void *roll_call)
{
    const struct roll_call *all = roll_call;
    int64_t now_ms = clock_monotonic_ms();
    if (!delivery_poller_is_alive(all->poller, now_ms))
        return "mc-poll does not show up";
    if (!gateway_prober_is_alive(all->prober, now_ms))
        return "mc-probe does not show up";
    if (!heartbeat_is_alive(all->heartbeat, now_ms))
        return "mc-beat does not show up";
    if (!agent_sync_is_alive(all->agents, now_ms))
        return "mc-agents does not show up";
    return reporter_is_alive(all->reporter, now_ms) ? NULL : "mc-report does not show up";
}
