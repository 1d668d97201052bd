/*
 * Interprets the gateway's answers to sends as one of enum gateway_outcome (docs/protocol.md,
 * "Gateway answers"). The question that every rule has to settle is whether an agent may have run,
 * because a run that did not take place may be repeated freely and one that did may not:
 *
 *   nothing was sent                      no run: unreachable
 *   the gateway's own words for a refusal no run: misconfigured, busy or refused
 *   a response resource, or a 2xx of JSON a run took place: replied or failed run
 *   no answer, or any other               may have run: ambiguous
 *
 * A proxy in front of the gateway answers in its place when it loses patience with a run, so
 * neither a status alone nor the shape of an error proves anything: only a status with the words
 * that the gateway uses for it counts as a refusal, and the few statuses that any server sends
 * before it takes a request.
 *
 * Pure functions, called by workers and probers on their own answers. Bytes from the gateway go
 * into messages only through text_quote, which removes secrets and control characters.
 */
#include "gateway/gateway.h"

#include <string.h>

#include "base/json.h"

enum { QUOTE_BYTES = 400, STATUS_QUOTE_BYTES = 33 };

/* A longer Retry-After is not believed: work would wait for hours because of one bad header. */
static const int64_t MAX_RETRY_AFTER_MS = INT64_C(15) * 60 * 1000;

/* Whether the body is {"error": {key: word, ...}, ...}. */
static bool error_says(const json_t *body, const char *key, const char *word)
{
    const char *value = json_guard_string(json_object_get(body, "error"), key);
    return value != NULL && strcmp(value, word) == 0;
}

static bool body_is_text(const struct http_response *answer, const char *text)
{
    struct text_span body = text_trim(answer->body.bytes, answer->body.length_bytes);
    return body.length_bytes == strlen(text) && memcmp(body.bytes, text, body.length_bytes) == 0;
}

/* A response resource proves that a run took place; a bare error was sent before one began. */
static bool is_response_resource(const json_t *body)
{
    const char *object = json_guard_string(body, "object");
    return object != NULL && strcmp(object, "response") == 0;
}

/* Token, endpoint or address is wrong: the gateway's words for it, or a redirect. */
static bool is_misconfigured(const struct http_response *answer, const json_t *body)
{
    switch (answer->status) {
    case 401:
        return error_says(body, "type", "unauthorized");
    case 404:
        return body_is_text(answer, "Not Found");
    case 405:
        return true;
    case 429: /* too many wrong tokens from our address */
        return error_says(body, "type", "rate_limited");
    default:
        return answer->status >= 300 && answer->status < 400;
    }
}

static bool is_draining(const struct http_response *answer, const json_t *body)
{
    return answer->status == 503 && error_says(body, "code", "gateway_unavailable");
}

static bool is_busy(const struct http_response *answer, const json_t *body)
{
    return answer->status == 429 || (answer->status == 503 && answer->has_retry_after) ||
           is_draining(answer, body);
}

/* Statuses that a server sends before it passes a request on, whoever sends them. */
static bool is_refused(int status)
{
    return status == 400 || status == 411 || status == 413 || status == 414 || status == 415 ||
           status == 431;
}

/*
 * A tool has the name of one of the gateway's own. It says so in a response resource, though before
 * a run: it does not ask the model.
 */
static bool says_tools_collide(const struct http_response *answer, const json_t *body)
{
    return answer->status == 400 && error_says(body, "code", "invalid_request_error") &&
           error_says(body, "message", "invalid tool configuration");
}

static enum gateway_outcome classify_error_status(
    const struct http_response *answer, const json_t *body)
{
    if (says_tools_collide(answer, body))
        return GATEWAY_REFUSED;
    if (is_response_resource(body))
        return GATEWAY_FAILED_RUN;
    if (is_misconfigured(answer, body))
        return GATEWAY_MISCONFIGURED;
    if (is_busy(answer, body))
        return GATEWAY_BUSY;
    return is_refused(answer->status) ? GATEWAY_REFUSED : GATEWAY_AMBIGUOUS;
}

