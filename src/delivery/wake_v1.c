/*
 * A wake-up on v1, on the worker that has its entry:
 *
 *   board read --> asked --words--> posted --> tasks followed up (the orchestrator's)
 *                  |   ^
 *                calls results
 *                  v   |
 *                 carried out
 *
 * What is said and done in between is shared with deliveries (converse.c, acting.c). What differs
 * is that nobody waits for a wake-up: a run that fails is over, and the agent is woken again after
 * its interval.
 *
 * It still must not do anything twice. From its first call of a tool on a wake-up has a record in
 * the spool, under the agent's id, until it has ended. If the process dies, or the gateway does not
 * take the results, or the backend not the reply, the entry ends all the same, and the agent is due
 * again soon. That wake-up takes up the record (take_up_wake_record) before it does anything of its
 * own:
 *
 *   calls under way     those without a result are carried out, unless they were started; then the
 *                       results are sent
 *   results were sent   the run is over; the agent is asked anew, and told what it has changed
 *   a reply             it is posted, unless the thread has it already: it has no idempotency key,
 *                       so a post of which nothing is known is never repeated without looking
 *
 * A record with which another DELIVERY_MAX_RUNS wake-ups have come to nothing is dropped; no call
 * of it is ever made again.
 */
#include "delivery/wake_v1.h"

#include <stdlib.h>

#include "backend/backend_clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "delivery/converse.h"
#include "delivery/delivery_v1.h"
#include "delivery/session_key.h"
#include "delivery/tool_rounds.h"
#include "delivery/wake_board.h"
#include "prompt/wake_input.h"

static const char component[] = "Heartbeat";

enum {
    MAX_FOLLOW_UPS = 3,
    MESSAGES_TO_SEARCH = 200,
    CLOCK_MARGIN_MS = 5000, /* by which our idea of the backend's clock may be wrong */
};

struct waking {
    struct wake_v1 *wake;
    struct attempt attempt;
    struct wake_board board;
    struct reply reply; /* of the last answer, if it has no calls; owned */
    bool had_tools;     /* offered with the last request */
    unsigned requested; /* responses that the agent has asked for itself */
};

static void count_wake_message(const struct waking *waking, const char *outcome)
{
    metrics_add(
        &waking->wake->delivery->stats->metrics, METRIC_HEARTBEAT_MESSAGES, outcome, NULL, 1);
}

/* The record. */

/* There is nothing to go on with. */
static void drop_wake_record(struct waking *waking)
{
    struct entry *entry = waking->attempt.entry;
    json_decref(entry->work.rounds);
    entry->work.rounds = NULL;
    free(entry->work.reply);
    entry->work.reply = NULL;
    entry->work.runs = 0;
    journal_close(&waking->wake->delivery->journal, entry);
}

/* False when there may be one that cannot be read now. */
static bool take_up_wake_record(struct waking *waking)
{
    struct error error;
    const struct delivery *delivery = waking->wake->delivery;
    struct entry *entry = waking->attempt.entry;
    if (journal_load_wake(&delivery->journal, entry, &error) != 0) {
        log_event(LOG_LEVEL_WARN, component,
            LOG_FIELDS(LOG_TEXT("agent", waking->wake->agent->slug)),
            "%s is not woken: what its last wake-up has left cannot be read: %s",
            waking->wake->agent->name, error.text);
        return false;
    }
    bool is_spent =
        entry->work.record == RECORD_RUN && entry->work.runs > delivery->config->delivery_max_runs;
    if (!is_spent)
        return true;
    log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_TEXT("agent", waking->wake->agent->slug)),
        "giving up on the interrupted tool calls of %s after %u wake-ups",
        waking->wake->agent->name, entry->work.runs);
    /* What they have changed it is told once more, or it would change that again. */
    if (!tool_rounds_are_under_way(entry->work.rounds))
        drop_wake_record(waking);
    else if (!tool_rounds_end_try(entry->work.rounds))
        return false;
    return true;
}

