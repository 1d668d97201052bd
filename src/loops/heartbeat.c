#include "loops/heartbeat.h"

#include <stdlib.h>

#include "base/clock.h"
#include "loops/loop.h"

struct heartbeat {
    struct heartbeat_parts parts;
    struct loop loop;
};

int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error)
{
    struct heartbeat *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the heartbeat scheduler");
    created->parts = *parts;
    loop_init(&created->loop);
    *heartbeat = created;
    return 0;
}

void heartbeat_destroy(struct heartbeat *heartbeat)
{
    if (heartbeat == NULL)
        return;
    loop_fini(&heartbeat->loop);
    free(heartbeat);
}

/*
 * While the gate is shut nobody is lined up: all would start at once when it opens. A suspect gate
 * is decided about in a moment, for which the queue holds them.
 */
static bool is_shut(const struct heartbeat *heartbeat)
{
    struct gate_view view;
    gateway_gate_look(heartbeat->parts.gate, &view);
    return view.state == GATE_SHUT;
}

static void put_off(struct heartbeat *heartbeat, const char *agent_id, int64_t now_ms)
{
    const struct heartbeat_parts *parts = &heartbeat->parts;
    metrics_add(&parts->stats->metrics, METRIC_HEARTBEATS, "put_off", NULL, 1);
    wake_schedule_put_off(parts->schedule, agent_id, now_ms);
}

/*
 * Those that were lined up before it shut. The poke comes after the shutting, so one that is lined
 * up meanwhile is found by the round after that.
 */
static void take_back(struct heartbeat *heartbeat, int64_t now_ms)
{
    char agent_id[ID_BYTES];
    while (is_shut(heartbeat) && send_queue_take_back_wake(heartbeat->parts.queue, agent_id))
        put_off(heartbeat, agent_id, now_ms);
}

static void wake(struct heartbeat *heartbeat, const char *agent_id, int64_t now_ms)
{
    if (is_shut(heartbeat) || !send_queue_wake(heartbeat->parts.queue, agent_id))
        put_off(heartbeat, agent_id, now_ms);
}

static void *run(void *argument)
{
    struct heartbeat *heartbeat = argument;
    char agent_id[ID_BYTES];
    int64_t next_ms;
    atomic_store(&heartbeat->parts.stats->heartbeat_running, true);
    do {
        int64_t now_ms = clock_monotonic_ms();
        take_back(heartbeat, now_ms);
        while (wake_schedule_take(heartbeat->parts.schedule, now_ms, agent_id, &next_ms))
            wake(heartbeat, agent_id, now_ms);
    } while (loop_wait(&heartbeat->loop, next_ms, 0));
    atomic_store(&heartbeat->parts.stats->heartbeat_running, false);
    return NULL;
}

int heartbeat_start(struct heartbeat *heartbeat, struct error *error)
{
    return loop_start(&heartbeat->loop, "mc-beat", run, heartbeat, error);
}

void heartbeat_poke(void *heartbeat)
{
    loop_poke(&((struct heartbeat *)heartbeat)->loop);
}

bool heartbeat_is_alive(struct heartbeat *heartbeat, int64_t now_ms)
{
    return loop_is_alive(&heartbeat->loop, now_ms);
}

void heartbeat_stop(struct heartbeat *heartbeat)
{
    loop_end(&heartbeat->loop);
}
