/*
 * Convex's function-call API (docs/protocol.md, "Convex HTTP API"). A call is read
 * (backend_request), matched with a fault rule, delayed or held by it, run (service) and answered,
 * in this order:
 *
 * begin_call -> begin_function -> [latency, hold] -> run_call -> [hold_after] -> answer_function
 *
 * A function that fails is a 200 with "status": "error", as with the real backend; only malformed
 * requests get a 4xx. Once past its delay a function runs even if its client has disconnected, so
 * that a test can tell a lost request from a lost response.
 */
#include "backend.h"

#include <stdint.h>
#include <sys/random.h>

#include "answer.h"
#include "backend_request.h"
#include "base/json.h"
#include "base/sync.h"
#include "memory.h"
#include "rule_post.h"
#include "service.h"

/* A function call in progress; freed when its exchange ends. */
struct backend_call {
    struct sandbox *sandbox;
    struct exchange *exchange;
    struct function_call call;
    const struct service_function *function;
    struct count *count;
    uint64_t number; /* in the call log; 0 for none */
    bool ran;
    struct fault_rule *rule;
    struct fault_pause pause;
    struct text value;
    struct text failure;
};

bool backend_has_path(const char *path)
{
    return strncmp(path, "/api/", 5) == 0 || strcmp(path, "/version") == 0 ||
           strcmp(path, "/instance_version") == 0;
}

/* What the function did, whether or not the answer arrived. */
static const char *call_outcome(const struct backend_call *call)
{
    if (call->failure.length_bytes > 0)
        return "error";
    return call->ran ? "ok" : "not_run";
}

static void backend_call_end(void *owner)
{
    struct backend_call *call = owner;
    call_log_end(&call->sandbox->call_log, call->number, call_outcome(call));
    fault_pause_end(&call->pause);
    fault_rule_unref(call->rule);
    function_call_fini(&call->call);
    text_fini(&call->value);
    text_fini(&call->failure);
    free(call);
}

/* With redact, only the request id is left, as in production. */
static void write_function_error(const struct backend_call *call, struct text *text)
{
    uint64_t request_id = 0;
    ssize_t got = getrandom(&request_id, sizeof request_id, 0);
    (void)got;
    text_printf(text, "[Request ID: %016jx] Server Error", (uintmax_t)request_id);
    if (call->sandbox->settings.redact)
        return;
    text_printf(text, "\n%s\n", call->failure.data);
    if (strncmp(call->failure.data, "Uncaught ", 9) == 0)
        text_append(text, "    at handler (../convex/service/actions.ts:41:11)\n");
}

static void answer_function_error(struct backend_call *call)
{
    struct text text = {0};
    write_function_error(call, &text);
    char *message = text_take(&text);
    answer_json(call->exchange, 200,
        json_pack("{s:s, s:o}", "status", "error", "errorMessage", memory_json_text(message)));
    free(message);
}

static void answer_function_value(struct backend_call *call)
{
    struct text answer = {0};
    text_append(&answer, "{\"status\":\"success\",\"value\":");
    text_append(&answer, call->value.length_bytes > 0 ? call->value.data : "null");
    text_append(&answer, "}");
    fault_apply(call->rule, call->exchange, answer.length_bytes);
    answer_json_text(call->exchange, 200, &answer);
}

/* Returns the id of the notification that a call is about, borrowed, or NULL. */
static const char *call_notification(const struct backend_call *call)
{
    const char *id = json_guard_string(call->call.arguments, "notificationId");
    return id != NULL ? id : json_guard_string(call->call.arguments, "sourceNotificationId");
}

static void record_call_timing(struct backend_call *call, bool is_answer)
{
    if (call->sandbox->settings.timings)
        timings_record_call(
            &call->sandbox->timings, call_notification(call), call->function->name, is_answer);
}

static void answer_function(struct exchange *exchange, void *argument)
{
    struct backend_call *call = argument;
    const struct fault_rule *rule = call->rule;
    record_call_timing(call, true);
    call_log_end(&call->sandbox->call_log, call->number, call_outcome(call));
    if (rule != NULL && rule->action == FAULT_HANG)
        exchange_drop(exchange);
    else if (rule != NULL && rule->action != FAULT_REPLY && rule->action != FAULT_FUNCTION_ERROR)
        fault_answer(rule, exchange,
            "{\"code\":\"InternalServerError\",\"message\":\"Your request couldn't be completed. "
            "Try again later.\"}");
    else if (!call->call.has_known_format)
        answer_refusal(exchange, 400, "BadFormat", "Unknown format");
    else if (call->failure.length_bytes > 0)
        answer_function_error(call);
    else
        answer_function_value(call);
}

static void run_function(struct backend_call *call)
{
    struct service_call service = {.sandbox = call->sandbox, .arguments = call->call.arguments};
    service_run(call->function, &service);
    call->ran = true;
    call->value = service.value;
    call->failure = service.failure;
    if (call->failure.length_bytes > 0)
        call->count->errors++;
    else
        call->count->ok++;
}

/* Returns the agent that a call is made for, or NULL. */
static const struct document *call_agent(const struct backend_call *call)
{
    const char *id = json_guard_string(call->call.arguments, "agentId");
    if (id == NULL)
        id = json_guard_string(call->call.arguments, "requesterAgentId");
    return store_get(&call->sandbox->store, TABLE_AGENTS, id);
}