/* The run is over without an answer: what it has changed is told in the next one. */
static void end_wake_try(struct waking *waking)
{
    struct entry *entry = waking->attempt.entry;
    if (tool_rounds_count(entry->work.rounds) == 0)
        return;
    if (tool_rounds_end_try(entry->work.rounds) && tool_rounds_before(entry->work.rounds) != NULL)
        journal_save_calls(&waking->wake->delivery->journal, entry, true);
    else
        drop_wake_record(waking);
}

/* What was about to be sent certainly was not. With calls of tools it is sent soon. */
static enum wake_end withdraw_wake(struct waking *waking)
{
    struct entry *entry = waking->attempt.entry;
    if (tool_rounds_count(entry->work.rounds) > 0 &&
        tool_rounds_note_sent(entry->work.rounds, false))
        journal_save_calls(&waking->wake->delivery->journal, entry, true);
    return WAKE_POSTPONED;
}

/* Posting. */

static struct service wake_posting_service(const struct waking *waking)
{
    struct service service = waking->attempt.service;
    service.abort = NULL; /* it has until the end of the grace */
    return service;
}

/* Whether the thread has the reply of an earlier try; *found is right on CONVEX_SUCCESS. */
static enum convex_outcome look_for_wake_reply(struct waking *waking, bool *found)
{
    static const struct wake_read read = {"posted_to_thread", "loadTaskDetailsForAgentTool"};
    const struct entry *entry = waking->attempt.entry;
    json_t *details;
    enum convex_outcome outcome = wake_board_call(&waking->attempt, waking->wake->gate, &read,
        json_pack("{s:s, s:s, s:i}", "agentId", entry->agent_id, "taskId", entry->work.task_id,
            "messageLimit", MESSAGES_TO_SEARCH),
        &details);
    *found = v1_thread_has(json_object_get(details, "thread"), entry->agent_id, entry->work.reply,
        entry->work.thread_until_ms);
    json_decref(details);
    return outcome;
}

static enum wake_end wake_reply_was_posted(struct waking *waking, const char *outcome)
{
    struct entry *entry = waking->attempt.entry;
    STOP_POINT("after_wake_message");
    count_wake_message(waking, outcome);
    text_copy(waking->wake->task_id, sizeof waking->wake->task_id, entry->work.task_id);
    log_event(LOG_LEVEL_INFO, component,
        LOG_FIELDS(LOG_TEXT("agent", entry->work.agent_slug), LOG_TEXT("task", entry->work.task_id),
            LOG_TEXT("trace", entry->work.trace.id)),
        "%s was woken and has written in the thread of a task", waking->wake->agent->name);
    drop_wake_record(waking);
    /* It may have caused notifications, for which the queue asks then. */
    send_queue_advance(waking->wake->delivery->queue, entry, STAGE_WRITTEN);
    return WAKE_ANSWERED;
}

/* The backend did not take the reply, or did not say so: the next wake-up sees to it, if it can. */
static enum wake_end wake_reply_must_wait(
    struct waking *waking, enum convex_outcome outcome, const struct error *error)
{
    const struct delivery *delivery = waking->wake->delivery;
    struct entry *entry = waking->attempt.entry;
    entry->work.runs += outcome == CONVEX_FUNCTION_ERROR ? 1 : 0;
    journal_save_progress(&delivery->journal, entry);
    bool is_kept = entry->work.record == RECORD_REPLY &&
                   entry->work.runs <= delivery->config->delivery_max_runs;
    count_wake_message(waking, is_kept ? "delayed" : "given_up");
    log_event(is_kept ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_TEXT("agent", entry->work.agent_slug), LOG_TEXT("task", entry->work.task_id),
            LOG_TEXT("trace", entry->work.trace.id)),
        "could not post what %s says after it was woken%s: %s", waking->wake->agent->name,
        is_kept ? ", trying again soon" : "", error->text);
    if (is_kept)
        return WAKE_POSTPONED;
    drop_wake_record(waking);
    return WAKE_ANSWERED;
}

