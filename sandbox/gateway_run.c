/*
 * An agent run: a checked request to /v1/responses gets an agent and a session (gateway_session),
 * is recorded (recorder), matched with a fault rule, delayed, and answered with the agent's reply
 * or as the rule says.
 *
 * gateway_run_begin -> begin_checked -> start_run -> [latency, hold] -> finish_run
 *
 * From start_run on the run counts as having happened: tests count records to prove that the
 * runtime never runs an agent twice. A record is closed with one of the outcomes of recorder.h at
 * the latest when its exchange ends. The runs of a session are not serialized as a real gateway
 * would do, so overlaps show up in the records.
 */
#include "gateway_run.h"

#include <stdint.h>

#include "agent_input.h"
#include "agent_turn.h"
#include "answer.h"
#include "base/json.h"
#include "base/sync.h"
#include "gateway.h"
#include "gateway_call.h"
#include "gateway_resource.h"
#include "gateway_schema.h"
#include "gateway_session.h"
#include "gateway_tools.h"
#include "memory.h"
#include "rule_post.h"

static const char content_type[] = "application/json; charset=utf-8";

/* An agent run; freed when its exchange ends. record is NULL for a fault before the checks. */
struct agent_run {
    struct sandbox *sandbox;
    struct exchange *exchange;
    struct fault_rule *rule;
    struct fault_pause pause;
    struct record *record;
    char *message;
    char *model;
    json_t *tools; /* that reach the model, NULL: none */
};

static void record_run_timing(const struct agent_run *run, enum timing_moment moment)
{
    if (run->sandbox->settings.timings)
        timings_record(&run->sandbox->timings, run->record->notification_id, moment);
}

static void end_record(struct agent_run *run, const char *outcome, unsigned status)
{
    if (run->record == NULL)
        return;
    record_run_timing(run, TIMING_ANSWERED);
    recorder_end(&run->sandbox->recorder, run->record, outcome, status);
    run->record = NULL;
}

static void end_run(void *owner)
{
    struct agent_run *run = owner;
    end_record(run, "dropped", 0);
    fault_pause_end(&run->pause);
    fault_rule_unref(run->rule);
    free(run->message);
    free(run->model);
    json_decref(run->tools);
    free(run);
}

void gateway_run_refuse(
    struct exchange *exchange, unsigned status, const char *type, const char *message)
{
    json_t *json = memory_json(
        json_pack("{s:{s:o, s:s}}", "error", "message", memory_json_text(message), "type", type));
    char *body = memory_json_dump(json);
    json_decref(json);
    exchange_add_header(exchange, "Content-Type", content_type);
    exchange_answer(exchange, status, body, strlen(body));
}

/*
 * Answers with a resource. The record is closed first: the session's next run can only begin once
 * the answer is sent, so the two never seem to overlap.
 */
static void answer_resource(
    struct agent_run *run, unsigned status, const struct run_outcome *outcome)
{
    char *body = gateway_resource_make(outcome);
    fault_apply(run->rule, run->exchange, strlen(body));
    if (run->rule == NULL || run->rule->cut.kind == CUT_NONE)
        end_record(run, "answered", status);
    exchange_add_header(run->exchange, "Content-Type", content_type);
    exchange_add_header(run->exchange, "Keep-Alive", "timeout=5");
    exchange_answer(run->exchange, status, body, strlen(body));
}

/* What a run comes to that ends in an error of the gateway's own. */
static struct run_outcome failed_outcome(const struct agent_run *run)
{
    return (struct run_outcome){.model = run->model,
        .message = run->message,
        .code = "api_error",
        .error = "internal error"};
}

static void answer_by_rule(struct agent_run *run)
{
    bool drops = run->rule->action == FAULT_DROP || run->rule->action == FAULT_RAW_SOCKET;
    struct run_outcome outcome = failed_outcome(run);
    char *failed = gateway_resource_make(&outcome);
    if (run->rule->cut.kind == CUT_NONE)
        end_record(run, drops ? "dropped" : "answered", drops ? 0 : run->rule->status);
    fault_answer(run->rule, run->exchange, failed);
    free(failed);
}

