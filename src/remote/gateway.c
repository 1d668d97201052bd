#include "remote/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"

enum {
    ANSWER_LIMIT_BYTES = 8 * 1024 * 1024,
    QUOTE_BYTES = 400,
    STATUS_QUOTE_BYTES = 33,
    HEADERS = 8
};

static const int64_t LONGEST_RETRY_AFTER_MS = INT64_C(15) * 60 * 1000;

struct gateway {
    char *endpoint;      /* NULL when disabled */
    char *authorization; /* the whole header; NULL for none */
};

void gateway_result_fini(struct gateway_result *result)
{
    json_decref(result->body);
    result->body = NULL;
}

int gateway_create(
    struct gateway **gateway, const char *url, const char *token, struct error *error)
{
    struct gateway *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway client");
    bool complete = true;
    if (url[0] != '\0') {
        struct text endpoint = {0};
        text_printf(&endpoint, "%s/v1/responses", url);
        complete = (created->endpoint = text_take(&endpoint)) != NULL;
    }
    if (complete && token != NULL && token[0] != '\0') {
        struct text header = {0};
        text_printf(&header, "Authorization: Bearer %s", token);
        complete = (created->authorization = text_take(&header)) != NULL;
    }
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
    free(gateway->authorization);
    free(gateway);
}

bool gateway_is_enabled(const struct gateway *gateway)
{
    return gateway->endpoint != NULL;
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
    char *dumped = json_guard_dump(body);
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
    if (gateway->authorization != NULL)
        text_printf(text, "%s\n", gateway->authorization);
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

/* Whether text may stand in a header: a line end would let it add headers of its own. */
static bool fits_header(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            return false;
    return true;
}

static void fail(struct gateway_result *result, enum gateway_outcome outcome, enum error_code code,
    const char *text)
{
    result->outcome = outcome;
    error_set(&result->error, code, "%s", text);
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
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true, /* it would be shown the token */
    };
    struct http_answer answer;
    http_client_perform(client, &request, &answer);
    text_fini(&headers.text);
    gateway_classify(&answer, result);
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
            "the agent's slug or session key holds control characters");
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

/* Whether the gateway's own answer says that it is draining, with or without a Retry-After. */
static bool says_unavailable(const json_t *body)
{
    const char *code = json_guard_string(json_object_get(body, "error"), "code");
    return code != NULL && strcmp(code, "gateway_unavailable") == 0;
}

/* A response resource proves that a run took place; a bare error comes from before it. */
static bool is_resource(const json_t *body)
{
    const char *object = json_guard_string(body, "object");
    return object != NULL && strcmp(object, "response") == 0;
}

static enum gateway_outcome classify_error_status(
    const struct http_answer *answer, const json_t *body)
{
    int status = answer->status;
    if (is_resource(body))
        return GATEWAY_FAILED_RUN;
    if (status == 401 || status == 403 || status == 404 || (status >= 300 && status < 400))
        return GATEWAY_MISCONFIGURED;
    if ((status == 503 && says_unavailable(body)) ||
        ((status == 503 || status == 429) && answer->has_retry_after))
        return GATEWAY_BUSY;
    return GATEWAY_REFUSED;
}

static void classify_status(const struct http_answer *answer, struct gateway_result *result)
{
    json_t *body = NULL;
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL) != 0)
        body = NULL;
    result->outcome = classify_error_status(answer, body);
    json_decref(body);
    if (result->outcome == GATEWAY_BUSY)
        result->retry_after_ms = answer->retry_after_ms < LONGEST_RETRY_AFTER_MS
                                     ? answer->retry_after_ms
                                     : LONGEST_RETRY_AFTER_MS;
    char quote[QUOTE_BYTES];
    text_quote(quote, sizeof quote, answer->body.bytes, answer->body.length_bytes);
    error_set(&result->error, ERROR_REMOTE, "OpenClaw gateway returned %d: %s", answer->status,
        quote[0] != '\0' ? quote : "(no body)");
}

/* An answer without a status, as older releases give, counts as completed. */
static bool ended_otherwise(const json_t *body)
{
    const json_t *status = json_object_get(body, "status");
    const char *word = json_string_value(status);
    return status != NULL && (word == NULL || strcmp(word, "completed") != 0);
}

static void quote_string(char *quote, size_t quote_bytes, const json_t *object, const char *key)
{
    const char *words = json_guard_string(object, key);
    text_quote(quote, quote_bytes, words != NULL ? words : "", words != NULL ? strlen(words) : 0);
}

static void explain_failed_run(const json_t *body, struct gateway_result *result)
{
    char status[STATUS_QUOTE_BYTES];
    char message[QUOTE_BYTES];
    quote_string(status, sizeof status, body, "status");
    quote_string(message, sizeof message, json_object_get(body, "error"), "message");
    result->outcome = GATEWAY_FAILED_RUN;
    error_set(&result->error, ERROR_REMOTE, "the agent's run ended as \"%s\"%s%s",
        status[0] != '\0' ? status : "?", message[0] != '\0' ? ": " : "", message);
}

/* A 2xx: completed, or a run that did not end as it should. */
static void classify_success(const struct http_answer *answer, struct gateway_result *result)
{
    json_t *body;
    struct error why = {0};
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, &why) != 0) {
        result->outcome = GATEWAY_FAILED_RUN;
        error_set(&result->error, ERROR_REMOTE,
            "OpenClaw gateway returned %d with an answer that cannot be read: %s", answer->status,
            why.text);
        return;
    }
    if (ended_otherwise(body)) {
        explain_failed_run(body, result);
        json_decref(body);
        return;
    }
    result->outcome = GATEWAY_REPLIED;
    result->body = body;
}

static void classify_transport(const struct http_answer *answer, struct gateway_result *result)
{
    static const enum gateway_outcome outcomes[] = {
        [HTTP_NOT_SENT] = GATEWAY_UNREACHABLE,
        [HTTP_TIMED_OUT] = GATEWAY_AMBIGUOUS,
        [HTTP_LOST] = GATEWAY_AMBIGUOUS,
        [HTTP_TOO_LARGE] = GATEWAY_FAILED_RUN,
        [HTTP_ABORTED] = GATEWAY_ABORTED,
        [HTTP_NO_MEMORY] = GATEWAY_UNREACHABLE,
    };
    result->outcome = outcomes[answer->failure];
    result->timed_out = answer->failure == HTTP_TIMED_OUT;
    error_set(
        &result->error, ERROR_UNREACHABLE, "OpenClaw gateway request failed: %s", answer->reason);
}

void gateway_classify(const struct http_answer *answer, struct gateway_result *result)
{
    result->sent = answer->sent;
    if (answer->failure != HTTP_ANSWERED)
        classify_transport(answer, result);
    else if (answer->status >= 200 && answer->status < 300)
        classify_success(answer, result);
    else
        classify_status(answer, result);
}
