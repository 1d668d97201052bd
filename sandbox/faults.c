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

static int read_list(struct faults *read, const json_t *rules, enum fault_side side,
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

int faults_add(struct faults *faults, const json_t *rules, struct error *error)
{
    struct faults read;
    faults_init(&read);
    int result = read_list(&read, rules, FAULT_GATEWAY, "gateway", error);
    if (result == 0)
        result = read_list(&read, rules, FAULT_BACKEND, "backend", error);
    if (result == 0)
        TAILQ_CONCAT(&faults->rules, &read.rules, link);
    faults_fini(&read);
    return result;
}

static bool has_name(const struct fault_rule *rule, const char *name)
{
    return name == NULL || (rule->name != NULL && strcmp(rule->name, name) == 0);
}

void faults_clear(struct faults *faults, const char *name)
{
    faults_release(faults, name, INFINITY);
    struct fault_rule *next;
    for (struct fault_rule *rule = TAILQ_FIRST(&faults->rules); rule != NULL; rule = next) {
        next = TAILQ_NEXT(rule, link);
        if (!has_name(rule, name))
            continue;
        TAILQ_REMOVE(&faults->rules, rule, link);
        fault_drop_rule(rule);
    }
}

static void leave_held(struct fault_pause *pause)
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
        if (!has_name(pause->rule, name) || (double)released >= count)
            continue;
        leave_held(pause);
        exchange_resume(pause->exchange);
        released++;
    }
    return released;
}

json_t *faults_describe(const struct faults *faults)
{
    json_t *list = memory_json(json_array());
    const struct fault_rule *rule = NULL;
    TAILQ_FOREACH (rule, &faults->rules, link) {
        json_array_append_new(list, memory_json(json_pack("{s:s, s:s*, s:f, s:f}", "side",
                                        rule->side == FAULT_GATEWAY ? "gateway" : "backend", "name",
                                        rule->name, "hits", rule->hits, "times", rule->times)));
    }
    return list;
}

static bool matches(const char *wanted, const char *is)
{
    return wanted == NULL || (is != NULL && strcmp(wanted, is) == 0);
}

struct fault_rule *faults_match(struct faults *faults, const struct fault_subject *subject)
{
    struct fault_rule *rule = NULL;
    TAILQ_FOREACH (rule, &faults->rules, link) {
        if (rule->times == 0 || rule->side != subject->side ||
            rule->before_checks != subject->before_checks ||
            !matches(rule->agent, subject->agent) || !matches(rule->session, subject->session) ||
            !matches(rule->notification, subject->notification) ||
            !matches(rule->function, subject->function))
            continue;
        if (rule->times > 0)
            rule->times--;
        rule->hits++;
        rule->references++;
        return rule;
    }
    return NULL;
}

static void go_on(struct exchange *exchange, void *argument)
{
    struct fault_pause *pause = argument;
    leave_held(pause);
    pause->then(exchange, pause->argument);
}

static void hold(struct exchange *exchange, struct fault_pause *pause)
{
    pause->is_held = true;
    TAILQ_INSERT_TAIL(&pause->faults->held, pause, link);
    pause->faults->held_count++;
    exchange_wait(exchange, SYNC_NO_DEADLINE, go_on, pause);
}

static void after_latency(struct exchange *exchange, void *argument)
{
    struct fault_pause *pause = argument;
    if (pause->hold && !exchange_is_gone(exchange))
        hold(exchange, pause);
    else
        go_on(exchange, pause);
}

/*
 * An exponentially distributed number of mean 1 by von Neumann's comparison of uniform ones: a
 * falling run of odd length is taken, its first number being the fraction.
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

static double latency_of(const struct fault_rule *rule)
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
    double latency_ms = extra_latency_ms + latency_of(rule);
    if (latency_ms <= 0) {
        after_latency(exchange, pause);
        return;
    }
    /* Rounded up: an agent is never quicker than it was told to be. */
    int64_t due_us = clock_monotonic_us() + (int64_t)(latency_ms * 1000);
    exchange_wait(exchange, (due_us + 999) / 1000, after_latency, pause);
}

void fault_pause_hold(struct fault_pause *pause, exchange_function then, void *argument)
{
    pause->then = then;
    pause->argument = argument;
    hold(pause->exchange, pause);
}

void fault_pause_end(struct fault_pause *pause)
{
    leave_held(pause);
}

static void add_headers(const struct fault_rule *rule, struct exchange *exchange)
{
    const char *name;
    json_t *value;
    json_object_foreach (rule->headers, name, value) {
        exchange_add_header(exchange, name, json_string_value(value));
    }
}

static void cut(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes)
{
    struct exchange_cut how = rule->cut;
    if (rule->cut_in_half)
        how.at_bytes = body_bytes / 2;
    exchange_set_cut(exchange, &how);
}

void fault_answer(const struct fault_rule *rule, struct exchange *exchange, const char *usual)
{
    const char *body = rule->body != NULL ? rule->body : usual;
    size_t body_bytes = rule->body != NULL ? rule->body_bytes : strlen(usual);
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
    add_headers(rule, exchange);
    cut(rule, exchange, body_bytes);
    exchange_answer(exchange, rule->status, memory_copy_bytes(body, body_bytes), body_bytes);
}

void fault_spoil(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes)
{
    if (rule == NULL)
        return;
    add_headers(rule, exchange);
    cut(rule, exchange, body_bytes);
}