/* Returns reply, which it takes, with the run's number appended. */
static char *append_run_number(const struct agent_run *run, char *reply)
{
    struct text text = {0};
    text_printf(&text, "%s\n\nRun %ju", reply, (uintmax_t)run->record->number);
    free(reply);
    return text_take(&text);
}

static struct agent_memory *memory_of(const struct agent_run *run)
{
    return agent_memory_of(&run->sandbox->memories, run->record->session);
}

/* The calls of the rule; with "checked", those that the gateway accepts. NULL: none. */
static json_t *make_rule_calls(const struct agent_run *run)
{
    const struct fault_rule *rule = run->rule;
    json_t *calls = memory_json(json_array());
    size_t index;
    json_t *call;
    json_array_foreach (rule->calls, index, call) {
        struct text told = {0};
        const char *name = json_guard_string(call, "name");
        const json_t *arguments = json_object_get(call, "arguments");
        bool direct = run->sandbox->settings.gateway_tool_search != TOOL_SEARCH_ON;
        if (!rule->checked || gateway_call_check(run->tools, name, arguments, direct, &told))
            json_array_append(calls, call);
        else
            agent_memory_tell(memory_of(run), name, arguments, told.data);
        text_fini(&told);
    }
    if (json_array_size(calls) > 0)
        return calls;
    json_decref(calls);
    return NULL;
}

/*
 * Decides what the agent does: stores the calls that it makes, or NULL, and what it says, or NULL.
 * The caller frees both.
 */
static void take_turn(struct agent_run *run, json_t **calls, char **text)
{
    const struct settings *settings = &run->sandbox->settings;
    const struct fault_rule *rule = run->rule;
    const struct agent_view view = {.agent = run->record->agent,
        .input = run->message,
        .instructions = run->record->instructions,
        .tools = run->tools,
        .searches = settings->gateway_tool_search == TOOL_SEARCH_ON,
        .chatty = settings->gateway_chatty,
        .numbers = settings->gateway_numbers};
    *calls = NULL;
    *text = rule == NULL || rule->reply == NULL ? NULL : memory_copy(rule->reply);
    if (rule != NULL && rule->calls != NULL)
        *calls = make_rule_calls(run);
    else if (*text == NULL)
        *calls = agent_turn_calls(memory_of(run), &view);
    if (*calls == NULL && *text == NULL)
        *text = agent_turn_text(memory_of(run), &view);
}

/* Records the calls that come out of the run, and those of which the model was only told. */
static void record_calls(struct agent_run *run, json_t *issued, size_t ended_before)
{
    struct agent_memory *memory = memory_of(run);
    const struct tool_origin origin = {.run = run->record->number,
        .first_run = memory->first_run,
        .round = memory->round,
        .agent = run->record->agent,
        .session = run->record->session,
        .task_id = memory->task_id};
    for (size_t i = ended_before; i < json_array_size(memory->ended); i++)
        tool_log_tell(&run->sandbox->tool_log, &origin, json_array_get(memory->ended, i));
    if (issued == NULL)
        return;
    run->sandbox->store.changes++;
    agent_memory_ask(memory, issued);
    tool_log_ask(&run->sandbox->tool_log, &origin, issued);
    run->record->calls = json_incref(issued);
}

static void answer_reply(struct agent_run *run)
{
    json_t *calls;
    char *text;
    size_t ended_before = json_array_size(memory_of(run)->ended);
    take_turn(run, &calls, &text);
    json_t *issued = calls == NULL ? NULL : gateway_tools_issue(calls);
    record_calls(run, issued, ended_before);
    if (run->sandbox->settings.gateway_numbers && text != NULL)
        text = append_run_number(run, text);
    answer_resource(run, 200,
        &(struct run_outcome){
            .model = run->model, .message = run->message, .text = text, .calls = issued});
    json_decref(calls);
    json_decref(issued);
    free(text);
}

/* Ends the pause. A client that disconnected meanwhile aborted the run. */
static void finish_run(struct exchange *exchange, void *argument)
{
    struct agent_run *run = argument;
    if (exchange_is_gone(exchange)) {
        end_record(run, "aborted", 0);
        exchange_drop(exchange);
        return;
    }
    rule_post(run->sandbox, run->rule, FAULT_AFTER, run->record->notification_id);
    if (run->rule != NULL && run->rule->action == FAULT_HANG) {
        end_record(run, "dropped", 0);
        exchange_drop(exchange);
    } else if (run->rule != NULL && run->rule->action != FAULT_REPLY) {
        answer_by_rule(run);
    } else {
        answer_reply(run);
    }
}

