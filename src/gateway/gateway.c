/*
 * The HTTP client for the OpenClaw gateway. Five requests exist:
 *
 *   send     POST /v1/responses with a message; runs an agent, answered when the run has ended
 *   probe    POST /v1/responses with {}; the gateway rejects it after checking the token, so a 400
 *            proves that gateway, endpoint and token are good without running anything
 *   models   GET /v1/models; lists the agents that the gateway has
 *   release  GET /startupz; tells the release, if it is one that has this path
 *   dialect  POST /v1/responses with a tool and without input; see dialect.c
 *
 * A run costs money and has side effects, so a send goes out exactly once: each request opens a
 * connection of its own, because libcurl repeats a POST by itself when a reused connection dies
 * before the first byte of the answer. There are no retries here; classify.c interprets the answer,
 * and the callers decide what follows (delivery/attempt.c for sends, gateway/breaker.c for
 * probes).
 *
 * struct gateway is immutable except for the token, which SIGHUP may replace. Workers, probers, the
 * agent syncer and the doctor share it; each brings its own http_client and blocks in its request.
 */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/secret.h"
#include "base/sync.h"

enum {
    RUN_RESPONSE_LIMIT_BYTES = 8 * 1024 * 1024,
    PROBE_RESPONSE_LIMIT_BYTES = 1024 * 1024,
    MAX_HEADERS = 8,
    /* Long enough for a network to come back: what is lost here is a run that was paid for. */
    USER_TIMEOUT_MS = 120 * 1000,
    /* Gateways take 16 KiB of headers in all; session key and slug each go into two of them. */
    MAX_HEADER_VALUE_BYTES = 4096,
};

struct gateway {
    char *responses_url; /* NULL when disabled */
    char *models_url;    /* NULL when disabled */
    char *startup_url;   /* NULL when disabled */
    struct secret *token;
};

static bool set_endpoints(struct gateway *gateway, const char *url)
{
    struct text responses = {0};
    struct text models = {0};
    text_printf(&responses, "%s/v1/responses", url);
    struct text startup = {0};
    text_printf(&models, "%s/v1/models", url);
    text_printf(&startup, "%s/startupz", url);
    gateway->responses_url = text_take(&responses);
    gateway->models_url = text_take(&models);
    gateway->startup_url = text_take(&startup);
    return gateway->responses_url != NULL && gateway->models_url != NULL &&
           gateway->startup_url != NULL;
}

int gateway_create(
    struct gateway **gateway, const char *url, const char *token, struct error *error)
{
    struct gateway *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway client");
    created->token = secret_create(token);
    bool complete = created->token != NULL;
    if (complete && url[0] != '\0')
        complete = set_endpoints(created, url);
    if (!complete) {
        gateway_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway client");
    }
    *gateway = created;
    return 0;
}

void gateway_destroy(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    free(gateway->responses_url);
    free(gateway->models_url);
    free(gateway->startup_url);
    secret_destroy(gateway->token);
    free(gateway);
}

bool gateway_is_enabled(const struct gateway *gateway)
{
    return gateway->responses_url != NULL;
}

bool gateway_exchange_token(struct gateway *gateway, char **token)
{
    return secret_exchange(gateway->token, token);
}

/*
 * Appends the header lines of a request, each ended by '\n'; message is NULL unless it is a send.
 * Old gateways know the clawdbot names, new ones the openclaw names.
 */
static void append_headers(const struct gateway *gateway, const struct gateway_message *message,
    const struct trace *trace, struct text *lines)
{
    char trace_line[TRACE_HEADER_BYTES];
    struct text token = {0};
    text_append(lines, "Content-Type: application/json\n");
    if (message != NULL) {
        const char *key = message->session_key;
        const char *slug = message->agent_slug;
        text_printf(lines, "x-openclaw-session-key: %s\nx-clawdbot-session-key: %s\n", key, key);
        if (slug[0] != '\0')
            text_printf(lines, "x-openclaw-agent-id: %s\nx-clawdbot-agent-id: %s\n", slug, slug);
    }
    secret_append(gateway->token, &token);
    if (token.length_bytes > 0)
        text_printf(lines, "Authorization: Bearer %s\n", token.data);
    lines->failed = lines->failed || token.failed;
    text_fini(&token);
    if (trace_header(trace, trace_line))
        text_printf(lines, "%s\n", trace_line);
}

/* Performs request, whose remaining fields it sets, with the header lines; empties lines. */
static void perform_gateway_request(struct http_client *client, struct http_request *request,
    struct text *lines, struct http_response *answer)
{
    const char *headers[MAX_HEADERS + 1] = {NULL};
    size_t count = 0;
    if (lines->failed) {
        *answer = (struct http_response){
            .failure = HTTP_NO_MEMORY, .reason = "no memory for the request's headers"};
        text_fini(lines);
        return;
    }
    for (char *line = lines->data; *line != '\0' && count < MAX_HEADERS;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        headers[count++] = line;
        line = end + 1;
    }
    request->headers = headers;
    request->body_bytes = request->body != NULL ? strlen(request->body) : 0;
    request->single_use_connection = true;
    request->user_timeout_ms = USER_TIMEOUT_MS;
    request->ignore_proxy = true; /* a proxy would see the token */
    http_client_perform(client, request, answer);
    request->headers = NULL;
    text_fini(lines);
}

