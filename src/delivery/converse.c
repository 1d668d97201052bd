/*
 * Asking an agent. On a v0 backend that is one request; on v1 the agent may answer with calls of
 * tools, which are carried out (acting.c), and then it is several:
 *
 *   sending --words--> replied
 *    |   ^
 *  calls results
 *    v   |
 *   acting
 *
 * Each repeats the instructions and tools, since the gateway keeps neither. All of it is one try at
 * the notification, and one run for DELIVERY_MAX_RUNS. It has DELIVERY_STREAM_TIMEOUT_MS and
 * DELIVERY_MAX_TOOL_ROUNDS; the results of the last round go out without tools, so that words have
 * to follow. A round that had to wait, for the gateway or for a restart, has all of the time again.
 *
 * Results are on disk as sent before they are sent. If they certainly were not received, that is
 * taken back and they are sent later (converse_withdraw). If the run fails after them, or nothing
 * is known of it, the next try begins from the start and is told what was changed.
 *
 * Everything here belongs to one attempt and runs on its worker. What every request repeats is in
 * attempt->talk; the context, which may be large, is not kept while the agent works.
 */
#include "delivery/converse.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "delivery/delivery_v1.h"
#include "delivery/long_reply.h"
#include "delivery/prompt.h"
#include "delivery/reply.h"
#include "delivery/session_key.h"
#include "delivery/tool_rounds.h"

/* The cap on a timeout that doubles, unless the option is larger. */
static const int64_t MAX_RUN_TIMEOUT_MS = INT64_C(15) * 60 * 1000;

static const char last_words_wanted[] =
    "These were the last tool calls of this run. Write your final reply now, from what you know.";

bool converse_had_no_run(const struct gateway_result *result)
{
    switch (result->outcome) {
    case GATEWAY_REPLIED:
    case GATEWAY_FAILED_RUN:
    case GATEWAY_AMBIGUOUS:
        return false;
    case GATEWAY_ABORTED:
        return !result->sent;
    case GATEWAY_DISABLED:
    case GATEWAY_UNREACHABLE:
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
    case GATEWAY_REFUSED:
        break;
    }
    return true;
}

static void count_run(const struct attempt *attempt, int64_t duration_us)
{
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    const struct entry *entry = attempt->entry;
    metrics_add(metrics, METRIC_RUNS,
        run_kind_words[entry->work.runs == 1 ? RUN_FIRST : RUN_REPEAT], NULL, 1);
    metrics_add(metrics, METRIC_AGENT_RUNS, entry->work.agent_slug, NULL, 1);
    metrics_observe(metrics, METRIC_AGENT_RUN, NULL, duration_us);
}

/* Twice as long after each run that we stopped waiting for. */
static int64_t doubled_after_timeouts_ms(const struct attempt *attempt, int64_t set_ms)
{
    int64_t max_ms = set_ms > MAX_RUN_TIMEOUT_MS ? set_ms : MAX_RUN_TIMEOUT_MS;
    return backoff_doubled_ms(set_ms, attempt->entry->work.timeouts, max_ms);
}

/* How long to wait for the agent's next answer: within what is left of the run. */
static int64_t answer_timeout_ms(const struct attempt *attempt)
{
    int64_t request_ms =
        doubled_after_timeouts_ms(attempt, attempt->delivery->config->gateway_timeout_ms);
    int64_t left_ms = attempt->talk.deadline_ms - clock_monotonic_ms();
    if (left_ms < 1)
        return 1;
    return left_ms < request_ms ? left_ms : request_ms;
}

/* Preparing. */

void converse_fini(struct attempt *attempt)
{
    struct conversation *talk = &attempt->talk;
    text_fini(&talk->address.session_key);
    text_fini(&talk->instructions);
    text_fini(&talk->input);
    *talk = (struct conversation){0};
}

/* As whom the agent is asked. False without memory. */
static bool find_address(struct attempt *attempt)
{
    const struct delivery *delivery = attempt->delivery;
    const struct delivery_context *context = &attempt->context;
    struct agent_address *address = &attempt->talk.address;
    const char *slug = attempt->entry->work.agent_slug;
    bool complete = context->version == BACKEND_V1
                        ? session_address_make(address, delivery->config, delivery->roster,
                              BACKEND_V1, slug, context->session_key)
                        : agent_address_make(address, delivery->config, delivery->roster, slug,
                              json_guard_string(context->agent, "sessionKey"));
    attempt->entry->work.agent_unknown = address->unknown;
    return complete;
}

