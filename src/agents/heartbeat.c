/*
 * A wake-up on its way from the schedule through the queue and back:
 *
 *     schedule --due--> queue --worker--> gateway --> backend ("online") --> schedule
 *        ^                |
 *        +---postponed----+
 *
 * The thread mc-beat moves agents that are due from the schedule to the send queue, as entries of
 * kind ENTRY_WAKE. A worker takes the entry, asks the agent through the gateway to check for work,
 * and tells the backend that the agent is online. Between leaving the schedule and being put back
 * the agent is in neither heap, so it can have at most one wake-up at a time.
 *
 * A wake-up is worth little an hour later, unlike a notification. While the circuit breaker is
 * open, those that fall due and those already queued are therefore postponed, each by a random
 * time; otherwise all of them would run at the moment it closes. breaker_control pokes this loop
 * after the breaker has opened, so a wake-up queued in between is withdrawn in the next round.
 * While the breaker is half-open nothing is postponed: a probe decides within seconds, and until
 * then the queue holds them.
 *
 * On v1 of the backend the agent is told of its tasks and may work on them (delivery/wake_v1.c), in
 * the session that the backend keeps for it outside of tasks. An agent whose slug is not usable
 * there is not woken: its turn passes.
 *
 * Deliveries come first in an agent's lane, until its wake-up has waited for half of its interval
 * (send_queue.c). While it waits, a delivery reports the agent as online in its place.
 *
 * Everything in struct heartbeat is constant while threads run; the schedule, the queue, the
 * breaker, the gate and the round of follow-ups have their own locks.
 */
#include "agents/agents.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/prompt.h"
#include "delivery/reply.h"
#include "delivery/session_key.h"
#include "delivery/wake_v1.h"
#include "delivery/worker_pool.h"

static const char component[] = "Heartbeat";

struct heartbeat {
    struct heartbeat_parts parts;
    struct loop loop;
    struct wake_gate gate; /* of wake-ups on v1 */
    struct follow_up_round follow_ups;
};

static void count_wake(const struct heartbeat *heartbeat, const char *outcome)
{
    metrics_add(&heartbeat->parts.stats->metrics, METRIC_HEARTBEATS, outcome, NULL, 1);
}

static void postpone_wake(const struct heartbeat *heartbeat, const char *agent_id)
{
    count_wake(heartbeat, "put_off");
    wake_schedule_postpone(heartbeat->parts.schedule, agent_id, clock_monotonic_ms());
}

static bool is_breaker_open(const struct heartbeat *heartbeat)
{
    struct breaker_view view;
    breaker_snapshot(heartbeat->parts.control->breaker, &view);
    return view.state == BREAKER_OPEN;
}

static void withdraw_queued_wakes(struct heartbeat *heartbeat)
{
    char agent_id[ID_BYTES];
    while (is_breaker_open(heartbeat) && send_queue_withdraw_wake(heartbeat->parts.queue, agent_id))
        postpone_wake(heartbeat, agent_id);
}

/*
 * With the interval that passes before a wake-up is due, and its jitter, half an interval of
 * waiting for deliveries keeps an agent within two intervals.
 */
static void queue_due_wake(struct heartbeat *heartbeat, const char *agent_id)
{
    struct agent agent = {0};
    wake_schedule_find(heartbeat->parts.schedule, agent_id, &agent);
    int64_t max_wait_ms = agent.heartbeat_interval_ms / 2;
    if (is_breaker_open(heartbeat) ||
        !send_queue_wake(heartbeat->parts.queue, agent_id, max_wait_ms))
        postpone_wake(heartbeat, agent_id);
}

static void *heartbeat_thread(void *owner)
{
    struct heartbeat *heartbeat = owner;
    char agent_id[ID_BYTES];
    int64_t next_ms;
    atomic_store(&heartbeat->parts.stats->heartbeat_running, true);
    do {
        /* One time for the whole round: agents put back meanwhile are due after it. */
        int64_t now_ms = clock_monotonic_ms();
        withdraw_queued_wakes(heartbeat);
        while (wake_schedule_take(heartbeat->parts.schedule, now_ms, agent_id, &next_ms))
            queue_due_wake(heartbeat, agent_id);
    } while (loop_wait(&heartbeat->loop, next_ms, 0));
    atomic_store(&heartbeat->parts.stats->heartbeat_running, false);
    return NULL;
}

int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error)
{
    struct heartbeat *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the heartbeat scheduler");
    created->parts = *parts;
    loop_init(&created->loop, "mc-beat", heartbeat_thread, created);
    wake_gate_init(&created->gate);
    follow_up_round_init(&created->follow_ups);
    *heartbeat = created;
    return 0;
}

