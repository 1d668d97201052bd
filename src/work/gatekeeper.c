#include "work/gatekeeper.h"

#include "base/clock.h"
#include "base/log.h"

static const char component[] = "Gateway";

static struct send_flow flow_of(const struct gate_view *view)
{
    return (struct send_flow){
        .version = view->version,
        .held = view->state != GATE_OPEN,
        .trickle = view->trickle,
        .next_send_ms = view->next_send_ms,
    };
}

static void say(const struct gate_view *view)
{
    int64_t wait_ms = view->next_send_ms - clock_monotonic_ms();
    if (view->state == GATE_SHUT)
        log_error(component, "No agent is asked for now: %s", view->reason);
    else if (view->state == GATE_SUSPECT)
        log_debug(component, "Being probed: %s", view->reason);
    else if (view->trickle)
        log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_NUMBER("next_send_ms", wait_ms)),
            "One agent is asked at a time: %s", view->reason);
    else
        log_info(component, "The gateway answers: agents can be asked");
}

static void carry_on(const struct gatekeeper *keeper)
{
    struct gate_view view;
    gateway_gate_look(keeper->gate, &view);
    const struct send_flow flow = flow_of(&view);
    send_queue_set_flow(keeper->queue, &flow);
    say(&view);
    stats_changed(keeper->stats);
    if (view.state != GATE_OPEN)
        keeper->ask_for_probe(keeper->probe_context);
    if (view.state == GATE_SHUT && keeper->on_shut != NULL)
        keeper->on_shut(keeper->shut_context);
}

void gatekeeper_apply(const struct gatekeeper *keeper)
{
    struct gate_view view;
    gateway_gate_look(keeper->gate, &view);
    const struct send_flow flow = flow_of(&view);
    send_queue_set_flow(keeper->queue, &flow);
}

void gatekeeper_hold_by_hand(const struct gatekeeper *keeper, bool held)
{
    send_queue_hold(keeper->queue, held);
    atomic_store(&keeper->stats->held_by_hand, held);
    log_info(component, held ? "Sends are held by hand: no agent is asked until they are released"
                             : "Sends are no longer held by hand");
}

void gatekeeper_note_send(const struct gatekeeper *keeper, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result)
{
    if (gateway_gate_note_send(keeper->gate, ticket, agent_id, result, clock_monotonic_ms()))
        carry_on(keeper);
}

void gatekeeper_note_probe(const struct gatekeeper *keeper, bool patient, uint64_t ticket,
    const struct gateway_result *result)
{
    if (gateway_gate_note_probe(keeper->gate, patient, ticket, result, clock_monotonic_ms()))
        carry_on(keeper);
}