/* Posts the reply; one of an earlier try only after a look. */
static enum wake_end post_wake_reply(struct waking *waking, bool is_old)
{
    struct entry *entry = waking->attempt.entry;
    struct error error;
    bool found = false;
    const struct service service = wake_posting_service(waking);
    const struct new_message message = {
        .agent_id = entry->agent_id, .task_id = entry->work.task_id, .content = entry->work.reply};
    enum convex_outcome outcome = CONVEX_SUCCESS;
    error_set(&error, ERROR_REMOTE, "the thread cannot be read");
    send_queue_advance(waking->wake->delivery->queue, entry, STAGE_REPLIED);
    if (is_old)
        outcome = look_for_wake_reply(waking, &found);
    if (outcome == CONVEX_SUCCESS && !found)
        outcome = service_create_message(&service, &message, &error);
    if (outcome == CONVEX_SUCCESS)
        return wake_reply_was_posted(waking, found ? "already_posted" : "posted");
    return wake_reply_must_wait(waking, outcome, &error);
}

/* Answers. */

/* Finds the task that the words belong to: one that they name and that was shown, or the focus. */
static void find_thread_of_wake_reply(struct waking *waking)
{
    struct entry *entry = waking->attempt.entry;
    const json_t *named = wake_board_named_task(waking->board.tasks, waking->reply.text);
    if (named != NULL)
        text_copy(entry->work.task_id, sizeof entry->work.task_id, json_guard_id(named, "_id"));
}

static enum wake_end end_wake_silently(struct waking *waking, const char *outcome)
{
    count_wake_message(waking, outcome);
    drop_wake_record(waking);
    return WAKE_ANSWERED;
}

/* The agent has ended its run with words, or with none. */
static enum wake_end take_wake_words(struct waking *waking)
{
    struct entry *entry = waking->attempt.entry;
    entry->work.run_end = RUN_END_REPLIED;
    waking->requested = tool_rounds_count_successes(entry->work.rounds, "response_request");
    if (waking->reply.kind != REPLY_TEXT)
        return end_wake_silently(waking, "silent");
    find_thread_of_wake_reply(waking);
    if (entry->work.task_id[0] == '\0') {
        log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_TEXT("agent", entry->work.agent_slug)),
            "%s was woken and has something to say, but has no task to say it on",
            waking->wake->agent->name);
        return end_wake_silently(waking, "no_task");
    }
    json_decref(entry->work.rounds);
    entry->work.rounds = NULL;
    entry->work.reply = waking->reply.text;
    waking->reply.text = NULL;
    entry->work.runs = 0;
    journal_save_reply(&waking->wake->delivery->journal, entry);
    STOP_POINT("after_wake_spool");
    return post_wake_reply(waking, false);
}

/* Reads the words of an answer without calls; an error of the model provider is a failed run. */
static void read_wake_answer(struct waking *waking, struct gateway_result *result)
{
    bool is_read = converse_read_words(&waking->attempt, result, &waking->reply) == 0;
    if (is_read && waking->reply.kind != REPLY_PROVIDER_ERROR)
        return;
    result->outcome = GATEWAY_FAILED_RUN;
    if (is_read)
        error_set(&result->error, ERROR_REMOTE,
            "the gateway passed on an error of its model provider as the agent's words");
}

/* The run has failed, or never began. */
static enum wake_end wake_run_failed(struct waking *waking)
{
    const struct gateway_result *result = &waking->wake->result;
    struct entry *entry = waking->attempt.entry;
    bool collides = result->tools_collide && waking->had_tools;
    if (result->outcome == GATEWAY_BUSY)
        entry->work.lane_pause_ms = result->retry_after_ms;
    if (collides)
        gateway_roster_note_collision(waking->wake->delivery->roster);
    bool had_results = tool_rounds_count(entry->work.rounds) > 0;
    if (converse_had_no_run(result) && (had_results || collides))
        return withdraw_wake(waking);
    end_wake_try(waking);
    return WAKE_DONE;
}

/* Asking. */