/* Records what a changing function did, before anything can happen to its answer. */
static void record_effect(const struct backend_call *call)
{
    const struct document *agent = call_agent(call);
    if (!service_is_change(call->function->name) || call->failure.length_bytes > 0)
        return;
    effects_record(
        &call->sandbox->effects, &(struct new_effect){.call = call->number,
                                     .function = call->function->name,
                                     .agent = agent == NULL ? NULL : document_string(agent, "slug"),
                                     .arguments = call->call.arguments,
                                     .value = call->value.data,
                                     .trace = exchange_header(call->exchange, "traceparent")});
}

/* After the delay. The function runs even if the client has disconnected, as real ones do. */
static void run_call(struct exchange *exchange, void *argument)
{
    struct backend_call *call = argument;
    const struct fault_rule *rule = call->rule;
    rule_post(call->sandbox, call->rule, FAULT_BEFORE, call_notification(call));
    if (rule == NULL || rule->runs) {
        run_function(call);
        record_effect(call);
    }
    rule_post(call->sandbox, call->rule, FAULT_AFTER, call_notification(call));
    if (rule != NULL && rule->action == FAULT_FUNCTION_ERROR) {
        text_printf(&call->failure, "Uncaught Error: %s",
            rule->reply == NULL ? "injected failure" : rule->reply);
        call->count->errors++;
    }
    if (rule != NULL && rule->hold_after && !exchange_is_gone(exchange))
        fault_pause_hold(&call->pause, answer_function, call);
    else
        answer_function(exchange, call);
}

static void match_call_rule(struct backend_call *call)
{
    struct fault_subject subject = {
        .side = FAULT_BACKEND,
        .function = call->call.name,
        .notification = call_notification(call),
    };
    const struct document *agent = call_agent(call);
    subject.agent = agent == NULL ? NULL : document_string(agent, "slug");
    call->rule = faults_match(&call->sandbox->faults, &subject);
}

/* Counts the call before any fault, so that tests see calls that were never answered. */
static void begin_function(struct backend_call *call)
{
    call->count = counts_of(&call->sandbox->counts, call->function->name);
    call->count->calls++;
    call->number =
        call_log_begin(&call->sandbox->call_log, call->function->name, call->call.arguments);
    call->count->last_ms = clock_wall_ms();
    if (call->count->first_us == 0)
        call->count->first_us = clock_monotonic_us();
    const char *trace = exchange_header(call->exchange, "traceparent");
    text_copy(call->count->last_trace, sizeof call->count->last_trace, trace != NULL ? trace : "");
    struct count *total = counts_of(&call->sandbox->counts, "");
    total->calls++;
    total->last_ms = call->count->last_ms;
    record_call_timing(call, false);
    match_call_rule(call);
    const struct fault_rule *rule = call->rule;
    if (rule != NULL)
        call->count->faults++;
    bool hold = rule != NULL && (rule->hold || rule->action == FAULT_HANG);
    fault_pause_begin(
        &call->pause, &call->sandbox->faults, call->rule, call->exchange, 0, hold, run_call, call);
}

/* Answers calls to unknown functions, and to actions called as a query or mutation. */
static void answer_misdirected(struct backend_call *call, const char *kind)
{
    struct call_log *log = &call->sandbox->call_log;
    const char *name = call->call.name != NULL ? call->call.name : call->call.path;
    call_log_end(log, call_log_begin(log, name, call->call.arguments), "misdirected");
    if (call->function == NULL)
        text_printf(&call->failure,
            "Could not find public function for '%s'. Did you forget to run `npx convex dev` or "
            "`npx convex deploy`?",
            call->call.path);
    else
        text_printf(&call->failure, "Trying to execute %s as %s, but it is defined as Action.",
            call->call.path, kind);
    answer_function_error(call);
}

static void begin_call(struct sandbox *sandbox, struct exchange *exchange, const char *kind)
{
    struct function_call read;
    struct refusal refusal;
    if (!function_call_read(exchange, &read, &refusal)) {
        answer_refusal(exchange, refusal.status, refusal.code, "%s", refusal.message);
        return;
    }
    struct backend_call *call = memory_new(1, sizeof *call);
    *call = (struct backend_call){.sandbox = sandbox, .exchange = exchange, .call = read};
    exchange_on_end(exchange, backend_call_end, call);
    call->function = read.name == NULL ? NULL : service_find(service_version(sandbox), read.name);
    if (call->function == NULL || strcmp(kind, "Action") != 0)
        answer_misdirected(call, kind);
    else
        begin_function(call);
}

void backend_begin(struct sandbox *sandbox, struct exchange *exchange)
{
    const char *path = exchange_path(exchange);
    bool is_action = strcmp(path, "/api/action") == 0;
    bool is_query = strcmp(path, "/api/query") == 0;
    if (strcmp(path, "/version") == 0 || strcmp(path, "/instance_version") == 0) {
        answer_plain(exchange, 200, "sandbox " MISSION_CONTROL_VERSION);
    } else if (!is_action && !is_query && strcmp(path, "/api/mutation") != 0) {
        answer_refusal(exchange, 404, "NotFound", "No such route.");
    } else if (strcmp(exchange_method(exchange), "POST") != 0) {
        exchange_add_header(exchange, "Allow", "POST");
        exchange_answer(exchange, 405, NULL, 0);
    } else {
        begin_call(sandbox, exchange, is_action ? "Action" : is_query ? "Query" : "Mutation");
    }
}
