#include "remote/gateway_probe.h"

#include <string.h>
#include <strings.h>

#include "base/json_guard.h"
#include "gateway_access.h"

enum { ANSWER_LIMIT_BYTES = 1024 * 1024, HEADERS = 3 };

static const char model_prefix[] = "openclaw/";

static void ask(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    const char *url, const char *body, struct http_answer *answer)
{
    struct text authorization = {0};
    char trace[TRACE_HEADER_BYTES];
    const char *headers[HEADERS + 1] = {"Content-Type: application/json"};
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
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
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
static bool is_somebody_else(const struct http_answer *answer)
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

static enum gateway_outcome judge(const struct http_answer *answer, enum gateway_outcome outcome)
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
    struct http_answer answer;
    ask(gateway, inquiry, gateway->endpoint, "{}", &answer);
    gateway_classify(&answer, result);
    gateway_result_fini(result);
    result->outcome = judge(&answer, result->outcome);
}

/* The names in an answer of the models endpoint; NULL when it is none. */
static json_t *read_list(const struct http_answer *answer)
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
    struct http_answer answer;
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