static void wait_for_agent(struct agent_run *run, double latency_ms)
{
    const struct fault_rule *rule = run->rule;
    bool hold = rule != NULL && (rule->hold || rule->action == FAULT_HANG);
    fault_pause_begin(&run->pause, &run->sandbox->faults, run->rule, run->exchange, latency_ms,
        hold, finish_run, run);
}

static struct agent_run *make_run(struct sandbox *sandbox, struct exchange *exchange)
{
    struct agent_run *run = memory_new(1, sizeof *run);
    run->sandbox = sandbox;
    run->exchange = exchange;
    exchange_on_end(exchange, end_run, run);
    return run;
}

static void answer_early(struct exchange *exchange, void *argument)
{
    const struct agent_run *run = argument;
    run->sandbox->recorder.refused++;
    if (exchange_is_gone(exchange) || run->rule->action == FAULT_HANG)
        exchange_drop(exchange);
    else
        fault_answer(run->rule, exchange,
            "{\"error\":{\"message\":\"injected failure\",\"type\":\"api_error\"}}");
}

bool gateway_run_begin_early_fault(struct sandbox *sandbox, struct exchange *exchange)
{
    struct fault_rule *rule = faults_match(
        &sandbox->faults, &(struct fault_subject){.side = FAULT_GATEWAY,
                              .before_checks = true,
                              .agent = exchange_header(exchange, "x-openclaw-agent-id"),
                              .session = exchange_header(exchange, "x-openclaw-session-key")});
    if (rule == NULL)
        return false;
    struct agent_run *run = make_run(sandbox, exchange);
    run->rule = rule;
    bool hold = rule->hold || rule->action == FAULT_HANG;
    fault_pause_begin(&run->pause, &sandbox->faults, rule, exchange, 0, hold, answer_early, run);
    return true;
}

static char *copy_header(const struct exchange *exchange, const char *name)
{
    const char *value = exchange_header(exchange, name);
    return value == NULL ? NULL : memory_copy(value);
}

static char *copy_member(const json_t *body, const char *key)
{
    const char *value = json_guard_string(body, key);
    return value == NULL ? NULL : memory_copy(value);
}

/* Brings the session's memory up to date with what the request says. */
static void remember_input(struct agent_run *run, const json_t *body)
{
    struct record *record = run->record;
    struct agent_memory *memory = memory_of(run);
    if (record->results != NULL) {
        tool_log_end(&run->sandbox->tool_log, record->results, record->number);
        run->sandbox->store.changes++;
    }
    if (gateway_schema_is_results(body))
        agent_memory_take_results(memory, record->results, record->number);
    else
        agent_memory_begin(memory, record->agent, run->message, record->number);
    record->round = memory->round;
    record->first_run = memory->first_run;
}

/* Opens the run's record. Takes the strings of choice. */
static void record_run(struct agent_run *run, const json_t *body, struct session_choice *choice)
{
    const struct exchange *exchange = run->exchange;
    size_t input_bytes = strlen(run->message);
    size_t kept_bytes = text_utf8_cut(
        run->message, input_bytes, (size_t)run->sandbox->settings.gateway_input_bytes);
    struct record record = {
        .session = choice->key,
        .agent = choice->agent,
        .openclaw_session = copy_header(exchange, "x-openclaw-session-key"),
        .clawdbot_session = copy_header(exchange, "x-clawdbot-session-key"),
        .openclaw_agent = copy_header(exchange, "x-openclaw-agent-id"),
        .clawdbot_agent = copy_header(exchange, "x-clawdbot-agent-id"),
        .traceparent = copy_header(exchange, "traceparent"),
        .user = copy_member(body, "user"),
        .model = copy_member(body, "model"),
        .input = memory_copy_bytes(run->message, kept_bytes),
        .instructions = copy_member(body, "instructions"),
        .tools = gateway_tools_names(json_object_get(body, "tools")),
        .input_bytes = input_bytes,
        .results = gateway_tools_results(json_object_get(body, "input")),
        .notification_id = agent_notification_id(run->message),
    };
    choice->key = NULL;
    choice->agent = NULL;
    run->record = recorder_begin(&run->sandbox->recorder, &record);
    record_run_timing(run, TIMING_ASKED);
}