static void quote_string(char *quote, size_t quote_bytes, const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    text_quote(quote, quote_bytes, value != NULL ? value : "", value != NULL ? strlen(value) : 0);
}

/* Of a response resource only the error: logs must not hold what an agent wrote. */
static void quote_answer(
    char *quote, size_t quote_bytes, const struct http_response *answer, const json_t *body)
{
    if (is_response_resource(body))
        quote_string(quote, quote_bytes, json_object_get(body, "error"), "message");
    else
        text_quote(quote, quote_bytes, answer->body.bytes, answer->body.length_bytes);
}

static void classify_status(const struct http_response *answer, struct gateway_result *result)
{
    json_t *body = NULL;
    char quote[QUOTE_BYTES];
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL) != 0)
        body = NULL;
    result->outcome = classify_error_status(answer, body);
    result->draining = result->outcome == GATEWAY_BUSY && is_draining(answer, body);
    result->tools_collide = says_tools_collide(answer, body);
    quote_answer(quote, sizeof quote, answer, body);
    json_decref(body);
    if (result->outcome == GATEWAY_BUSY || result->outcome == GATEWAY_MISCONFIGURED)
        result->retry_after_ms = answer->retry_after_ms < MAX_RETRY_AFTER_MS
                                     ? answer->retry_after_ms
                                     : MAX_RETRY_AFTER_MS;
    error_set(&result->error, ERROR_REMOTE, "OpenClaw gateway returned %d: %s", answer->status,
        quote[0] != '\0' ? quote : "(no body)");
}

/* Older releases send no status: then the run completed unless there is an error. */
static bool run_failed(const json_t *body)
{
    const json_t *status = json_object_get(body, "status");
    const char *word = json_string_value(status);
    const json_t *error = json_object_get(body, "error");
    if (status == NULL)
        return json_is_object(error) || json_is_string(error);
    return word == NULL || (strcmp(word, "completed") != 0 && strcmp(word, "incomplete") != 0);
}

/* A page in place of JSON comes from something in between, which knows nothing of the run. */
static bool is_html(const struct http_response *answer)
{
    struct text_span body = text_trim(answer->body.bytes, answer->body.length_bytes);
    return body.length_bytes > 0 && body.bytes[0] == '<';
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

/* A 2xx: the run completed, or failed after the gateway had begun to answer. */
static void classify_success(const struct http_response *answer, struct gateway_result *result)
{
    json_t *body = NULL;
    struct error why = {0};
    int read = json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, &why);
    if (read == 0 && !json_is_object(body))
        read = error_set(&why, ERROR_INVALID, "not a JSON object");
    if (read != 0) {
        json_decref(body);
        result->outcome = is_html(answer) ? GATEWAY_AMBIGUOUS : GATEWAY_FAILED_RUN;
        error_set(&result->error, ERROR_REMOTE,
            "OpenClaw gateway returned %d with an unreadable body: %s", answer->status, why.text);
        return;
    }
    if (run_failed(body)) {
        explain_failed_run(body, result);
        json_decref(body);
        return;
    }
    const char *status = json_guard_string(body, "status");
    result->outcome = GATEWAY_REPLIED;
    result->incomplete = status != NULL && strcmp(status, "incomplete") == 0;
    result->body = body;
}

static void classify_transport(const struct http_response *answer, struct gateway_result *result)
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
    error_set(&result->error,
        answer->failure == HTTP_NO_MEMORY ? ERROR_NO_MEMORY
        : answer->short_of_descriptors    ? ERROR_SYSTEM
                                          : ERROR_UNREACHABLE,
        "OpenClaw gateway request failed: %s", answer->reason);
}

void gateway_classify(const struct http_response *answer, struct gateway_result *result)
{
    result->sent = answer->sent;
    /* An answer that was cut off has no status that could be relied on. */
    result->status = answer->failure == HTTP_ANSWERED ? answer->status : 0;
    if (answer->failure != HTTP_ANSWERED)
        classify_transport(answer, result);
    else if (answer->status >= 200 && answer->status < 300)
        classify_success(answer, result);
    else
        classify_status(answer, result);
}
