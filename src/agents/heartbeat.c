#include <stdlib.h>

#include "agents/agents.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/sync.h"
#include "delivery/entry.h"
#include "delivery/prompt.h"

struct heartbeat {
    struct heartbeat_parts parts;
    struct loop loop;
};

/*
 * While the gate is shut nobody is lined up: all would start at once when it opens. A suspect gate
 * is decided about in a moment, for which the queue holds them.
 */
static bool is_shut(const struct heartbeat *heartbeat)
{
    struct breaker_view view;
    breaker_snapshot(heartbeat->parts.breaker, &view);
    return view.state == BREAKER_OPEN;
}

static void postpone_wake(struct heartbeat *heartbeat, const char *agent_id, int64_t now_ms)
{
    const struct heartbeat_parts *parts = &heartbeat->parts;
    metrics_add(&parts->stats->metrics, METRIC_HEARTBEATS, "put_off", NULL, 1);
    wake_schedule_postpone(parts->schedule, agent_id, now_ms);
}

/*
 * Those that were lined up before it shut. The poke comes after the shutting, so one that is lined
 * up meanwhile is found by the round after that.
 */
static void take_back(struct heartbeat *heartbeat, int64_t now_ms)
{
    char agent_id[ID_BYTES];
    while (is_shut(heartbeat) && send_queue_withdraw_wake(heartbeat->parts.queue, agent_id))
        postpone_wake(heartbeat, agent_id, now_ms);
}

static void wake(struct heartbeat *heartbeat, const char *agent_id, int64_t now_ms)
{
    if (is_shut(heartbeat) || !send_queue_wake(heartbeat->parts.queue, agent_id))
        postpone_wake(heartbeat, agent_id, now_ms);
}

static void *heartbeat_thread(void *owner)
{
    struct heartbeat *heartbeat = owner;
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

int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error)
{
    struct heartbeat *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the heartbeat scheduler");
    created->parts = *parts;
    loop_init(&created->loop, "mc-beat", heartbeat_thread, created);
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

struct loop *heartbeat_loop(struct heartbeat *heartbeat)
{
    return &heartbeat->loop;
}

static const char component[] = "Heartbeat";

enum wake_end { WAKE_DONE, WAKE_POSTPONED };

static void count(const struct wake *wake, const char *outcome)
{
    metrics_add(&wake->stats->metrics, METRIC_HEARTBEATS, outcome, NULL, 1);
}

static void failed(const struct wake *wake, const struct agent *agent, const struct trace *trace,
    const char *outcome, const struct error *error)
{
    count(wake, outcome);
    stats_wake_failed(wake->stats, error->text);
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("agent", agent->slug), LOG_TEXT("trace", trace->id)),
        "Failed for %s : %s", agent->name, error->text);
}

static void report_online(const struct wake *wake, struct http_client *client,
    const struct agent *agent, const struct trace *trace)
{
    const struct service service = {.convex = wake->convex, .client = client, .trace = trace};
    struct error error;
    enum convex_outcome outcome = service_agent_is_online(&service, agent->id, &error);
    if (outcome == CONVEX_SUCCESS)
        wake_schedule_record_online(wake->schedule, agent->id, clock_monotonic_ms());
    else if (outcome != CONVEX_ABORTED)
        failed(wake, agent, trace, "report_failed", &error);
}

static void after_send(const struct wake *wake, struct http_client *client,
    const struct agent *agent, const struct trace *trace, const struct gateway_result *result)
{
    if (result->outcome == GATEWAY_ABORTED) {
        count(wake, "aborted");
        return;
    }
    stats_send_ended(wake->stats, result->outcome == GATEWAY_REPLIED ? NULL : result->error.text);
    if (result->outcome != GATEWAY_REPLIED) {
        failed(wake, agent, trace, "failed", &result->error);
        return;
    }
    count(wake, "woken");
    log_event(LOG_LEVEL_DEBUG, component,
        LOG_FIELDS(LOG_TEXT("agent", agent->slug), LOG_TEXT("trace", trace->id)), "Woke %s",
        agent->name);
    report_online(wake, client, agent, trace);
}

static enum wake_end post(const struct wake *wake, struct http_client *client, struct entry *entry,
    const struct agent *agent, const struct agent_address *address, const struct text *input)
{
    const struct gateway_message message = {
        .session_key = address->session_key.data,
        .agent_slug = address->agent_slug,
        .input = input->data,
        .input_bytes = input->length_bytes,
        .timeout_ms = wake->config->gateway_timeout_ms,
        .trace = &entry->trace,
    };
    struct gateway_result result;
    uint64_t ticket = breaker_ticket(wake->control->breaker);
    if (!send_queue_advance(wake->queue, entry, STAGE_SENDING))
        return WAKE_POSTPONED;
    gateway_send(wake->gateway, client, &message, &result);
    breaker_control_record_send(wake->control, ticket, agent->id, &result);
    after_send(wake, client, agent, &entry->trace, &result);
    gateway_result_fini(&result);
    return WAKE_DONE;
}

static enum wake_end wake_agent(
    const struct wake *wake, struct http_client *client, struct entry *entry)
{
    struct agent agent;
    struct agent_address address;
    struct text input = {0};
    if (!wake_schedule_find(wake->schedule, entry->agent_id, &agent))
        return WAKE_DONE;
    activity_name_agent(entry->activity, agent.slug);
    bool complete = agent_address_make(&address, &wake->router, agent.slug, agent.session_key);
    prompt_build_heartbeat(clock_wall_ms(), &input);
    enum wake_end end = WAKE_POSTPONED;
    if (complete && !input.failed)
        end = post(wake, client, entry, &agent, &address, &input);
    agent_address_fini(&address);
    text_fini(&input);
    return end;
}

static void postpone_agent(const struct wake *wake, const char *id)
{
    count(wake, "put_off");
    wake_schedule_postpone(wake->schedule, id, clock_monotonic_ms());
}

void wake_run(const struct wake *wake, struct http_client *client, struct entry *entry)
{
    char id[ID_BYTES];
    text_copy(id, sizeof id, entry->agent_id);
    trace_begin(&entry->trace);
    enum wake_end end = wake_agent(wake, client, entry);
    /* The queue's slot is free before the schedule can want it again. */
    send_queue_finish(wake->queue, entry, STAGE_SETTLED, 0);
    if (end == WAKE_DONE)
        wake_schedule_done(wake->schedule, id, clock_monotonic_ms());
    else
        postpone_agent(wake, id);
    loop_poke(wake->heartbeat);
}

void wake_report_busy_agent(const struct wake *wake, struct http_client *client,
    const char *agent_id, const struct trace *trace)
{
    struct agent agent;
    if (wake_schedule_owes_report(wake->schedule, agent_id, clock_monotonic_ms()) &&
        wake_schedule_find(wake->schedule, agent_id, &agent))
        report_online(wake, client, &agent, trace);
}
