/*
 * Carrying out the calls of tools that an agent has answered with, one after the other:
 *
 *   waiting --record--> started --carry out--> answered      a call that changes something
 *   waiting --carry out--> answered                          one that only reads
 *
 * A call that changes something is made at most once, whatever happens. It is on disk as started
 * before it is made; if that cannot be written it is not made, and the agent is told so. One that a
 * crash has left without a result is answered as interrupted, and one whose outcome the backend did
 * not tell with the same advice: look before you try again. A call that was certainly not carried
 * out loses the mark. One that adds something, and that an earlier try has made with the same
 * arguments, is not made again, either: the agent was told of it, but models do not always heed it.
 *
 * A round that was interrupted is resumed at its first call without a result, by this process or by
 * the next; the context is then read again, for the agent's rights and the instructions. What an
 * agent causes belongs to the chain of its notification (loop_guard.c), or agents that use tools
 * could keep each other busy without end.
 *
 * Runs on the worker that has the entry, and blocks for the backend and the disk. The shutdown ends
 * a round between two calls.
 */
#include "delivery/converse.h"

#include <stdlib.h>
#include <string.h>

#include "backend/backend_clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "delivery/delivery_v1.h"
#include "delivery/tool_rounds.h"

/* Dates tell seconds; and notifications may be made a moment after what they are about. */
enum { CLOCK_GRAIN_MS = 1000, NOTIFIED_LATE_MS = 3000 };

/* An agent that gets its results with less time left than this could not answer. */
enum { MIN_ANSWER_MS = 1000 };

/* Reads the context again for the rest of a run that was interrupted; STAGE_ACTING: go on. */
static enum entry_stage resume_talk(struct attempt *attempt)
{
    struct error error;
    struct delivery_context *context = &attempt->context;
    delivery_context_fini(context);
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, attempt->entry->item.id, context, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_ACTING, outcome, &error);
    bool has_ended =
        json_is_null(context->value) || (context->has_ended && !attempt->entry->work.answers_again);
    if (has_ended) {
        attempt_end(attempt, STAGE_SETTLED, OUTCOME_SKIPPED, REASON_ENDED_ELSEWHERE);
        return v1_settle_marked(attempt, context);
    }
    if (context->agent == NULL || context->task_is_gone)
        return attempt_end(attempt, STAGE_WRITTEN, OUTCOME_SKIPPED,
            context->agent == NULL ? REASON_AGENT_GONE : REASON_TASK_GONE);
    converse_ask_for_tools(attempt);
    v1_begin_typing(attempt);
    if (converse_prepare(attempt))
        return STAGE_ACTING;
    error_set(&error, ERROR_NO_MEMORY, "no memory to go on with the agent's tool calls");
    return attempt_retry(attempt, FAILURE_OTHER, STAGE_ACTING, &error);
}

bool converse_is_stopping(const struct attempt *attempt)
{
    const atomic_bool *stopping = attempt->delivery->stopping;
    return stopping != NULL && atomic_load(stopping);
}

/* Counts and logs a call that has been answered. */
static void report_call(const struct attempt *attempt, const struct tool *tool,
    const struct tool_result *result, int64_t duration_us)
{
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    const char *name = tool != NULL ? tool->name : "unknown";
    metrics_add(metrics, METRIC_TOOL_CALLS, name, tool_end_words[result->end], 1);
    metrics_observe(metrics, METRIC_TOOL_CALL, NULL, duration_us);
    log_event(result->end == TOOL_UNCERTAIN ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
        attempt->entry->kind == ENTRY_WAKE ? "Heartbeat" : "Delivery",
        ATTEMPT_FIELDS(attempt, LOG_TEXT("tool", name),
            LOG_TEXT("outcome", tool_end_words[result->end]),
            LOG_NUMBER("tool_ms", duration_us / 1000)),
        "%s called %s", attempt->entry->work.agent_slug, name);
}

/*
 * Makes sure that the spool knows what the next call needs it to know. False: the call may change
 * something and could not be recorded, so it must not be made.
 */
