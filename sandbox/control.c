/*
 * Routes of the control API (docs/sandbox.md). Tests depend on its fields and codes to the letter.
 * A request body is at most one JSON object; an absent one is the empty object, so handlers never
 * see NULL.
 *
 * There is no password. Browsers are kept out by their Origin header: a page of another site must
 * not drive the sandbox through a visitor's browser.
 */
#include "control.h"

#include <math.h>

#include "answer.h"
#include "base/json.h"
#include "control_state.h"
#include "memory.h"

const char *control_string(const json_t *body, const char *key, const char *fallback)
{
    const char *string = json_guard_string(body, key);
    return string == NULL ? fallback : string;
}

static void handle_stats(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    answer_json(exchange, 200, control_stats(sandbox));
}

static void handle_state(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_state(sandbox, exchange);
}

static void handle_gateway(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_gateway(sandbox, exchange);
}

static void handle_info(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_info(sandbox, exchange);
}

static void handle_calls(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_calls(sandbox, exchange);
}

static void handle_tools(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_tools(sandbox, exchange);
}

static void handle_effects(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    control_answer_effects(sandbox, exchange);
}

static void handle_timings(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    answer_json(exchange, 200, json_pack("{s:o}", "timings", timings_describe(&sandbox->timings)));
}

static void handle_wait(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    waits_begin(sandbox, exchange);
}

static void handle_faults(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    answer_json(exchange, 200,
        json_pack("{s:o, s:I}", "rules", faults_describe(&sandbox->faults), "held",
            (json_int_t)sandbox->faults.held_count));
}

static void handle_add_faults(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct error error;
    if (faults_add(&sandbox->faults, body, &error) != 0)
        answer_refusal(exchange, 400, "BadRule", "%s", error.text);
    else
        handle_faults(sandbox, exchange, body);
}

static void handle_clear_faults(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    faults_clear(&sandbox->faults, exchange_query(exchange, "name"));
    handle_faults(sandbox, exchange, body);
}

static void handle_release(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    double count = INFINITY;
    json_guard_number(json_object_get(body, "count"), 1, 1e9, &count);
    size_t released = faults_release(&sandbox->faults, json_guard_string(body, "name"), count);
    answer_json(exchange, 200, json_pack("{s:I}", "released", (json_int_t)released));
}

static void handle_reset(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    sandbox_reset(sandbox);
    answer_json(exchange, 200, control_stats(sandbox));
}

static const struct {
    const char *method;
    const char *path;
    control_function *answer;
} routes[] = {
    {"GET", "/sandbox/info", handle_info},
    {"GET", "/sandbox/stats", handle_stats},
    {"GET", "/sandbox/state", handle_state},
    {"GET", "/sandbox/gateway", handle_gateway},
    {"GET", "/sandbox/calls", handle_calls},
    {"GET", "/sandbox/tools", handle_tools},
    {"GET", "/sandbox/effects", handle_effects},
    {"GET", "/sandbox/timings", handle_timings},
    {"GET", "/sandbox/wait", handle_wait},
    {"GET", "/sandbox/faults", handle_faults},
    {"POST", "/sandbox/faults", handle_add_faults},
    {"DELETE", "/sandbox/faults", handle_clear_faults},
    {"POST", "/sandbox/faults/clear", handle_clear_faults},
    {"POST", "/sandbox/release", handle_release},
    {"POST", "/sandbox/reset", handle_reset},
    {"POST", "/sandbox/seed", control_seed},
    {"POST", "/sandbox/load", control_load},
    {"POST", "/sandbox/message", control_message},
    {"POST", "/sandbox/assign", control_assign},
    {"POST", "/sandbox/status", control_status},
    {"POST", "/sandbox/notify", control_notify},
    {"POST", "/sandbox/request", control_request},
    {"POST", "/sandbox/agents", control_make_agent},
    {"POST", "/sandbox/agents/change", control_change_agent},
    {"POST", "/sandbox/agents/remove", control_remove_agent},
    {"GET", "/sandbox/runtime", control_runtime},
    {"POST", "/sandbox/runtime/kill", control_kill_runtime},
    {"POST", "/sandbox/readers", control_readers},
    {"POST", "/sandbox/sweep", control_sweep},
    {"POST", "/sandbox/delete", control_delete},
    {"POST", "/sandbox/set", control_set},
    {"POST", "/sandbox/token", control_token},
    {"POST", "/sandbox/restart", control_restart},
    {"POST", "/sandbox/upgrade", control_upgrade},
    {"POST", "/sandbox/settings", control_settings},
};

/* A page of another origin must not drive the sandbox through a visitor's browser. */
static bool is_foreign(const struct exchange *exchange)
{
    const char *origin = exchange_header(exchange, "Origin");
    const char *host = exchange_header(exchange, "Host");
    if (origin == NULL)
        return false;
    const char *authority = strstr(origin, "://");
    return authority == NULL || host == NULL || strcmp(authority + 3, host) != 0;
}

static void call_route(struct sandbox *sandbox, struct exchange *exchange, control_function *answer)
{
    const struct text *bytes = exchange_body(exchange);
    json_t *body = NULL;
    struct error error = {0};
    int result = 0;
    if (bytes->length_bytes == 0)
        body = memory_json(json_object());
    else
        result = json_guard_load(bytes->data, bytes->length_bytes, &body, &error);
    if (exchange_body_is_too_large(exchange))
        answer_refusal(exchange, 413, "TooLarge", "the body exceeds 64 MiB");
    else if (result != 0)
        answer_refusal(exchange, 400, "BadJson", "%s", error.text);
    else if (!json_is_object(body))
        answer_refusal(exchange, 400, "BadJson", "the body must be an object");
    else
        answer(sandbox, exchange, body);
    json_decref(body);
}

void control_begin(struct sandbox *sandbox, struct exchange *exchange)
{
    const char *method = exchange_method(exchange);
    const char *path = exchange_path(exchange);
    bool path_exists = false;
    exchange_add_header(exchange, "Cache-Control", "no-store");
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    if (strcmp(method, "GET") != 0 && is_foreign(exchange)) {
        answer_refusal(exchange, 403, "ForeignOrigin", "requests from other origins are refused");
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        path_exists = true;
        if (strcmp(routes[i].method, method) == 0) {
            call_route(sandbox, exchange, routes[i].answer);
            return;
        }
    }
    if (path_exists)
        answer_refusal(exchange, 405, "MethodNotAllowed", "%s does not accept %s", path, method);
    else
        answer_refusal(exchange, 404, "NotFound", "no such route: %s", path);
}