static void append_member(struct text *body, const char *name, const char *value)
{
    text_printf(body, ",\"%s\":", name);
    json_append_string(body, value, strlen(value));
}

static void append_tools(struct text *body, const char *const *tools)
{
    text_append(body, ",\"tools\":");
    for (size_t i = 0; tools[i] != NULL; i++) {
        text_append(body, i == 0 ? "[" : ",");
        text_append(body, tools[i]);
    }
    text_append(body, tools[0] != NULL ? "]" : "[]");
}

/*
 * Only keys that every release accepts, and tools: gateways reject a request with an unknown one.
 * Written as it stands and not by way of a tree, as each worker may wait for minutes with what such
 * a copy leaves of its heap.
 */
static char *build_run_body(const struct gateway_message *message)
{
    struct text body = {0};
    struct text model = {0};
    text_append(&model, "openclaw");
    if (message->agent_slug[0] != '\0')
        text_printf(&model, ":%s", message->agent_slug);
    text_append(&body, "{\"model\":");
    if (model.failed)
        body.failed = true;
    else
        json_append_string(&body, model.data, model.length_bytes);
    text_fini(&model);
    text_append(&body, ",\"input\":");
    if (message->items != NULL)
        json_append(&body, message->items);
    else
        json_append_string(&body, message->input->data, message->input->length_bytes);
    text_append(&body, ",\"stream\":false");
    append_member(&body, "user", message->session_key);
    if (message->instructions != NULL)
        append_member(&body, "instructions", message->instructions);
    if (message->tools != NULL)
        append_tools(&body, message->tools);
    text_append(&body, "}");
    return text_take(&body);
}

/* Whether value can be sent in a header. A line end in it would smuggle in further headers. */
static bool fits_header(const char *value)
{
    size_t length_bytes = 0;
    for (; value[length_bytes] != '\0'; length_bytes++)
        if ((unsigned char)value[length_bytes] < ' ' || value[length_bytes] == 0x7F)
            return false;
    return length_bytes <= MAX_HEADER_VALUE_BYTES;
}

static void post_message(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, const char *body, struct gateway_result *result)
{
    struct text lines = {0};
    struct http_request request = {
        .url = gateway->responses_url,
        .body = body,
        .timeout_ms = message->timeout_ms,
        .response_limit_bytes = RUN_RESPONSE_LIMIT_BYTES,
    };
    struct http_response answer;
    append_headers(gateway, message, message->trace, &lines);
    perform_gateway_request(client, &request, &lines, &answer);
    gateway_classify(&answer, result);
    if (result->timed_out)
        error_set(&result->error, ERROR_TIMEOUT,
            "OpenClaw gateway request failed: OpenClaw gateway request timed out after %lldms",
            (long long)message->timeout_ms);
}

/* Ends a send or probe of which nothing has gone out. */
static void fail_unsent(struct gateway_result *result, enum gateway_outcome outcome,
    enum error_code code, const char *text)
{
    result->outcome = outcome;
    error_set(&result->error, code, "%s", text);
}

void gateway_send(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, struct gateway_result *result)
{
    *result = (struct gateway_result){0};
    if (gateway->responses_url == NULL) {
        fail_unsent(result, GATEWAY_DISABLED, ERROR_CLOSED,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); cannot send to session");
        return;
    }
    if (!fits_header(message->session_key) || !fits_header(message->agent_slug)) {
        fail_unsent(result, GATEWAY_REFUSED, ERROR_INVALID,
            "the agent's slug or session key contains control characters or is too long for a "
            "header");
        return;
    }
    char *body = build_run_body(message);
    if (body == NULL) {
        fail_unsent(result, GATEWAY_UNREACHABLE, ERROR_NO_MEMORY, "no memory for the request");
        return;
    }
    if (message->input != NULL)
        text_fini(message->input);
    post_message(gateway, client, message, body, result);
    free(body);
}

/* A request that runs no agent; body NULL makes it a GET. */
static void inquire(const struct gateway *gateway, struct http_client *client, int64_t timeout_ms,
    const struct trace *trace, const char *url, const char *body, struct http_response *answer)
{
    struct text lines = {0};
    struct http_request request = {
        .url = url,
        .body = body,
        .timeout_ms = timeout_ms,
        .response_limit_bytes = PROBE_RESPONSE_LIMIT_BYTES,
    };
    append_headers(gateway, NULL, trace, &lines);
    perform_gateway_request(client, &request, &lines, answer);
}

/* Whether the answer is JSON as a gateway sends it: an object, for a 400 one that explains. */
static bool is_gateway_json(const struct http_response *answer)
{
    json_t *body = NULL;
    if (answer->failure != HTTP_ANSWERED)
        return false;
    json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL);
    const json_t *reason = json_object_get(body, "error");
    bool is_json = json_is_object(body) &&
                   (answer->status != 400 || json_is_object(reason) || json_is_string(reason));
    json_decref(body);
    return is_json;
}

