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
#include <sys/random.h>

#include "agent.h"
#include "answer.h"
#include "base/json.h"
#include "base/sync.h"
#include "gateway.h"
#include "gateway_schema.h"
#include "gateway_session.h"
#include "gateway_tools.h"
#include "memory.h"
#include "rule_post.h"

enum { UUID_BYTES = 37, BYTES_PER_TOKEN = 4 };

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

static void make_uuid(char text[static UUID_BYTES])
{
    unsigned char b[16];
    ssize_t got = getrandom(b, sizeof b, 0);
    (void)got;
    snprintf(text, UUID_BYTES,
        "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
        b[3], b[4], b[5], b[6] & 15, b[7], b[8] & 15, b[9], b[10], b[11], b[12], b[13], b[14],
        b[15]);
}

static json_t *make_usage(size_t input_bytes, size_t output_bytes)
{
    json_int_t input = (json_int_t)(input_bytes / BYTES_PER_TOKEN) + 1;
    json_int_t output = (json_int_t)(output_bytes / BYTES_PER_TOKEN);
    return memory_json(json_pack("{s:I, s:{s:i, s:i}, s:I, s:{s:i}, s:I}", "input_tokens", input,
        "input_tokens_details", "cached_tokens", 0, "cache_write_tokens", 0, "output_tokens",
        output, "output_tokens_details", "reasoning_tokens", 0, "total_tokens", input + output));
}

static void append_text(json_t *output, const char *reply, const char *phase)
{
    char uuid[UUID_BYTES];
    char message_id[UUID_BYTES + 4];
    make_uuid(uuid);
    snprintf(message_id, sizeof message_id, "msg_%s", uuid);
    json_array_append_new(output,
        memory_json(json_pack("{s:s, s:s, s:s, s:[{s:s, s:o}], s:s, s:s}", "type", "message", "id",
            message_id, "role", "assistant", "content", "type", "output_text", "text",
            memory_json_text(reply), "phase", phase, "status", "completed")));
}

/* The output of a run: the reply, or the calls that its rule makes, after what it says to them. */
static json_t *make_output(const struct agent_run *run, const char *reply)
{
    json_t *output = memory_json(json_array());
    const json_t *calls = run->rule == NULL ? NULL : run->rule->calls;
    if (reply != NULL && calls == NULL)
        append_text(output, reply, "final_answer");
    else if (reply != NULL && run->rule->reply != NULL)
        append_text(output, reply, "commentary");
    if (reply != NULL)
        gateway_tools_append_calls(output, calls);
    return output;
}

/*
 * Returns the response resource as JSON text, of a failed run if reply is NULL. The caller frees
 * it.
 */
static char *make_resource(const struct agent_run *run, const char *reply)
{
    char id[UUID_BYTES + 5];
    char uuid[UUID_BYTES];
    make_uuid(uuid);
    snprintf(id, sizeof id, "resp_%s", uuid);
    size_t reply_bytes = reply == NULL ? 0 : strlen(reply);
    json_t *resource = memory_json(json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o}", "id", id,
        "object", "response", "created_at", (json_int_t)(clock_wall_ms() / 1000), "status",
        reply == NULL ? "failed" : "completed", "model", run->model, "output",
        make_output(run, reply), "usage",
        make_usage(run->message == NULL ? 0 : strlen(run->message), reply_bytes)));
    if (reply == NULL)
        json_object_set_new(resource, "error",
            memory_json(json_pack("{s:s, s:s}", "code", "api_error", "message", "internal error")));
    char *text = memory_json_dump(resource);
    json_decref(resource);
    return text;
}

/*
 * Answers with a resource. The record is closed first: the session's next run can only begin once
 * the answer is sent, so the two never seem to overlap.
 */
static void answer_resource(struct agent_run *run, unsigned status, const char *reply)
{
    char *body = make_resource(run, reply);
    fault_apply(run->rule, run->exchange, strlen(body));
    if (run->rule == NULL || run->rule->cut.kind == CUT_NONE)
        end_record(run, "answered", status);
    exchange_add_header(run->exchange, "Content-Type", content_type);
    exchange_add_header(run->exchange, "Keep-Alive", "timeout=5");
    exchange_answer(run->exchange, status, body, strlen(body));
}

static void answer_by_rule(struct agent_run *run)
{
    bool drops = run->rule->action == FAULT_DROP || run->rule->action == FAULT_RAW_SOCKET;
    char *failed = make_resource(run, NULL);
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

static void answer_reply(struct agent_run *run)
{
    const struct settings *settings = &run->sandbox->settings;
    char *reply = run->rule != NULL && run->rule->reply != NULL
                      ? memory_copy(run->rule->reply)
                      : agent_reply(run->record->agent, run->message, settings->gateway_chatty);
    if (settings->gateway_numbers)
        reply = append_run_number(run, reply);
    answer_resource(run, 200, reply);
    free(reply);
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
    run->rule = faults_match(&sandbox->faults, &(struct fault_subject){.side = FAULT_GATEWAY,
                                                   .agent = run->record->agent,
                                                   .session = run->record->session,
                                                   .notification = run->record->notification_id});
    rule_post(sandbox, run->rule, FAULT_BEFORE, run->record->notification_id);
    struct text_span input = text_trim(run->message, strlen(run->message));
    if (choice->status == 500 || input.length_bytes == 0)
        answer_resource(run, 500, NULL);
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

/* Begins a run whose body passed the schema check. */
static void begin_checked(struct agent_run *run, const json_t *body)
{
    const struct exchange *exchange = run->exchange;
    run->model = copy_member(body, "model");
    run->message = gateway_schema_message(body);
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
    else if (gateway_tools_collide(json_object_get(body, "tools")))
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
    else if (!gateway_schema_check(body, &problem))
        refuse_run(run, 400, problem.data);
    else
        begin_checked(run, body);
    text_fini(&problem);
    json_decref(body);
}
