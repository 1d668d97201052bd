#include "work/wake.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/activity.h"
#include "work/prompt.h"

static const char component[] = "Heartbeat";

enum wake_end { WAKE_DONE, WAKE_PUT_OFF };

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
        wake_schedule_is_online(wake->schedule, agent->id, clock_monotonic_ms());
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
    const struct agent *agent, const struct address *address, const struct text *input)
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
    uint64_t ticket = gateway_gate_ticket(wake->keeper->gate);
    if (!send_queue_advance(wake->queue, entry, STAGE_SENDING))
        return WAKE_PUT_OFF;
    gateway_send(wake->gateway, client, &message, &result);
    gatekeeper_note_send(wake->keeper, ticket, agent->id, &result);
    after_send(wake, client, agent, &entry->trace, &result);
    gateway_result_fini(&result);
    return WAKE_DONE;
}

static enum wake_end wake_agent(
    const struct wake *wake, struct http_client *client, struct entry *entry)
{
    struct agent agent;
    struct address address;
    struct text input = {0};
    if (!wake_schedule_find(wake->schedule, entry->agent_id, &agent))
        return WAKE_DONE;
    activity_name_agent(entry->activity, agent.slug);
    bool complete = address_of(&address, &wake->directory, agent.slug, agent.session_key);
    prompt_build_heartbeat(clock_wall_ms(), &input);
    enum wake_end end = WAKE_PUT_OFF;
    if (complete && !input.failed)
        end = post(wake, client, entry, &agent, &address, &input);
    address_fini(&address);
    text_fini(&input);
    return end;
}

static void put_off(const struct wake *wake, const char *id)
{
    count(wake, "put_off");
    wake_schedule_put_off(wake->schedule, id, clock_monotonic_ms());
}

void wake_run(const struct wake *wake, struct http_client *client, struct entry *entry)
{
    const struct finish finish = {.stage = STAGE_SETTLED};
    char id[ID_BYTES];
    text_copy(id, sizeof id, entry->agent_id);
    trace_begin(&entry->trace);
    enum wake_end end = wake_agent(wake, client, entry);
    /* The queue's slot is free before the schedule can want it again. */
    send_queue_finish(wake->queue, entry, &finish);
    if (end == WAKE_DONE)
        wake_schedule_done(wake->schedule, id, clock_monotonic_ms());
    else
        put_off(wake, id);
    wake->ask_for_look(wake->look_context);
}

void wake_note_delivery(const struct wake *wake, struct http_client *client, const char *agent_id,
    const struct trace *trace)
{
    struct agent agent;
    if (wake_schedule_owes_report(wake->schedule, agent_id, clock_monotonic_ms()) &&
        wake_schedule_find(wake->schedule, agent_id, &agent))
        report_online(wake, client, &agent, trace);
}