static void start_run(struct agent_run *run, const json_t *body, struct session_choice *choice)
{
    struct sandbox *sandbox = run->sandbox;
    record_run(run, body, choice);
    remember_input(run, body);
    run->rule = faults_match(&sandbox->faults, &(struct fault_subject){.side = FAULT_GATEWAY,
                                                   .agent = run->record->agent,
                                                   .session = run->record->session,
                                                   .notification = run->record->notification_id,
                                                   .round = run->record->round});
    rule_post(sandbox, run->rule, FAULT_BEFORE, run->record->notification_id);
    struct text_span input = text_trim(run->message, strlen(run->message));
    const struct run_outcome failed = failed_outcome(run);
    if (choice->status == 500 || input.length_bytes == 0)
        answer_resource(run, 500, &failed);
    else
        wait_for_agent(run, sandbox->settings.gateway_latency_ms);
}

static void refuse_run(struct agent_run *run, unsigned status, const char *message)
{
    run->sandbox->recorder.refused++;
    gateway_run_refuse(run->exchange, status, "invalid_request_error", message);
}

/* Unlike other refusals this is a failed response, though no agent ran. */
static void refuse_tools(struct agent_run *run)
{
    run->sandbox->recorder.refused++;
    answer_json(run->exchange, 400,
        json_pack("{s:s, s:s, s:[], s:{s:s, s:s}}", "object", "response", "status", "failed",
            "output", "error", "code", "invalid_request_error", "message",
            "invalid tool configuration"));
}

/* The tools of a request as far as they reach the model, a new reference, or NULL. */
static json_t *tools_for_model(const struct agent_run *run, const json_t *body)
{
    json_t *tools = json_object_get(body, "tools");
    if (run->sandbox->settings.gateway_tools == TOOLS_NONE ||
        json_guard_is(body, "tool_choice", "none", ""))
        return NULL;
    return json_incref(tools);
}

/* Begins a run whose body passed the schema check. */
static void begin_checked(struct agent_run *run, const json_t *body)
{
    const struct exchange *exchange = run->exchange;
    run->model = copy_member(body, "model");
    run->message = gateway_schema_message(body, run->sandbox->settings.gateway_tools);
    run->tools = tools_for_model(run, body);
    struct session_choice choice;
    gateway_session_choose(run->sandbox,
        &(struct session_request){.key = exchange_header(exchange, "x-openclaw-session-key"),
            .agent = exchange_header(exchange, "x-openclaw-agent-id"),
            .model = run->model,
            .user = json_guard_string(body, "user")},
        &choice);
    if (choice.status == 400)
        refuse_run(run, 400, choice.text.data);
    else if (run->message == NULL)
        refuse_run(run, 400, "Missing user message in `input`.");
    else if (gateway_tools_collide(run->tools))
        refuse_tools(run);
    else if (json_is_true(json_object_get(body, "stream")))
        refuse_run(run, 400, "stream: the sandbox does not stream");
    else
        start_run(run, body, &choice);
    text_fini(&choice.text);
    free(choice.agent);
    free(choice.key);
}

/* Checks in the order of the real gateway: size, JSON, schema, session and agent. */
void gateway_run_begin(struct sandbox *sandbox, struct exchange *exchange)
{
    struct agent_run *run = make_run(sandbox, exchange);
    const struct text *bytes = exchange_body(exchange);
    if (exchange_body_is_too_large(exchange)) {
        exchange_add_header(exchange, "Connection", "close");
        refuse_run(run, 413, "Payload too large");
        return;
    }
    json_t *body = NULL;
    struct error error;
    struct text problem = {0};
    bool empty = bytes->length_bytes == 0;
    int result =
        json_guard_load(empty ? "{}" : bytes->data, empty ? 2 : bytes->length_bytes, &body, &error);
    if (result != 0)
        refuse_run(run, 400, error.text);
    else if (!gateway_schema_check(body, sandbox->settings.gateway_tools, &problem))
        refuse_run(run, 400, problem.data);
    else
        begin_checked(run, body);
    text_fini(&problem);
    json_decref(body);
}
