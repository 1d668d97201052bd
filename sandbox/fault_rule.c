/*
 * Parses the JSON of a fault rule. A rule is one row of the tables below (what happens to the
 * request) plus what the request must match, how often the rule applies, and the latency, body and
 * headers it brings. Unknown keys are errors: a rule with a typo would silently match everything.
 */
#include "fault_rule.h"

#include <openssl/evp.h>

#include "base/json.h"
#include "base/sync.h"
#include "memory.h"

enum { BODY_LIMIT_BYTES = 64 * 1024 * 1024 };

static const double MAX_MS = 3600000;

/* A named action and the fields of a rule that it sets. */
struct action {
    const char *name;
    enum fault_action action;
    enum cut_kind cut;
    unsigned status; /* default HTTP status; 0: 200 */
    bool cut_in_half;
    bool runs;
    bool hold;
    bool hold_after;
};

/* "runs" has no meaning here: an agent run that was recorded counts as having happened. */
static const struct action gateway_actions[] = {
    {.name = "reply"},
    {.name = "hold", .hold = true},
    {.name = "status", .action = FAULT_STATUS, .status = 500},
    {.name = "raw_body", .action = FAULT_STATUS},
    {.name = "hang", .action = FAULT_HANG},
    {.name = "drop_before_answer", .action = FAULT_DROP},
    {.name = "raw_socket", .action = FAULT_RAW_SOCKET},
    {.name = "drop_mid_answer", .cut = CUT_CLOSE, .cut_in_half = true},
    {.name = "stall_mid_answer", .cut = CUT_STALL, .cut_in_half = true},
    {.name = "close_after_headers", .cut = CUT_CLOSE},
    {.name = "stall_after_headers", .cut = CUT_STALL},
    {.name = NULL},
};

/* The suffixes _before and _after tell whether the function runs before the fault. */
static const struct action backend_actions[] = {
    {.name = "delay", .runs = true},
    {.name = "hold", .runs = true, .hold = true},
    {.name = "hold_after", .runs = true, .hold_after = true},
    {.name = "status", .action = FAULT_STATUS, .status = 500},
    {.name = "status_after", .action = FAULT_STATUS, .runs = true, .status = 500},
    {.name = "raw_body", .action = FAULT_STATUS, .runs = true},
    {.name = "function_error", .action = FAULT_FUNCTION_ERROR},
    {.name = "hang", .action = FAULT_HANG},
    {.name = "drop_before", .action = FAULT_DROP},
    {.name = "drop_after", .action = FAULT_DROP, .runs = true},
    {.name = "raw_socket", .action = FAULT_RAW_SOCKET, .runs = true},
    {.name = "drop_mid_answer", .runs = true, .cut = CUT_CLOSE, .cut_in_half = true},
    {.name = "stall_mid_answer", .runs = true, .cut = CUT_STALL, .cut_in_half = true},
    {.name = "close_after_headers", .runs = true, .cut = CUT_CLOSE},
    {.name = "stall_after_headers", .runs = true, .cut = CUT_STALL},
    {.name = NULL},
};

static const char *const known_keys[] = {"name", "match", "times", "latency_ms",
    "latency_exponential_ms", "hold", "action", "behaviour", "status", "headers", "body",
    "body_json", "body_base64", "body_repeat", "message", "text", "before_checks", "chunk_bytes",
    "chunk_ms", "post", "calls", "checked", "for_ms", NULL};

static const char *const known_post_keys[] = {"when", "task", "content", "author", NULL};

static const char *const known_matches[] = {
    "any", "agent", "session", "notification", "round", "input", NULL};

static int refuse_unknown_keys(const json_t *object, const char *const *known, struct error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value) {
        int i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL)
            return error_set(error, ERROR_INVALID, "unknown key %s", key);
    }
    return 0;
}

static int read_rule_number(const json_t *json, const char *key, double min, double max,
    double *number, struct error *error)
{
    const json_t *value = json_object_get(json, key);
    if (value == NULL || json_guard_number(value, min, max, number))
        return 0;
    return error_set(error, ERROR_INVALID, "%s must be a number from %.0f to %.0f", key, min, max);
}