static struct tool_audience read_audience(
    const struct delivery_context *context, const char *agent_id)
{
    return (struct tool_audience){
        .flags = context->flags,
        .has_task = context->task != NULL,
        .is_orchestrator = delivery_context_is_orchestrator(context, agent_id),
        .may_mark_done = delivery_context_may_mark_done(context),
    };
}

void converse_ask_for_tools(const struct attempt *attempt)
{
    enum { DIALECT_TIMEOUT_MS = 2000 };
    const struct delivery *delivery = attempt->delivery;
    if (delivery->config->client_tools_enabled && gateway_roster_dialect_is_stale(delivery->roster))
        dialect_learn(delivery->roster, delivery->gateway, attempt->client, DIALECT_TIMEOUT_MS,
            &attempt->entry->work.trace);
}

bool converse_offer_tools(struct attempt *attempt, struct board_offer *offer)
{
    const struct delivery *delivery = attempt->delivery;
    struct conversation *talk = &attempt->talk;
    struct board_access *access = &offer->access;
    const char *agent_id = attempt->entry->agent_id;
    bool as_tools =
        delivery->config->client_tools_enabled && gateway_roster_takes_tools(delivery->roster);
    if (!as_tools && delivery->capability == NULL)
        return true;
    access->actions = offer->actions;
    access->count =
        tool_actions(delivery->menu->catalog, &talk->audience, !as_tools, offer->actions);
    if (as_tools) {
        tool_menu_list(delivery->menu, &talk->audience, talk->tools);
        return true;
    }
    char tag[CAPABILITY_TAG_BYTES];
    capability_tag(delivery->capability, talk->address.session_key.data, agent_id, tag);
    text_printf(&offer->api_key, "%s~%s", talk->address.session_key.data, tag);
    access->base_url = delivery->agent_api_url;
    access->session_key = offer->api_key.data;
    return !offer->api_key.failed;
}

int64_t converse_deadline_ms(const struct attempt *attempt)
{
    return clock_monotonic_ms() + doubled_after_timeouts_ms(attempt,
                                      attempt->delivery->config->delivery_stream_timeout_ms);
}

bool converse_prepare(struct attempt *attempt)
{
    struct conversation *talk = &attempt->talk;
    struct board_offer offer = {0};
    converse_fini(attempt);
    bool complete = find_address(attempt);
    bool is_v1 = attempt->context.version == BACKEND_V1;
    if (complete && is_v1) {
        talk->audience = read_audience(&attempt->context, attempt->entry->agent_id);
        complete = converse_offer_tools(attempt, &offer);
        v1_append_message(attempt, &offer.access, &talk->instructions, &talk->input);
    } else if (complete) {
        prompt_build(&attempt->context, &talk->input);
    }
    text_fini(&offer.api_key);
    delivery_context_shrink(&attempt->context);
    talk->deadline_ms = is_v1 ? converse_deadline_ms(attempt) : INT64_MAX;
    talk->ready = true;
    return complete && !talk->instructions.failed && !talk->input.failed;
}

enum entry_stage converse_withdraw(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    const struct journal *journal = &attempt->delivery->journal;
    if (tool_rounds_count(entry->work.rounds) == 0) {
        journal_undo_run(journal, entry);
        return STAGE_KNOWN;
    }
    if (tool_rounds_note_sent(entry->work.rounds, false))
        journal_save_calls(journal, entry, false);
    return STAGE_ACTING;
}

/* Sending. */

int64_t converse_send(
    struct attempt *attempt, struct gateway_message *message, struct gateway_result *result)
{
    const struct conversation *talk = &attempt->talk;
    message->session_key = talk->address.session_key.data;
    message->agent_slug = talk->address.agent_slug;
    message->instructions = talk->instructions.data;
    message->timeout_ms = answer_timeout_ms(attempt);
    message->trace = &attempt->entry->work.trace;
    int64_t began_us = clock_monotonic_us();
    STOP_POINT(message->items == NULL ? "before_send" : "before_results");
    gateway_send(attempt->delivery->gateway, attempt->client, message, result);
    STOP_POINT(message->items == NULL ? "after_send" : "after_results");
    int64_t duration_us = clock_monotonic_us() - began_us;
    attempt->run_ms = (attempt->run_ms > 0 ? attempt->run_ms : 0) + duration_us / 1000;
    return duration_us;
}

