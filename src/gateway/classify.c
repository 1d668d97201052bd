/*
 * Interprets the gateway's answers to sends as one of enum gateway_outcome (docs/protocol.md,
 * "Gateway answers"). The question that every rule has to settle is whether an agent may have run,
 * because a run that did not take place may be repeated freely and one that did may not:
 *
 *   nothing was sent                      no run: unreachable
 *   sent, but no answer                   may have run: ambiguous
 *   an error without a response resource  rejected before a run: misconfigured, busy or refused
 *   a response resource, or a 2xx         a run took place: replied or failed run
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

/* Whether the gateway itself reports that it is draining, with or without a Retry-After. */
static bool is_draining(const json_t *body)
{
    const char *code = json_guard_string(json_object_get(body, "error"), "code");
    return code != NULL && strcmp(code, "gateway_unavailable") == 0;
}

/* A response resource proves that a run took place; a bare error was sent before one began. */
static bool is_response_resource(const json_t *body)
{
    const char *object = json_guard_string(body, "object");
    return object != NULL && strcmp(object, "response") == 0;
}

bool gateway_status_is_proxy_error(int status)
{
    return (status >= 502 && status <= 504) || (status >= 520 && status <= 527) || status == 530;
}

static enum gateway_outcome classify_error_status(
    const struct http_response *answer, const json_t *body)
{
    int status = answer->status;
    if (is_response_resource(body))
        return GATEWAY_FAILED_RUN;
    if (status == 401 || status == 403 || status == 404 || (status >= 300 && status < 400))
        return GATEWAY_MISCONFIGURED;
    if ((status == 503 && is_draining(body)) ||
        ((status == 503 || status == 429) && answer->has_retry_after))
        return GATEWAY_BUSY;
    return GATEWAY_REFUSED;
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
    quote_answer(quote, sizeof quote, answer, body);
    json_decref(body);
    if (result->outcome == GATEWAY_BUSY)
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
    return word == NULL || strcmp(word, "completed") != 0;
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
        result->outcome = GATEWAY_FAILED_RUN;
        error_set(&result->error, ERROR_REMOTE,
            "OpenClaw gateway returned %d with an unreadable body: %s", answer->status, why.text);
        return;
    }
    if (run_failed(body)) {
        explain_failed_run(body, result);
        json_decref(body);
        return;
    }
    result->outcome = GATEWAY_REPLIED;
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
        answer->failure == HTTP_NO_MEMORY ? ERROR_NO_MEMORY : ERROR_UNREACHABLE,
        "OpenClaw gateway request failed: %s", answer->reason);
}

void gateway_classify(const struct http_response *answer, struct gateway_result *result)
{
    result->sent = answer->sent;
    result->status = answer->status;
    if (answer->failure != HTTP_ANSWERED)
        classify_transport(answer, result);
    else if (answer->status >= 200 && answer->status < 300)
        classify_success(answer, result);
    else
        classify_status(answer, result);
}