static int read_rule_numbers(const json_t *json, struct fault_rule *rule, struct error *error)
{
    double status = rule->status;
    double chunk_bytes = 0;
    double chunk_ms = 0;
    double for_ms = 0;
    int result = 0;
    if (result == 0)
        result = read_rule_number(json, "times", -1, 1e9, &rule->times, error);
    if (result == 0)
        result = read_rule_number(json, "latency_ms", 0, MAX_MS, &rule->latency_ms, error);
    if (result == 0)
        result = read_rule_number(
            json, "latency_exponential_ms", 0, MAX_MS, &rule->latency_exponential_ms, error);
    if (result == 0)
        result = read_rule_number(json, "status", 200, 999, &status, error);
    if (result == 0)
        result = read_rule_number(json, "chunk_bytes", 1, 1e9, &chunk_bytes, error);
    if (result == 0)
        result = read_rule_number(json, "chunk_ms", 0, MAX_MS, &chunk_ms, error);
    if (result == 0)
        result = read_rule_number(json, "for_ms", 1, MAX_MS, &for_ms, error);
    if (for_ms > 0)
        rule->ends_us = clock_monotonic_us() + (int64_t)(for_ms * 1000);
    rule->status = (unsigned)status;
    rule->cut.chunk_bytes = (size_t)chunk_bytes;
    rule->cut.chunk_ms = (int64_t)chunk_ms;
    return result;
}

static char *copy_string(const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    return value == NULL ? NULL : memory_copy(value);
}

static int read_rule_match(const json_t *json, struct fault_rule *rule, struct error *error)
{
    const json_t *match = json_object_get(json, "match");
    int result = match == NULL ? 0 : refuse_unknown_keys(match, known_matches, error);
    if (result != 0)
        return result;
    rule->agent = copy_string(match, "agent");
    rule->session = copy_string(match, "session");
    rule->notification = copy_string(match, "notification");
    rule->input = copy_string(match, "input");
    if (rule->side == FAULT_BACKEND)
        rule->function = copy_string(json, "action");
    return read_rule_number(match, "round", 1, 1e9, &rule->round, error);
}

static int decode_base64(const char *text, struct fault_rule *rule, struct error *error)
{
    size_t length = strlen(text);
    unsigned char *bytes = memory_new(length + 4, 1);
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
    if (decoded < 0) {
        free(bytes);
        return error_set(error, ERROR_INVALID, "body_base64 is not base64");
    }
    /* EVP_DecodeBlock counts padding as decoded bytes. */
    for (size_t i = length; i > 0 && decoded > 0 && text[i - 1] == '='; i--)
        decoded--;
    rule->body = (char *)bytes;
    rule->body_bytes = (size_t)decoded;
    return 0;
}

static int repeat_body(const json_t *json, struct fault_rule *rule, struct error *error)
{
    double times = 1;
    int result = read_rule_number(json, "body_repeat", 1, BODY_LIMIT_BYTES, &times, error);
    if (result != 0 || times <= 1 || rule->body == NULL)
        return result;
    if (times * (double)rule->body_bytes > BODY_LIMIT_BYTES)
        return error_set(error, ERROR_INVALID, "the repeated body exceeds 64 MiB");
    struct text repeated = {0};
    for (size_t i = 0; i < (size_t)times; i++)
        text_append_bytes(&repeated, rule->body, rule->body_bytes);
    free(rule->body);
    rule->body_bytes = repeated.length_bytes;
    rule->body = text_take(&repeated);
    return 0;
}

static int read_rule_body(const json_t *json, struct fault_rule *rule, struct error *error)
{
    const json_t *text = json_object_get(json, "body");
    const json_t *value = json_object_get(json, "body_json");
    const char *base64 = json_guard_string(json, "body_base64");
    if (text != NULL && !json_is_string(text))
        return error_set(error, ERROR_INVALID, "body must be a string");
    int result = 0;
    if (text != NULL) {
        rule->body_bytes = json_string_length(text);
        rule->body = memory_copy_bytes(json_string_value(text), rule->body_bytes);
    } else if (value != NULL) {
        rule->body = memory_json_dump(value);
        rule->body_bytes = strlen(rule->body);
    } else if (base64 != NULL) {
        result = decode_base64(base64, rule, error);
    }
    return result != 0 ? result : repeat_body(json, rule, error);
}

static int read_rule_post(const json_t *json, struct fault_rule *rule, struct error *error)
{
    json_t *post = json_object_get(json, "post");
    const char *when = json_guard_string(post, "when");
    int result = refuse_unknown_keys(post, known_post_keys, error);
    if (post == NULL || result != 0)
        return result;
    if (json_guard_string(post, "content") == NULL)
        return error_set(error, ERROR_INVALID, "post needs content, a string");
    if (when != NULL && strcmp(when, "before") != 0 && strcmp(when, "after") != 0)
        return error_set(error, ERROR_INVALID, "when must be before or after, not %s", when);
    rule->post_moment = when != NULL && strcmp(when, "before") == 0 ? FAULT_BEFORE : FAULT_AFTER;
    rule->post = json_incref(post);
    return 0;
}