/* What the agent causes from now on is the beginning of a chain of its own. */
static void begin_wake_chain(const struct waking *waking)
{
    char wake_id[ID_BYTES];
    const struct entry *entry = waking->attempt.entry;
    id_pair_key(wake_id, entry->agent_id, entry->work.trace.id);
    loop_guard_begin_wake(waking->wake->delivery->guard, entry->agent_id, wake_id);
}

/* One request; returns whether it was answered with calls, which are the next round then. */
static bool send_wake_request(struct waking *waking, struct gateway_message *message)
{
    const struct delivery *delivery = waking->wake->delivery;
    struct attempt *attempt = &waking->attempt;
    struct gateway_result *result = &waking->wake->result;
    bool has_calls = false;
    converse_send(attempt, message, result);
    waking->wake->was_asked = true;
    if (result->outcome == GATEWAY_REPLIED)
        has_calls = message->tools != NULL && tool_rounds_asked_for(result->body);
    if (result->outcome == GATEWAY_REPLIED && !has_calls)
        read_wake_answer(waking, result);
    if (breaker_record_send(delivery->control->breaker, attempt->entry->queue.ticket, NULL, result,
            clock_monotonic_ms()))
        breaker_control_apply(delivery->control);
    if (has_calls && !converse_take_calls(attempt, result)) {
        result->outcome = GATEWAY_FAILED_RUN;
        error_set(&result->error, ERROR_NO_MEMORY, "no memory for the agent's tool calls");
        has_calls = false;
    }
    json_decref(result->body);
    result->body = NULL;
    return has_calls;
}

/* Carries out the calls of a round. False: that is how the wake-up ends. */
static bool answer_wake_calls(struct waking *waking, enum wake_end *end)
{
    struct attempt *attempt = &waking->attempt;
    begin_wake_chain(waking);
    send_queue_advance(waking->wake->delivery->queue, attempt->entry, STAGE_ACTING);
    switch (converse_answer_calls(attempt)) {
    case CALLS_ANSWERED:
        return true;
    case CALLS_OUT_OF_TIME:
        waking->wake->was_asked = true;
        waking->wake->result = (struct gateway_result){.outcome = GATEWAY_FAILED_RUN};
        converse_took_too_long(&waking->wake->result.error);
        *end = wake_run_failed(waking);
        return false;
    case CALLS_LEFT:
        break;
    }
    *end = WAKE_POSTPONED;
    return false;
}

/* Sends the message, or results; *has_calls: the answer has calls, which are the next round. */
static bool send_to_woken_agent(struct waking *waking, bool has_results, bool *has_calls)
{
    struct attempt *attempt = &waking->attempt;
    json_t *items = NULL;
    struct gateway_message message = {
        .input = &attempt->talk.input, .tools = converse_offered_tools(attempt)};
    if (has_results && (items = converse_write_results(attempt, &message)) == NULL)
        return false;
    waking->had_tools = message.tools != NULL;
    *has_calls = send_wake_request(waking, &message);
    json_decref(items);
    return true;
}

/* Asks, or goes on with calls, until the agent has ended its run. */
static enum wake_end converse_with_woken(struct waking *waking, bool has_calls)
{
    struct send_queue *queue = waking->wake->delivery->queue;
    for (;;) {
        enum wake_end end;
        if (has_calls && !answer_wake_calls(waking, &end))
            return end;
        if (!send_queue_advance(queue, waking->attempt.entry, STAGE_SENDING) ||
            !send_to_woken_agent(waking, has_calls, &has_calls))
            return withdraw_wake(waking);
        if (waking->wake->result.outcome != GATEWAY_REPLIED)
            return wake_run_failed(waking);
        if (!has_calls)
            return take_wake_words(waking);
    }
}

/* Makes the message. False without memory. */
static bool write_wake_message(struct waking *waking)
{
    struct attempt *attempt = &waking->attempt;
    struct conversation *talk = &attempt->talk;
    struct board_offer offer = {0};
    bool complete = converse_offer_tools(attempt, &offer);
    const struct wake_prompt prompt = {
        .tasks = waking->board.tasks,
        .focus = waking->board.focus,
        .thread = json_guard_array(waking->board.details, "thread"),
        .is_orchestrator = waking->board.is_orchestrator,
        .access = offer.access,
        .changed_before = tool_rounds_before(attempt->entry->work.rounds),
        .wall_ms = clock_wall_ms(),
    };
    wake_input_append(&talk->input, &prompt);
    text_fini(&offer.api_key);
    talk->deadline_ms = converse_deadline_ms(attempt);
    talk->ready = true;
    return complete && !talk->input.failed;
}