/*
 * What the outcome of a send would have been, read as that of a probe. Nothing can have run, so an
 * unclear answer only means that the gateway could not be heard; one that no gateway gives, such as
 * a page with status 200, that the URL leads to something else.
 */
static enum gateway_outcome probe_outcome(
    const struct http_response *answer, enum gateway_outcome outcome)
{
    enum { UNPROCESSABLE = 422 }; /* what others than OpenClaw's say to {} */
    bool succeeded = answer->status >= 200 && answer->status < 300;
    if (answer->status == UNPROCESSABLE && is_gateway_json(answer))
        return GATEWAY_REPLIED;
    switch (outcome) {
    case GATEWAY_REFUSED:
    case GATEWAY_FAILED_RUN:
        return is_gateway_json(answer) ? GATEWAY_REPLIED : GATEWAY_MISCONFIGURED;
    case GATEWAY_AMBIGUOUS:
        return answer->failure == HTTP_ANSWERED && succeeded ? GATEWAY_MISCONFIGURED
                                                             : GATEWAY_UNREACHABLE;
    default:
        return outcome;
    }
}

void gateway_probe(const struct gateway *gateway, struct http_client *client, int64_t timeout_ms,
    const struct trace *trace, struct gateway_result *result)
{
    *result = (struct gateway_result){0};
    if (!gateway_is_enabled(gateway)) {
        fail_unsent(result, GATEWAY_DISABLED, ERROR_CLOSED,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); it is disabled");
        return;
    }
    struct http_response answer;
    inquire(gateway, client, timeout_ms, trace, gateway->responses_url, "{}", &answer);
    gateway_classify(&answer, result);
    json_decref(result->body);
    result->body = NULL;
    result->outcome = probe_outcome(&answer, result->outcome);
    /* Also of a connection that was slow to come about: such a gateway may only be slow. */
    result->timed_out = answer.timed_out;
}

void gateway_release_fetch(const struct gateway *gateway, struct http_client *client,
    int64_t timeout_ms, const struct trace *trace, struct gateway_release *release)
{
    *release = (struct gateway_release){0};
    if (!gateway_is_enabled(gateway))
        return;
    struct http_response answer;
    json_t *body = NULL;
    inquire(gateway, client, timeout_ms, trace, gateway->startup_url, NULL, &answer);
    if (answer.failure != HTTP_ANSWERED)
        return;
    json_guard_load(answer.body.bytes, answer.body.length_bytes, &body, NULL);
    const char *version = json_guard_string(body, "version");
    /* While it starts it answers 503 with the same body. */
    if (json_guard_string(body, "status") != NULL)
        release->generation = GATEWAY_CURRENT;
    else if (answer.status == 404)
        release->generation = GATEWAY_OLD;
    if (release->generation == GATEWAY_CURRENT && version != NULL)
        text_copy(release->version, sizeof release->version, version);
    json_decref(body);
}

enum tool_dialect gateway_dialect_fetch(const struct gateway *gateway, struct http_client *client,
    const char *agent_slug, int64_t timeout_ms, const struct trace *trace, int *status)
{
    struct http_response answer;
    *status = 0;
    char *question = gateway_is_enabled(gateway) ? dialect_question(agent_slug) : NULL;
    if (question == NULL)
        return DIALECT_UNKNOWN;
    inquire(gateway, client, timeout_ms, trace, gateway->responses_url, question, &answer);
    free(question);
    *status = answer.status;
    return dialect_read(&answer);
}

/* The ids in an answer of the models endpoint, an array; NULL when it is not a model list. */
static json_t *read_model_ids(const struct http_response *answer)
{
    json_t *body;
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL) != 0)
        return NULL;
    const json_t *data = json_object_get(body, "data");
    json_t *ids = json_is_array(data) ? json_array() : NULL;
    size_t index;
    const json_t *item;
    json_array_foreach (data, index, item) {
        const char *id = json_guard_string(item, "id");
        /* An incomplete list would make agents look missing, so it is dropped. */
        if (ids != NULL && id != NULL && json_array_append_new(ids, json_string(id)) != 0) {
            json_decref(ids);
            ids = NULL;
        }
    }
    json_decref(body);
    return ids;
}

void gateway_models_fetch(const struct gateway *gateway, struct http_client *client,
    int64_t timeout_ms, const struct trace *trace, struct gateway_models *models)
{
    *models = (struct gateway_models){0};
    if (!gateway_is_enabled(gateway))
        return;
    struct http_response answer;
    inquire(gateway, client, timeout_ms, trace, gateway->models_url, NULL, &answer);
    if (answer.failure == HTTP_ANSWERED && answer.status == 200)
        models->list = read_model_ids(&answer);
    models->known = models->list != NULL;
    models->unsupported = answer.failure == HTTP_ANSWERED && answer.status == 404;
}

void gateway_models_fini(struct gateway_models *models)
{
    json_decref(models->list);
    *models = (struct gateway_models){0};
}