static int read_rule_calls(const json_t *json, struct fault_rule *rule, struct error *error)
{
    json_t *calls = json_object_get(json, "calls");
    size_t index;
    const json_t *call;
    if (calls == NULL)
        return 0;
    if (rule->side != FAULT_GATEWAY || !json_is_array(calls))
        return error_set(error, ERROR_INVALID, "calls must be an array, in a rule of the gateway");
    json_array_foreach (calls, index, call) {
        if (json_guard_string(call, "name") == NULL)
            return error_set(error, ERROR_INVALID, "call %zu needs a name", index + 1);
    }
    rule->calls = json_incref(calls);
    rule->checked = json_is_true(json_object_get(json, "checked"));
    return 0;
}

static int read_rule_headers(const json_t *json, struct fault_rule *rule, struct error *error)
{
    json_t *headers = json_object_get(json, "headers");
    const char *name;
    json_t *value;
    json_object_foreach (headers, name, value) {
        if (!json_is_string(value))
            return error_set(error, ERROR_INVALID, "header %s must be a string", name);
    }
    rule->headers = json_incref(headers);
    return 0;
}

static int read_rule_action(const json_t *json, struct fault_rule *rule, struct error *error)
{
    bool gateway = rule->side == FAULT_GATEWAY;
    const struct action *action = gateway ? gateway_actions : backend_actions;
    const char *name = json_guard_string(json, gateway ? "action" : "behaviour");
    while (name != NULL && action->name != NULL && strcmp(action->name, name) != 0)
        action++;
    if (action->name == NULL)
        return error_set(
            error, ERROR_INVALID, "unknown %s %s", gateway ? "action" : "behaviour", name);
    rule->action = action->action;
    rule->runs = action->runs;
    rule->hold = action->hold || json_is_true(json_object_get(json, "hold"));
    rule->hold_after = action->hold_after;
    rule->cut.kind = action->cut;
    rule->cut_in_half = action->cut_in_half;
    rule->status = action->status == 0 ? 200 : action->status;
    return 0;
}

static int read_rule(const json_t *json, struct fault_rule *rule, struct error *error)
{
    int result = refuse_unknown_keys(json, known_keys, error);
    if (result == 0)
        result = read_rule_action(json, rule, error);
    if (result == 0)
        result = read_rule_match(json, rule, error);
    if (result == 0)
        result = read_rule_numbers(json, rule, error);
    if (result == 0)
        result = read_rule_body(json, rule, error);
    if (result == 0)
        result = read_rule_headers(json, rule, error);
    if (result == 0)
        result = read_rule_post(json, rule, error);
    if (result == 0)
        result = read_rule_calls(json, rule, error);
    rule->name = copy_string(json, "name");
    rule->reply = copy_string(json, rule->side == FAULT_GATEWAY ? "text" : "message");
    rule->before_checks = json_is_true(json_object_get(json, "before_checks"));
    if (result == 0 && rule->before_checks && rule->action == FAULT_REPLY)
        return error_set(error, ERROR_INVALID, "before_checks needs an action other than reply");
    return result;
}

int fault_rule_read(
    enum fault_side side, const json_t *json, struct fault_rule **rule, struct error *error)
{
    if (!json_is_object(json))
        return error_set(error, ERROR_INVALID, "a rule must be an object");
    struct fault_rule *rule_read = memory_new(1, sizeof *rule_read);
    *rule_read = (struct fault_rule){.side = side, .references = 1, .times = -1};
    int result = read_rule(json, rule_read, error);
    if (result != 0) {
        fault_rule_unref(rule_read);
        return result;
    }
    *rule = rule_read;
    return 0;
}

void fault_rule_unref(struct fault_rule *rule)
{
    if (rule == NULL || --rule->references > 0)
        return;
    json_decref(rule->headers);
    json_decref(rule->post);
    json_decref(rule->calls);
    free(rule->name);
    free(rule->agent);
    free(rule->session);
    free(rule->notification);
    free(rule->input);
    free(rule->function);
    free(rule->body);
    free(rule->reply);
    free(rule);
}