/* Answers. */

/* What becomes of a reply of that kind. On v0 an answer without words is taken for silence. */
static enum answer_fate judge_reply(struct attempt *attempt, enum reply_kind kind, bool incomplete)
{
    if (attempt->context.version == BACKEND_V1)
        return v1_judge_reply(attempt, kind, incomplete);
    if (kind == REPLY_PROVIDER_ERROR || (kind == REPLY_BLANK && incomplete))
        return ANSWER_FAILED_RUN;
    return kind == REPLY_TEXT ? ANSWER_POST : ANSWER_SILENCE;
}

/* Puts the reply, of which there may be none, on disk. With it no call has to be remembered. */
static void keep_reply(struct attempt *attempt, char *reply)
{
    struct entry *entry = attempt->entry;
    stats_send_ended(attempt->delivery->stats, NULL);
    json_decref(entry->work.rounds);
    entry->work.rounds = NULL;
    entry->work.reply = reply;
    entry->work.replied_us = clock_monotonic_us();
    entry->work.breaker_trips = 0;
    entry->work.refusals = (struct failing_time){0};
    entry->work.document.wanted = attempt->context.version == BACKEND_V1 &&
                                  long_reply_may_be_document(attempt) &&
                                  reply_exceeds_thread(reply);
    journal_save_reply(&attempt->delivery->journal, entry);
    STOP_POINT("after_spool");
}

int converse_read_words(struct attempt *attempt, struct gateway_result *result, struct reply *reply)
{
    bool is_wake_up = attempt->entry->kind == ENTRY_WAKE;
    bool may_be_long = !is_wake_up && (attempt->context.version != BACKEND_V1 ||
                                          long_reply_may_be_document(attempt));
    const struct reply_context context = {
        .is_wake_up = is_wake_up,
        .incomplete = result->incomplete,
        .generation = attempt->talk.address.generation,
        .max_units = may_be_long ? 0 : REPLY_V1_LIMIT_UNITS,
    };
    const json_t *rounds = attempt->entry->work.rounds;
    int code = reply_read(result->body, &context, reply, &result->error);
    /* Nobody waits for words of a wake-up that ends without. */
    if (code != 0 || reply->kind != REPLY_BLANK || rounds == NULL || is_wake_up)
        return code;
    const char *words = tool_rounds_words(rounds);
    if (words[0] == '\0')
        return code;
    json_t *body = json_pack("{s:s}", "output_text", words);
    if (body == NULL)
        return error_set(&result->error, ERROR_NO_MEMORY, "no memory for the reply");
    free(reply->text);
    code = reply_read(body, &context, reply, &result->error);
    json_decref(body);
    return code;
}

/* Reads the reply out of an answer and decides what follows from it. */
static enum entry_stage take_reply(struct attempt *attempt, struct gateway_result *result)
{
    struct reply reply;
    if (converse_read_words(attempt, result, &reply) != 0)
        return attempt_send_failed(attempt, result);
    switch (judge_reply(attempt, reply.kind, result->incomplete)) {
    case ANSWER_POST:
    case ANSWER_SILENCE:
    case ANSWER_UNANSWERED:
        keep_reply(attempt, reply.text);
        return STAGE_REPLIED;
    case ANSWER_ASK_AGAIN:
        free(reply.text);
        error_set(&result->error, ERROR_REMOTE, "the agent's answer was empty");
        return attempt_retry(attempt, FAILURE_RUN_FAILED, STAGE_KNOWN, &result->error);
    case ANSWER_FAILED_RUN:
        break;
    }
    free(reply.text);
    error_set(&result->error, ERROR_REMOTE,
        reply.kind == REPLY_PROVIDER_ERROR
            ? "the gateway passed on an error of its model provider as the agent's words"
            : "the agent's run ended as \"incomplete\"");
    result->outcome = GATEWAY_FAILED_RUN;
    return attempt_send_failed(attempt, result);
}

bool converse_take_calls(struct attempt *attempt, const struct gateway_result *result)
{
    struct text words = {0};
    reply_append_beside_calls(&words, result->body);
    bool begun =
        !words.failed && tool_rounds_begin(&attempt->entry->work.rounds, result->body, words.data);
    text_fini(&words);
    if (begun)
        metrics_add(&attempt->delivery->stats->metrics, METRIC_TOOL_ROUNDS, NULL, NULL, 1);
    return begun;
}

