#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/sync.h"
#include "gateway/access.h"

enum {
    ANSWER_LIMIT_BYTES = 8 * 1024 * 1024,
    HEADERS = 8,
    MAX_VALUE_BYTES = 4096, /* of a header that others choose */
    MAX_REFUSAL_MS = 3000,  /* that nobody has been asked meanwhile */
};

void gateway_result_fini(struct gateway_result *result)
{
    json_decref(result->body);
    result->body = NULL;
}

static bool add_endpoints(struct gateway *gateway, const char *url)
{
    struct text endpoint = {0};
    struct text models = {0};
    text_printf(&endpoint, "%s/v1/responses", url);
    text_printf(&models, "%s/v1/models", url);
    gateway->endpoint = text_take(&endpoint);
    gateway->models_endpoint = text_take(&models);
    return gateway->endpoint != NULL && gateway->models_endpoint != NULL;
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
        complete = add_endpoints(created, url);
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
    free(gateway->endpoint);
    free(gateway->models_endpoint);
    secret_destroy(gateway->token);
    free(gateway);
}

bool gateway_is_enabled(const struct gateway *gateway)
{
    return gateway->endpoint != NULL;
}

bool gateway_exchange_token(struct gateway *gateway, char **token)
{
    return secret_exchange(gateway->token, token);
}

void gateway_append_authorization(const struct gateway *gateway, struct text *text)
{
    struct text token = {0};
    secret_append(gateway->token, &token);
    if (token.failed)
        text->failed = true;
    else if (token.length_bytes > 0)
        text_printf(text, "Authorization: Bearer %s", token.data);
    text_fini(&token);
}

/* The request that every release accepts; an unknown key would be refused. */
static char *build_body(const struct gateway_message *message)
{
    struct text model = {0};
    text_append(&model, "openclaw");
    if (message->agent_slug[0] != '\0')
        text_printf(&model, ":%s", message->agent_slug);
    if (model.failed)
        return NULL;
    json_t *body = json_pack("{s:s, s:s%, s:b, s:s}", "model", model.data, "input", message->input,
        message->input_bytes, "stream", 0, "user", message->session_key);
    text_fini(&model);
    char *dumped = json_write(body);
    json_decref(body);
    return dumped;
}

/* "name: value\n" pieces collected in one text and then cut into lines. */
struct header_lines {
    struct text text;
    const char *lines[HEADERS + 1];
};

static void add_headers(
    const struct gateway *gateway, const struct gateway_message *message, struct text *text)
{
    const char *key = message->session_key;
    const char *slug = message->agent_slug;
    text_append(text, "Content-Type: application/json\n");
    text_printf(text, "x-openclaw-session-key: %s\nx-clawdbot-session-key: %s\n", key, key);
    if (slug[0] != '\0')
        text_printf(text, "x-openclaw-agent-id: %s\nx-clawdbot-agent-id: %s\n", slug, slug);
    size_t before_bytes = text->length_bytes;
    gateway_append_authorization(gateway, text);
    if (text->length_bytes > before_bytes)
        text_append(text, "\n");
    char trace[TRACE_HEADER_BYTES];
    if (trace_header(message->trace, trace))
        text_printf(text, "%s\n", trace);
}

static bool build_headers(const struct gateway *gateway, const struct gateway_message *message,
    struct header_lines *headers)
{
    *headers = (struct header_lines){0};
    add_headers(gateway, message, &headers->text);
    if (headers->text.failed) {
        text_fini(&headers->text);
        return false;
    }
    size_t count = 0;
    for (char *line = headers->text.data; *line != '\0' && count < HEADERS;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        headers->lines[count++] = line;
        line = end + 1;
    }
    return true;
}

/*
 * Whether text may stand in a header: a line end would let it add headers of its own. Gateways take
 * 16 KiB of headers in all, and each of these stands in two of them.
 */
static bool fits_header(const char *text)
{
    size_t length_bytes = 0;
    for (; text[length_bytes] != '\0'; length_bytes++)
        if ((unsigned char)text[length_bytes] < ' ' || text[length_bytes] == 0x7F)
            return false;
    return length_bytes <= MAX_VALUE_BYTES;
}

static void fail(struct gateway_result *result, enum gateway_outcome outcome, enum error_code code,
    const char *text)
{
    result->outcome = outcome;
    error_set(&result->error, code, "%s", text);
}

/*
 * What a proxy says of a gateway that did not answer may after a while mean that the agent was
 * still at work; a 503 never, as gateways that drain say it themselves.
 */
static bool may_be_at_work(int status, int64_t after_ms)
{
    return gateway_is_absent_by(status) && status != 503 && after_ms > MAX_REFUSAL_MS;
}

static void perform(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, const char *body, struct gateway_result *result)
{
    struct header_lines headers;
    if (!build_headers(gateway, message, &headers)) {
        fail(result, GATEWAY_UNREACHABLE, ERROR_NO_MEMORY, "no memory for the request");
        return;
    }
    const struct http_request request = {
        .url = gateway->endpoint,
        .headers = headers.lines,
        .body = body,
        .body_bytes = strlen(body),
        .timeout_ms = message->timeout_ms,
        .response_limit_bytes = ANSWER_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true, /* it would be shown the token */
    };
    struct http_response answer;
    int64_t began_ms = clock_monotonic_ms();
    http_client_perform(client, &request, &answer);
    text_fini(&headers.text);
    gateway_classify(&answer, result);
    if (result->outcome == GATEWAY_REFUSED &&
        may_be_at_work(answer.status, clock_monotonic_ms() - began_ms))
        result->outcome = GATEWAY_AMBIGUOUS;
    if (result->timed_out)
        error_set(&result->error, ERROR_TIMEOUT,
            "OpenClaw gateway request failed: OpenClaw gateway request timed out after %lldms",
            (long long)message->timeout_ms);
}