/* Reads the board and makes what each request needs. False: not now. */
static bool prepare_wake(struct waking *waking, bool resumes)
{
    struct attempt *attempt = &waking->attempt;
    struct entry *entry = attempt->entry;
    wake_board_read(
        &waking->board, attempt, waking->wake->gate, resumes ? entry->work.task_id : "");
    if (converse_is_stopping(attempt))
        return false;
    if (!resumes) {
        const char *focus_id = json_guard_id(waking->board.focus, "_id");
        text_copy(
            entry->work.task_id, sizeof entry->work.task_id, focus_id != NULL ? focus_id : "");
        entry->work.thread_until_ms =
            backend_clock_exact_ms(convex_clock(waking->wake->delivery->convex)) - CLOCK_MARGIN_MS;
        if (!tool_rounds_end_try(entry->work.rounds))
            return false;
    }
    attempt->talk.audience = (struct tool_audience){
        .flags = waking->wake->agent->flags,
        .has_task = entry->work.task_id[0] != '\0',
        .is_orchestrator = waking->board.is_orchestrator,
    };
    converse_ask_for_tools(attempt);
    return write_wake_message(waking);
}

/* What the runtime itself does for an orchestrator that was woken. */
static void follow_tasks_up(const struct waking *waking)
{
    const struct wake_v1 *wake = waking->wake;
    if (!waking->board.is_orchestrator || !wake->agent->flags.can_mention_agents ||
        waking->requested >= MAX_FOLLOW_UPS)
        return;
    begin_wake_chain(waking);
    wake_board_follow_up(
        &waking->board, &waking->attempt, wake, MAX_FOLLOW_UPS - waking->requested);
}

static enum wake_end ask_woken_agent(struct waking *waking)
{
    struct attempt *attempt = &waking->attempt;
    bool resumes = tool_rounds_are_under_way(attempt->entry->work.rounds);
    attempt->service.abort = waking->wake->delivery->stopping;
    if (!prepare_wake(waking, resumes))
        return WAKE_POSTPONED;
    attempt->entry->work.runs++;
    attempt->service.abort = NULL;
    enum wake_end end = converse_with_woken(waking, resumes);
    attempt->service.abort = waking->wake->delivery->stopping;
    if (end == WAKE_ANSWERED)
        follow_tasks_up(waking);
    return end;
}

enum wake_end wake_v1_run(struct wake_v1 *wake, struct http_client *client, struct entry *entry)
{
    const struct delivery *delivery = wake->delivery;
    const struct agent *agent = wake->agent;
    struct waking waking = {
        .wake = wake,
        .attempt = {.delivery = delivery,
            .client = client,
            .service = {.convex = delivery->convex, .client = client, .trace = &entry->work.trace},
            .entry = entry,
            .run_ms = -1},
    };
    struct agent_address *address = &waking.attempt.talk.address;
    enum wake_end end = WAKE_POSTPONED;
    wake->was_asked = false;
    wake->task_id[0] = '\0';
    entry->work.started_us = clock_monotonic_us();
    bool complete = session_address_make(
        address, delivery->config, delivery->roster, BACKEND_V1, agent->slug, agent->session_key);
    /* One that the gateway is about to get is woken then. */
    bool is_coming = address->unknown && atomic_load(&delivery->stats->profiles_unfinished);
    if (address->unusable)
        end = WAKE_UNUSABLE;
    else if (complete && !is_coming && take_up_wake_record(&waking))
        end = entry->work.reply != NULL ? post_wake_reply(&waking, true) : ask_woken_agent(&waking);
    free(waking.reply.text);
    wake_board_fini(&waking.board);
    converse_fini(&waking.attempt);
    return end;
}
