/*
 * The OpenClaw gateway's HTTP interface (docs/protocol.md, "OpenClaw gateway"): responses
 * endpoint, model list, health checks. It refuses in the order of the real one: endpoint disabled,
 * wrong method, draining, wrong token, and only then what gateway_run checks. Fault rules with
 * before_checks apply ahead of the last three.
 *
 * Posts and probes are counted ahead of them as well: the tests of the circuit breaker count what
 * reaches the gateway, not what it accepts.
 */
#include "gateway.h"

#include <strings.h>

#include "answer.h"
#include "base/sync.h"
#include "gateway_run.h"
#include "gateway_session.h"
#include "memory.h"

enum { FIRST_AUTH_DELAY_MS = 250, MAX_AUTH_DELAY_MS = 5000 };

static const char *const live_paths[] = {"/health", "/healthz", NULL};
static const char *const ready_paths[] = {"/ready", "/readyz", "/startup", "/startupz", NULL};

static bool path_is_one_of(const char *path, const char *const *paths)
{
    while (*paths != NULL && strcmp(*paths, path) != 0)
        paths++;
    return *paths != NULL;
}

bool gateway_has_path(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 || path_is_one_of(path, live_paths) ||
           path_is_one_of(path, ready_paths);
}

static bool is_authorized(const struct sandbox *sandbox, const struct exchange *exchange)
{
    const char *token = sandbox->options.gateway_token;
    const char *given = exchange_header(exchange, "Authorization");
    return *token == '\0' || (given != NULL && strncasecmp(given, "Bearer ", 7) == 0 &&
                                 strcmp(given + 7, token) == 0);
}

static void answer_unauthorized(struct exchange *exchange, void *argument)
{
    (void)argument;
    gateway_run_refuse(exchange, 401, "unauthorized", "Unauthorized");
}

/* Refuses a wrong token. Like a real gateway, it delays the answer after repeated failures. */
static void refuse_wrong_token(struct sandbox *sandbox, struct exchange *exchange)
{
    int64_t delay_ms = 0;
    if (sandbox->settings.gateway_auth_delay && sandbox->auth_failures > 0) {
        unsigned doublings = sandbox->auth_failures - 1 < 5 ? sandbox->auth_failures - 1 : 5;
        delay_ms = (int64_t)FIRST_AUTH_DELAY_MS << doublings;
        if (delay_ms > MAX_AUTH_DELAY_MS)
            delay_ms = MAX_AUTH_DELAY_MS;
    }
    sandbox->auth_failures++;
    if (delay_ms > 0)
        exchange_wait(exchange, clock_monotonic_ms() + delay_ms, answer_unauthorized, NULL);
    else
        answer_unauthorized(exchange, NULL);
}

static void refuse_method(struct exchange *exchange, const char *allowed)
{
    exchange_add_header(exchange, "Allow", allowed);
    answer_plain(exchange, 405, "Method Not Allowed");
}

static void answer_draining(struct exchange *exchange)
{
    exchange_add_header(exchange, "Retry-After", "1");
    exchange_add_header(exchange, "Cache-Control", "no-store");
    answer_json(exchange, 503,
        json_pack("{s:{s:s, s:s, s:s}}", "error", "message",
            "Gateway is temporarily unavailable while suspending or restarting", "type",
            "service_unavailable", "code", "gateway_unavailable"));
}

/* The runtime's probe: an empty object, which is refused after the token was checked. */
static bool is_empty_object(const struct text *body)
{
    struct text_span span = text_trim(body->data == NULL ? "" : body->data, body->length_bytes);
    return span.length_bytes == 2 && memcmp(span.bytes, "{}", 2) == 0;
}

static void begin_response(struct sandbox *sandbox, struct exchange *exchange)
{
    if (sandbox->settings.gateway_disabled) {
        answer_plain(exchange, 404, "Not Found");
        return;
    }
    if (strcmp(exchange_method(exchange), "POST") != 0) {
        refuse_method(exchange, "POST");
        return;
    }
    sandbox->recorder.posts++;
    if (is_empty_object(exchange_body(exchange)))
        sandbox->recorder.probes++;
    if (gateway_run_begin_early_fault(sandbox, exchange))
        return;
    if (sandbox->settings.gateway_draining) {
        sandbox->recorder.refused++;
        answer_draining(exchange);
    } else if (!is_authorized(sandbox, exchange)) {
        sandbox->recorder.refused++;
        refuse_wrong_token(sandbox, exchange);
    } else {
        sandbox->auth_failures = 0;
        gateway_run_begin(sandbox, exchange);
    }
}

static void add_model(json_t *models, const char *prefix, const char *agent)
{
    struct text id = {0};
    text_printf(&id, "%s%s", prefix, agent);
    json_array_append_new(models, memory_json(json_pack("{s:s, s:s, s:i, s:s}", "id", id.data,
                                      "object", "model", "created", 0, "owned_by", "openclaw")));
    text_fini(&id);
}

static void answer_models(struct sandbox *sandbox, struct exchange *exchange)
{
    if (strcmp(exchange_method(exchange), "GET") != 0) {
        refuse_method(exchange, "GET");
        return;
    }
    if (!is_authorized(sandbox, exchange)) {
        refuse_wrong_token(sandbox, exchange);
        return;
    }
    json_t *models = memory_json(json_array());
    add_model(models, "", "openclaw");
    add_model(models, "openclaw/", "default");
    json_t *agents = gateway_session_agents(sandbox);
    size_t index;
    const json_t *agent;
    json_array_foreach (agents, index, agent) {
        add_model(models, "openclaw/", json_string_value(agent));
    }
    json_decref(agents);
    answer_json(exchange, 200, json_pack("{s:s, s:o}", "object", "list", "data", models));
}

static void answer_ready(const struct sandbox *sandbox, struct exchange *exchange, bool startup)
{
    bool draining = sandbox->settings.gateway_draining;
    unsigned status = draining ? 503 : 200;
    json_int_t uptime_ms = clock_monotonic_ms() - sandbox->started_ms;
    if (startup)
        answer_json(exchange, status,
            json_pack("{s:b, s:s, s:s, s:I}", "ok", !draining, "status",
                draining ? "draining" : "started", "version", "2026.9.6", "uptimeMs", uptime_ms));
    else
        answer_json(exchange, status,
            json_pack("{s:b, s:o, s:I}", "ready", !draining, "failing",
                draining ? json_pack("[s]", "gateway-draining") : json_array(), "uptimeMs",
                uptime_ms));
}

void gateway_begin(struct sandbox *sandbox, struct exchange *exchange)
{
    const char *path = exchange_path(exchange);
    const char *method = exchange_method(exchange);
    exchange_add_header(exchange, "X-Content-Type-Options", "nosniff");
    exchange_add_header(exchange, "Referrer-Policy", "no-referrer");
    exchange_add_header(
        exchange, "Permissions-Policy", "camera=(), microphone=(self), geolocation=()");
    if (strcmp(path, "/v1/responses") == 0)
        begin_response(sandbox, exchange);
    else if (strcmp(path, "/v1/models") == 0)
        answer_models(sandbox, exchange);
    else if (strncmp(path, "/v1/", 4) == 0)
        answer_plain(exchange, 404, "Not Found");
    else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        refuse_method(exchange, "GET, HEAD");
    else if (path_is_one_of(path, live_paths))
        answer_json(exchange, 200, json_pack("{s:b, s:s}", "ok", 1, "status", "live"));
    else
        answer_ready(sandbox, exchange, strncmp(path, "/startup", 8) == 0);
}