static bool record_call(
    struct attempt *attempt, const struct tool_request *request, bool changes, bool is_first)
{
    if (changes && !tool_request_start(request))
        return false;
    if (!changes && !is_first)
        return true;
    bool saved = journal_save_calls(&attempt->delivery->journal, attempt->entry, true);
    if (changes && !saved)
        tool_request_put_back(request);
    return saved || !changes;
}

/* Carries out one call. False: it was not, because of the shutdown. */
static bool carry_out(
    struct attempt *attempt, const struct tool_request *request, struct tool_result *result)
{
    const struct delivery *delivery = attempt->delivery;
    const struct tool *tool = tool_find(delivery->menu->catalog, request->name);
    const struct tool_call call = {
        .service = &attempt->service,
        .agent_id = attempt->entry->agent_id,
        .task_id = attempt->entry->work.task_id,
        .audience = attempt->talk.audience,
    };
    int64_t began_us = clock_monotonic_us();
    STOP_POINT("before_call");
    tool_run(delivery->menu->catalog, &call, request->name, request->arguments, result);
    STOP_POINT("after_call");
    if (result->end == TOOL_ABORTED)
        return false;
    report_call(attempt, tool, result, clock_monotonic_us() - began_us);
    return true;
}

static int64_t backend_now_ms(const struct attempt *attempt)
{
    return backend_clock_exact_ms(convex_clock(attempt->delivery->convex));
}

int64_t converse_effects_from_ms(const struct attempt *attempt)
{
    return backend_now_ms(attempt) - CLOCK_GRAIN_MS;
}

/* Notes that the agent has caused what that id names; ignores NULL and what is not an id. */
static void charge_effect(
    const struct attempt *attempt, const char *id, int64_t from_ms, int64_t until_ms)
{
    const struct tool_effect effect = {.id = id, .from_ms = from_ms, .until_ms = until_ms};
    if (id != NULL && id_is_valid(id))
        loop_guard_note_effect(attempt->delivery->guard, attempt->entry->item.id, &effect);
}

/*
 * What the agent caused counts as caused by it: what the result names, and the task, which is the
 * run's where the call names none. Notifications of it are looked for soon.
 */
void converse_charge_effects(const struct attempt *attempt, const char *arguments_json,
    const struct tool_result *result, int64_t from_ms)
{
    int64_t until_ms = backend_now_ms(attempt) + NOTIFIED_LATE_MS;
    json_t *arguments = NULL;
    json_guard_load(arguments_json, strlen(arguments_json), &arguments, NULL);
    const char *task_id = json_guard_string(arguments, "taskId");
    charge_effect(
        attempt, task_id != NULL ? task_id : attempt->entry->work.task_id, from_ms, until_ms);
    json_decref(arguments);
    charge_effect(attempt, json_guard_string(result->value, "taskId"), from_ms, until_ms);
    charge_effect(attempt, json_guard_string(result->value, "messageId"), from_ms, until_ms);
    const json_t *data = json_object_get(result->value, "data");
    size_t index;
    const json_t *id;
    json_array_foreach (json_object_get(data, "notificationIds"), index, id)
        charge_effect(attempt, json_string_value(id), from_ms, until_ms);
    /* Last: a poll that finds them must know whose they are. */
    attention_wake(attempt->delivery->attention);
}

/* A run before this one has made that call; its result is the answer to it. */
static bool answer_as_before(
    const struct attempt *attempt, const struct tool_request *request, json_t *earlier)
{
    log_event(LOG_LEVEL_INFO, attempt->entry->kind == ENTRY_WAKE ? "Heartbeat" : "Delivery",
        ATTEMPT_FIELDS(attempt, LOG_TEXT("tool", request->name)),
        "%s called %s as an earlier run of it did, and gets the result that it had then",
        attempt->entry->work.agent_slug, request->name);
    return tool_request_end_as(request, earlier);
}