/* The agent has called tools, which are carried out next. */
static enum entry_stage take_calls(struct attempt *attempt, const struct gateway_result *result)
{
    struct error error;
    if (converse_take_calls(attempt, result))
        return STAGE_ACTING;
    error_set(&error, ERROR_NO_MEMORY, "no memory for the agent's tool calls");
    return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, &error);
}

/*
 * The gateway has a tool of that name itself, so it takes none of ours. Nothing ran, and the agent
 * is asked again at once, without tools; what it had called already is answered without them, too.
 */
static enum entry_stage leave_out_tools(struct attempt *attempt)
{
    gateway_roster_note_collision(attempt->delivery->roster);
    attempt->put_back = true;
    return tool_rounds_are_under_way(attempt->entry->work.rounds) ? STAGE_ACTING : STAGE_KNOWN;
}

/*
 * One request, and what follows from its result. The run stays counted unless the answer proves
 * that there was none.
 */
static enum entry_stage ask_agent(struct attempt *attempt, struct gateway_message *message)
{
    const struct delivery *delivery = attempt->delivery;
    struct entry *entry = attempt->entry;
    struct gateway_result result;
    int64_t duration_us = converse_send(attempt, message, &result);
    if (converse_had_no_run(&result)) {
        converse_withdraw(attempt);
    } else {
        if (message->items == NULL)
            count_run(attempt, duration_us);
        attempt->verdict.counted = false; /* not to be taken back */
    }
    /* The reply goes to disk before anything else that could take time. */
    enum entry_stage next;
    if (result.tools_collide && message->tools != NULL)
        next = leave_out_tools(attempt);
    else if (result.outcome != GATEWAY_REPLIED)
        next = attempt_send_failed(attempt, &result);
    else if (message->tools != NULL && tool_rounds_asked_for(result.body))
        next = take_calls(attempt, &result);
    else
        next = take_reply(attempt, &result);
    if (next == STAGE_REPLIED || result.outcome == GATEWAY_FAILED_RUN)
        entry->work.run_end = next == STAGE_REPLIED ? RUN_END_REPLIED : RUN_END_FAILED;
    json_decref(result.body);
    if (breaker_record_send(delivery->control->breaker, entry->queue.ticket, entry->agent_id,
            &result, clock_monotonic_ms()))
        breaker_control_apply(delivery->control);
    return next;
}

const char *const *converse_offered_tools(const struct attempt *attempt)
{
    return attempt->talk.tools[0] != NULL ? attempt->talk.tools : NULL;
}

/* Nothing was sent: out of memory. */
static enum entry_stage message_is_missing(struct attempt *attempt)
{
    struct error error;
    error_set(&error, ERROR_NO_MEMORY, "no memory for the message to the agent");
    return attempt_retry(attempt, FAILURE_OTHER, converse_withdraw(attempt), &error);
}

json_t *converse_write_results(struct attempt *attempt, struct gateway_message *message)
{
    const json_t *rounds = attempt->entry->work.rounds;
    bool is_last = tool_rounds_count(rounds) >= attempt->delivery->config->delivery_max_tool_rounds;
    json_t *items = tool_rounds_items(rounds, is_last ? last_words_wanted : NULL);
    *message = (struct gateway_message){
        .items = items, .tools = is_last ? NULL : converse_offered_tools(attempt)};
    return items;
}

static enum entry_stage send_results(struct attempt *attempt)
{
    struct gateway_message message;
    json_t *items = converse_write_results(attempt, &message);
    if (items == NULL)
        return message_is_missing(attempt);
    enum entry_stage next = ask_agent(attempt, &message);
    json_decref(items);
    return next;
}

enum entry_stage stage_sending(struct attempt *attempt)
{
    struct conversation *talk = &attempt->talk;
    const json_t *rounds = attempt->entry->work.rounds;
    if (rounds != NULL && tool_rounds_were_sent(rounds))
        return send_results(attempt);
    /* On v1 that has been done before the call that shows the agent as typing. */
    if (!talk->ready && !converse_prepare(attempt))
        return message_is_missing(attempt);
    struct gateway_message message = {
        .input = &talk->input, .tools = converse_offered_tools(attempt)};
    return ask_agent(attempt, &message);
}
