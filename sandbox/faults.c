/*
 * Fault injection. Each request is matched against the rules in the order in which they were
 * added; the first with uses left applies. A matched request goes through a pause: first the
 * rule's latency, then, if the rule holds requests, a wait until /sandbox/release, and only then
 * its continuation.
 *
 * A request keeps a reference to its rule, so rules can be cleared while requests are held. A
 * client that disconnects ends its pause early; the continuation runs all the same and asks
 * exchange_is_gone.
 */
#include "faults.h"

#include <math.h>

#include "base/sync.h"
#include "fault_rule.h"
#include "memory.h"

void faults_init(struct faults *faults)
{
    *faults = (struct faults){0};
    TAILQ_INIT(&faults->rules);
    TAILQ_INIT(&faults->held);
}

void faults_fini(struct faults *faults)
{
    faults_clear(faults, NULL);
}

static int read_rule_list(struct faults *read, const json_t *rules, enum fault_side side,
    const char *key, struct error *error)
{
    const json_t *list = json_object_get(rules, key);
    if (list == NULL)
        return 0;
    if (!json_is_array(list))
        return error_set(error, ERROR_INVALID, "%s must be an array of rules", key);
    size_t index;
    const json_t *json;
    json_array_foreach (list, index, json) {
        struct fault_rule *rule = NULL;
        int result = fault_rule_read(side, json, &rule, error);
        if (result != 0) {
            error_wrap(error, "%s rule %zu", key, index + 1);
            return result;
        }
        TAILQ_INSERT_TAIL(&read->rules, rule, link);
    }
    return 0;
}

/* Reads all rules into a list of their own first, so that an invalid one adds none. */
int faults_add(struct faults *faults, const json_t *rules, struct error *error)
{
    struct faults read;
    faults_init(&read);
    int result = read_rule_list(&read, rules, FAULT_GATEWAY, "gateway", error);
    if (result == 0)
        result = read_rule_list(&read, rules, FAULT_BACKEND, "backend", error);
    if (result == 0)
        TAILQ_CONCAT(&faults->rules, &read.rules, link);
    faults_fini(&read);
    return result;
}

static bool rule_has_name(const struct fault_rule *rule, const char *name)
{
    return name == NULL || (rule->name != NULL && strcmp(rule->name, name) == 0);
}

void faults_clear(struct faults *faults, const char *name)
{
    faults_release(faults, name, INFINITY);
    struct fault_rule *next;
    for (struct fault_rule *rule = TAILQ_FIRST(&faults->rules); rule != NULL; rule = next) {
        next = TAILQ_NEXT(rule, link);
        if (!rule_has_name(rule, name))
            continue;
        TAILQ_REMOVE(&faults->rules, rule, link);
        fault_rule_unref(rule);
    }
}

static void pause_unhold(struct fault_pause *pause)
{
    if (!pause->is_held)
        return;
    pause->is_held = false;
    TAILQ_REMOVE(&pause->faults->held, pause, link);
    pause->faults->held_count--;
}

size_t faults_release(struct faults *faults, const char *name, double count)
{
    size_t released = 0;
    struct fault_pause *next;
    for (struct fault_pause *pause = TAILQ_FIRST(&faults->held); pause != NULL; pause = next) {
        next = TAILQ_NEXT(pause, link);
        if (!rule_has_name(pause->rule, name) || (double)released >= count)
            continue;
        pause_unhold(pause);
        exchange_resume(pause->exchange);
        released++;
    }
    return released;
}

static bool has_ended(const struct fault_rule *rule, int64_t now_us)
{
    return rule->ends_us > 0 && now_us >= rule->ends_us;
}

json_t *faults_describe(const struct faults *faults)
{
    json_t *list = memory_json(json_array());
    int64_t now_us = clock_monotonic_us();
    const struct fault_rule *rule = NULL;
    TAILQ_FOREACH (rule, &faults->rules, link) {
        if (has_ended(rule, now_us))
            continue;
        json_t *json = memory_json(json_pack("{s:s, s:s*, s:f, s:f}", "side",
            rule->side == FAULT_GATEWAY ? "gateway" : "backend", "name", rule->name, "hits",
            rule->hits, "times", rule->times));
        if (rule->post != NULL)
            json_object_set_new(json, "posted", memory_json(json_real(rule->posted)));
        if (rule->ends_us > 0)
            json_object_set_new(json, "left_ms",
                memory_json(json_integer((json_int_t)(rule->ends_us - now_us) / 1000)));
        json_array_append_new(list, json);
    }
    return list;
}

static bool field_matches(const char *wanted, const char *is)
{
    return wanted == NULL || (is != NULL && strcmp(wanted, is) == 0);
}

static bool contains(const char *text, const char *wanted)
{
    return wanted == NULL || (text != NULL && strstr(text, wanted) != NULL);
}