void heartbeat_destroy(struct heartbeat *heartbeat)
{
    if (heartbeat == NULL)
        return;
    loop_fini(&heartbeat->loop);
    wake_gate_fini(&heartbeat->gate);
    follow_up_round_fini(&heartbeat->follow_ups);
    free(heartbeat);
}

struct loop *heartbeat_loop(struct heartbeat *heartbeat)
{
    return &heartbeat->loop;
}

/* what: "woken" or "reported as online". */
static void record_wake_failure(const struct heartbeat *heartbeat, const char *what,
    const struct agent *agent, const struct trace *trace, const struct error *error)
{
    stats_wake_failed(heartbeat->parts.stats, error->text);
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("agent", agent->slug), LOG_TEXT("trace", trace->id)),
        "%s could not be %s: %s", agent->name, what, error->text);
}

/* task_id: the task that it is at work on, "" for none. Returns whether the backend knows now. */
static bool report_agent_online(const struct heartbeat *heartbeat, struct http_client *client,
    const struct agent *agent, const char *task_id, const struct trace *trace)
{
    const struct service service = {
        .convex = heartbeat->parts.convex,
        .client = client,
        .trace = trace,
        .abort = heartbeat->parts.stopping,
    };
    struct error error;
    enum convex_outcome outcome = service_report_agent_online(&service, agent->id, task_id, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED) {
        count_wake(heartbeat, "report_failed");
        record_wake_failure(heartbeat, "reported as online", agent, trace, &error);
    }
    return outcome == CONVEX_SUCCESS;
}

/* Turns an error that the gateway sent as the agent's words into a failed run. */
static void check_wake_reply(enum gateway_generation generation, struct gateway_result *result)
{
    const struct reply_context context = {
        .is_wake_up = true,
        .incomplete = result->incomplete,
        .generation = generation,
    };
    struct reply reply;
    if (result->outcome != GATEWAY_REPLIED ||
        reply_read(result->body, &context, &reply, &result->error) != 0)
        return;
    if (reply.kind == REPLY_PROVIDER_ERROR) {
        result->outcome = GATEWAY_FAILED_RUN;
        error_set(&result->error, ERROR_REMOTE,
            "the gateway passed on an error of its model provider as the agent's words");
    }
    free(reply.text);
}

/* Returns whether the agent is to be reported as online. */
static bool record_wake_result(const struct heartbeat *heartbeat, const struct agent *agent,
    const struct trace *trace, const struct gateway_result *result)
{
    struct stats *stats = heartbeat->parts.stats;
    if (result->outcome == GATEWAY_ABORTED) {
        count_wake(heartbeat, "aborted");
        return false;
    }
    wake_schedule_record_wake(
        heartbeat->parts.schedule, agent->id, result->outcome == GATEWAY_REPLIED);
    stats_send_ended(stats, result->outcome == GATEWAY_REPLIED ? NULL : result->error.text);
    if (result->outcome != GATEWAY_REPLIED) {
        count_wake(heartbeat, "failed");
        record_wake_failure(heartbeat, "woken", agent, trace, &result->error);
        return false;
    }
    count_wake(heartbeat, "woken");
    log_event(LOG_LEVEL_DEBUG, component,
        LOG_FIELDS(LOG_TEXT("agent", agent->slug), LOG_TEXT("trace", trace->id)), "woke %s",
        agent->name);
    return true;
}

/* Postpones it when the queue does not let it go out now: sends are held, or it is closed. */
static enum wake_end send_wake(const struct heartbeat *heartbeat, struct http_client *client,
    struct entry *entry, const struct agent *agent, const struct agent_address *address,
    struct text *input)
{
    const struct heartbeat_parts *parts = &heartbeat->parts;
    const struct gateway_message message = {
        .session_key = address->session_key.data,
        .agent_slug = address->agent_slug,
        .input = input,
        .timeout_ms = parts->config->gateway_timeout_ms,
        .trace = &entry->work.trace,
    };
    struct gateway_result result;
    if (!send_queue_advance(parts->queue, entry, STAGE_SENDING))
        return WAKE_POSTPONED;
    gateway_send(parts->gateway, client, &message, &result);
    check_wake_reply(address->generation, &result);
    if (breaker_record_send(
            parts->control->breaker, entry->queue.ticket, NULL, &result, clock_monotonic_ms()))
        breaker_control_apply(parts->control);
    if (result.outcome == GATEWAY_BUSY)
        entry->work.lane_pause_ms = result.retry_after_ms;
    /* One that failed holds up nothing that people wait for. */
    if (result.outcome == GATEWAY_REPLIED)
        entry->work.run_end = RUN_END_REPLIED;
    bool answered = record_wake_result(heartbeat, agent, &entry->work.trace, &result);
    json_decref(result.body);
    return answered ? WAKE_ANSWERED : WAKE_DONE;
}