/* Answers one call; false when the round has to wait. */
static bool answer_call(struct attempt *attempt, const struct tool_request *request, bool is_first)
{
    const struct tool *tool = tool_find(attempt->delivery->menu->catalog, request->name);
    bool changes = tool != NULL && tool->changes;
    struct tool_result result = {0};
    if (tool_request_was_started(request))
        return tool_request_end(request, NULL);
    if (converse_is_stopping(attempt))
        return false;
    json_t *earlier = tool != NULL && tool->adds
                          ? tool_rounds_find_earlier(attempt->entry->work.rounds, request)
                          : NULL;
    if (earlier != NULL)
        return answer_as_before(attempt, request, earlier);
    int64_t from_ms = converse_effects_from_ms(attempt);
    if (!record_call(attempt, request, changes, is_first)) {
        tool_fail(&result, TOOL_REFUSED, 503,
            "not carried out: the runtime cannot record it at the moment; try again later");
    } else if (!carry_out(attempt, request, &result)) {
        tool_request_put_back(request);
        json_decref(result.value);
        return false;
    }
    /* What was not asked of the backend has changed nothing. */
    if (result.end == TOOL_REFUSED || result.end == TOOL_UNAVAILABLE)
        tool_request_put_back(request);
    else if (changes)
        converse_charge_effects(attempt, request->arguments, &result, from_ms);
    bool ended = tool_request_end(request, result.value);
    if (changes)
        journal_save_calls(&attempt->delivery->journal, attempt->entry, false);
    STOP_POINT("after_result");
    return ended;
}

void converse_took_too_long(struct error *error)
{
    error_set(error, ERROR_TIMEOUT,
        "the agent's run with its tool calls took longer than DELIVERY_STREAM_TIMEOUT_MS allows");
}

/* The run has had all the time that it may have. */
static enum entry_stage rounds_took_too_long(struct attempt *attempt)
{
    struct gateway_result result = {.outcome = GATEWAY_FAILED_RUN, .timed_out = true};
    attempt->entry->work.run_end = RUN_END_FAILED;
    converse_took_too_long(&result.error);
    return attempt_send_failed(attempt, &result);
}

/* The rest of the round waits: for the next process, or for memory. */
static enum entry_stage leave_round(struct attempt *attempt)
{
    struct error error;
    if (converse_is_stopping(attempt)) {
        attempt->put_back = true;
        return STAGE_ACTING;
    }
    error_set(&error, ERROR_NO_MEMORY, "no memory for the results of the agent's tool calls");
    return attempt_retry(attempt, FAILURE_OTHER, STAGE_ACTING, &error);
}

static bool is_out_of_time(const struct attempt *attempt, int64_t needed_ms)
{
    return attempt->talk.deadline_ms - clock_monotonic_ms() <= needed_ms;
}

enum calls_end converse_answer_calls(struct attempt *attempt)
{
    struct tool_request request;
    struct entry *entry = attempt->entry;
    const struct journal *journal = &attempt->delivery->journal;
    bool is_first = true;
    for (; tool_rounds_next(entry->work.rounds, &request); is_first = false) {
        if (is_out_of_time(attempt, 0))
            return CALLS_OUT_OF_TIME;
        if (!answer_call(attempt, &request, is_first)) {
            /* The spool may not have any of them yet. */
            if (converse_is_stopping(attempt))
                journal_save_calls(journal, entry, true);
            return CALLS_LEFT;
        }
    }
    if (is_out_of_time(attempt, MIN_ANSWER_MS))
        return CALLS_OUT_OF_TIME;
    /* Here, so that nothing lies between the queue's permission and the request. */
    if (!tool_rounds_note_sent(entry->work.rounds, true))
        return CALLS_LEFT;
    journal_save_calls(journal, entry, false);
    return CALLS_ANSWERED;
}

enum entry_stage stage_acting(struct attempt *attempt)
{
    if (!attempt->talk.ready) {
        enum entry_stage next = resume_talk(attempt);
        if (next != STAGE_ACTING || attempt->delay_ms > 0 || attempt->put_back)
            return next;
    }
    switch (converse_answer_calls(attempt)) {
    case CALLS_ANSWERED:
        return STAGE_SENDING;
    case CALLS_OUT_OF_TIME:
        return rounds_took_too_long(attempt);
    case CALLS_LEFT:
        break;
    }
    return leave_round(attempt);
}