struct fault_rule *faults_match(struct faults *faults, const struct fault_subject *subject)
{
    int64_t now_us = clock_monotonic_us();
    struct fault_rule *rule = NULL;
    TAILQ_FOREACH (rule, &faults->rules, link) {
        if (rule->times == 0 || has_ended(rule, now_us) || rule->side != subject->side ||
            rule->before_checks != subject->before_checks ||
            !field_matches(rule->agent, subject->agent) ||
            !field_matches(rule->session, subject->session) ||
            !field_matches(rule->notification, subject->notification) ||
            !field_matches(rule->function, subject->function) ||
            !contains(subject->input, rule->input) ||
            (rule->round > 0 && rule->round != (double)subject->round))
            continue;
        if (rule->times > 0)
            rule->times--;
        rule->hits++;
        rule->references++;
        return rule;
    }
    return NULL;
}

static void pause_continue(struct exchange *exchange, void *argument)
{
    struct fault_pause *pause = argument;
    pause_unhold(pause);
    pause->then(exchange, pause->argument);
}

/* Ends by faults_release or by the client's disconnect; there is no deadline. */
static void pause_hold(struct exchange *exchange, struct fault_pause *pause)
{
    pause->is_held = true;
    TAILQ_INSERT_TAIL(&pause->faults->held, pause, link);
    pause->faults->held_count++;
    exchange_wait(exchange, SYNC_NO_DEADLINE, pause_continue, pause);
}

static void pause_after_latency(struct exchange *exchange, void *argument)
{
    struct fault_pause *pause = argument;
    if (pause->hold && !exchange_is_gone(exchange))
        pause_hold(exchange, pause);
    else
        pause_continue(exchange, pause);
}

/*
 * Returns an exponentially distributed number of mean 1 by von Neumann's method: among runs of
 * falling uniform numbers, the first of odd length supplies the fraction, the runs before it the
 * whole part.
 */
static double random_exponential(void)
{
    for (unsigned whole = 0;; whole++) {
        double first = backoff_random_unit();
        double last = first;
        for (bool odd = true;; odd = !odd) {
            double next = backoff_random_unit();
            if (next >= last && odd)
                return whole + first;
            if (next >= last)
                break;
            last = next;
        }
    }
}

static double rule_latency(const struct fault_rule *rule)
{
    if (rule == NULL)
        return 0;
    return rule->latency_ms + rule->latency_exponential_ms * random_exponential();
}

void fault_pause_begin(struct fault_pause *pause, struct faults *faults, struct fault_rule *rule,
    struct exchange *exchange, double extra_latency_ms, bool hold_then, exchange_function then,
    void *argument)
{
    *pause = (struct fault_pause){.faults = faults,
        .rule = rule,
        .exchange = exchange,
        .hold = hold_then,
        .then = then,
        .argument = argument};
    double latency_ms = extra_latency_ms + rule_latency(rule);
    if (latency_ms <= 0) {
        pause_after_latency(exchange, pause);
        return;
    }
    /* Rounded up, so that a run never takes less than its configured latency. */
    int64_t due_us = clock_monotonic_us() + (int64_t)(latency_ms * 1000);
    exchange_wait(exchange, (due_us + 999) / 1000, pause_after_latency, pause);
}

void fault_pause_hold(struct fault_pause *pause, exchange_function then, void *argument)
{
    pause->then = then;
    pause->argument = argument;
    pause_hold(pause->exchange, pause);
}

void fault_pause_end(struct fault_pause *pause)
{
    pause_unhold(pause);
}

static void add_rule_headers(const struct fault_rule *rule, struct exchange *exchange)
{
    const char *name;
    json_t *value;
    json_object_foreach (rule->headers, name, value) {
        exchange_add_header(exchange, name, json_string_value(value));
    }
}

static void apply_cut(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes)
{
    struct exchange_cut how = rule->cut;
    if (rule->cut_in_half)
        how.at_bytes = body_bytes / 2;
    exchange_set_cut(exchange, &how);
}

void fault_answer(
    const struct fault_rule *rule, struct exchange *exchange, const char *default_body)
{
    const char *body = rule->body != NULL ? rule->body : default_body;
    size_t body_bytes = rule->body != NULL ? rule->body_bytes : strlen(default_body);
    if (rule->action == FAULT_DROP) {
        exchange_drop(exchange);
        return;
    }
    if (rule->action == FAULT_RAW_SOCKET) {
        exchange_drop_after_bytes(exchange, body, body_bytes);
        return;
    }
    if (json_object_get(rule->headers, "Content-Type") == NULL)
        exchange_add_header(exchange, "Content-Type", "application/json; charset=utf-8");
    add_rule_headers(rule, exchange);
    apply_cut(rule, exchange, body_bytes);
    exchange_answer(exchange, rule->status, memory_copy_bytes(body, body_bytes), body_bytes);
}

void fault_apply(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes)
{
    if (rule == NULL)
        return;
    add_rule_headers(rule, exchange);
    apply_cut(rule, exchange, body_bytes);
}