static enum wake_end wake_agent_v0(const struct heartbeat *heartbeat, struct http_client *client,
    struct entry *entry, const struct agent *agent)
{
    struct agent_address address;
    struct text input = {0};
    bool complete = session_address_make(&address, heartbeat->parts.config, heartbeat->parts.roster,
        agent->version, agent->slug, agent->session_key);
    prompt_build_heartbeat(clock_wall_ms(), &input);
    enum wake_end end = WAKE_POSTPONED;
    if (address.unusable)
        end = WAKE_UNUSABLE;
    else if (complete && !input.failed)
        end = send_wake(heartbeat, client, entry, agent, &address, &input);
    text_fini(&address.session_key);
    text_fini(&input);
    return end;
}

static bool find_listed_agent(void *schedule, const char *id, struct agent *agent)
{
    return wake_schedule_find(schedule, id, agent);
}

/* task_id becomes the task that the agent has written about. */
static enum wake_end wake_agent_v1(struct heartbeat *heartbeat, struct http_client *client,
    struct entry *entry, const struct agent *agent, char task_id[static ID_BYTES])
{
    struct wake_v1 wake = {
        .delivery = heartbeat->parts.delivery,
        .gate = &heartbeat->gate,
        .follow_ups = &heartbeat->follow_ups,
        .agent = agent,
        .find_agent = find_listed_agent,
        .find_context = heartbeat->parts.schedule,
    };
    enum wake_end end = wake_v1_run(&wake, client, entry);
    text_copy(task_id, ID_BYTES, wake.task_id);
    if (wake.was_asked)
        record_wake_result(heartbeat, agent, &entry->work.trace, &wake.result);
    return end;
}

/* Fills in *agent unless the wake-up is done because the account no longer has the agent. */
static enum wake_end wake_agent(struct heartbeat *heartbeat, struct http_client *client,
    struct entry *entry, struct agent *agent, char task_id[static ID_BYTES])
{
    /* The list may have changed since the entry was queued; an agent that is gone is done with. */
    if (!wake_schedule_find(heartbeat->parts.schedule, entry->agent_id, agent))
        return WAKE_DONE;
    text_copy(entry->work.agent_slug, sizeof entry->work.agent_slug, agent->slug);
    bool is_v1 = agent->version == BACKEND_V1 &&
                 convex_likely_version(heartbeat->parts.convex) == BACKEND_V1;
    return is_v1 ? wake_agent_v1(heartbeat, client, entry, agent, task_id)
                 : wake_agent_v0(heartbeat, client, entry, agent);
}

void heartbeat_run_wake(void *context, struct http_client *client, struct entry *entry)
{
    struct heartbeat *heartbeat = context;
    const struct heartbeat_parts *parts = &heartbeat->parts;
    char agent_id[ID_BYTES];
    char task_id[ID_BYTES] = "";
    struct agent agent;
    text_copy(agent_id, sizeof agent_id, entry->agent_id);
    trace_begin(&entry->work.trace);
    const struct trace trace = entry->work.trace;
    enum wake_end end = wake_agent(heartbeat, client, entry, &agent, task_id);
    /* An agent that could be in another's session is not asked; mc-agents has logged it. */
    if (end == WAKE_UNUSABLE)
        count_wake(heartbeat, "unusable_slug");
    /* First the queue, then the schedule: the queue refuses a second wake-up of an agent. */
    send_queue_finish(parts->queue, entry, STAGE_SETTLED, 0);
    if (end == WAKE_POSTPONED)
        postpone_wake(heartbeat, agent_id);
    else
        wake_schedule_done(parts->schedule, agent_id, clock_monotonic_ms());
    loop_poke(&heartbeat->loop);
    /* Last, as it may block: neither the agent's lane nor its next wake-up waits for it. */
    if (end == WAKE_ANSWERED && report_agent_online(heartbeat, client, &agent, task_id, &trace))
        wake_schedule_record_online(parts->schedule, agent_id, clock_monotonic_ms());
}

void heartbeat_after_delivery(
    void *context, struct http_client *client, const char *agent_id, const struct trace *trace)
{
    const struct heartbeat *heartbeat = context;
    struct agent agent;
    if (wake_schedule_owes_report(
            heartbeat->parts.schedule, agent_id, clock_monotonic_ms(), &agent))
        report_agent_online(heartbeat, client, &agent, "", trace);
}