void gateway_send(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, struct gateway_result *result)
{
    *result = (struct gateway_result){.outcome = GATEWAY_DISABLED};
    if (!gateway_is_enabled(gateway)) {
        fail(result, GATEWAY_DISABLED, ERROR_CLOSED,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); cannot send to session");
        return;
    }
    if (!fits_header(message->session_key) || !fits_header(message->agent_slug)) {
        fail(result, GATEWAY_REFUSED, ERROR_INVALID,
            "the agent's slug or session key holds control characters, or is longer than the "
            "headers that a gateway takes");
        return;
    }
    char *body = build_body(message);
    if (body == NULL) {
        fail(result, GATEWAY_UNREACHABLE, ERROR_NO_MEMORY, "no memory for the request");
        return;
    }
    perform(gateway, client, message, body, result);
    free(body);
}

enum { INQUIRY_LIMIT_BYTES = 1024 * 1024, INQUIRY_HEADERS = 3 };

static const char model_prefix[] = "openclaw/";

static void ask(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    const char *url, const char *body, struct http_response *answer)
{
    struct text authorization = {0};
    char trace[TRACE_HEADER_BYTES];
    const char *headers[INQUIRY_HEADERS + 1] = {"Content-Type: application/json"};
    size_t count = 1;
    gateway_append_authorization(gateway, &authorization);
    if (authorization.length_bytes > 0)
        headers[count++] = authorization.data;
    if (trace_header(inquiry->trace, trace))
        headers[count++] = trace;
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .body = body,
        .body_bytes = body != NULL ? strlen(body) : 0,
        .timeout_ms = inquiry->timeout_ms,
        .response_limit_bytes = INQUIRY_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true, /* it would be shown the token */
    };
    http_client_perform(inquiry->client, &request, answer);
    text_fini(&authorization);
}

/*
 * Whether no gateway can have answered so: every release takes POST at that path, and answers an
 * empty object in JSON. A web server that takes everything does neither.
 */
static bool is_somebody_else(const struct http_response *answer)
{
    json_t *body = NULL;
    if (answer->status == 405 || answer->failure == HTTP_TOO_LARGE)
        return true;
    if (answer->status < 200 || answer->status >= 300)
        return false;
    json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL);
    bool is_object = json_is_object(body);
    json_decref(body);
    return !is_object;
}

static enum gateway_outcome judge(const struct http_response *answer, enum gateway_outcome outcome)
{
    switch (outcome) {
    case GATEWAY_AMBIGUOUS: /* an empty object runs no agent */
        return GATEWAY_UNREACHABLE;
    case GATEWAY_REFUSED:
        if (gateway_is_absent_by(answer->status))
            return GATEWAY_UNREACHABLE;
        return is_somebody_else(answer) ? GATEWAY_MISCONFIGURED : GATEWAY_REPLIED;
    case GATEWAY_FAILED_RUN:
        return is_somebody_else(answer) ? GATEWAY_MISCONFIGURED : GATEWAY_REPLIED;
    default:
        return outcome;
    }
}

void gateway_probe(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_result *result)
{
    *result = (struct gateway_result){.outcome = GATEWAY_DISABLED};
    if (!gateway_is_enabled(gateway)) {
        error_set(&result->error, ERROR_CLOSED,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); it is disabled");
        return;
    }
    struct http_response answer;
    ask(gateway, inquiry, gateway->endpoint, "{}", &answer);
    gateway_classify(&answer, result);
    gateway_result_fini(result);
    result->outcome = judge(&answer, result->outcome);
}

/* The names in an answer of the models endpoint; NULL when it is none. */
static json_t *read_list(const struct http_response *answer)
{
    json_t *body;
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL) != 0)
        return NULL;
    const json_t *data = json_object_get(body, "data");
    json_t *list = json_is_array(data) ? json_array() : NULL;
    size_t index;
    const json_t *item;
    json_array_foreach (data, index, item) {
        const char *id = json_guard_string(item, "id");
        if (list != NULL && id != NULL && json_array_append_new(list, json_string(id)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    json_decref(body);
    return list;
}

void gateway_models_fetch(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_models *models)
{
    *models = (struct gateway_models){0};
    if (!gateway_is_enabled(gateway))
        return;
    struct http_response answer;
    ask(gateway, inquiry, gateway->models_endpoint, NULL, &answer);
    if (answer.failure == HTTP_ANSWERED && answer.status == 200)
        models->list = read_list(&answer);
    models->known = models->list != NULL;
    models->unsupported = answer.failure == HTTP_ANSWERED && answer.status == 404;
}

void gateway_models_fini(struct gateway_models *models)
{
    json_decref(models->list);
    *models = (struct gateway_models){0};
}

bool gateway_models_have(const struct gateway_models *models, const char *agent_slug)
{
    size_t index;
    const json_t *item;
    if (!models->known)
        return true;
    json_array_foreach (models->list, index, item) {
        const char *id = json_string_value(item);
        if (strncmp(id, model_prefix, sizeof model_prefix - 1) == 0 &&
            strcasecmp(id + sizeof model_prefix - 1, agent_slug) == 0)
            return true;
    }
    return false;
}
