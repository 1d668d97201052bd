/*
 * Long polls. GET /sandbox/wait is answered when all of its conditions hold, or at its timeout,
 * with the statistics and whether the conditions were met. Conditions are checked after every
 * batch of requests (server.h), so a test needs no sleep to wait for an effect.
 *
 * Once met a wait stays met, even if a number changes back before the answer is written.
 */
#include "waits.h"

#include "answer.h"
#include "base/sync.h"
#include "control_state.h"
#include "memory.h"
#include "sandbox.h"

static const double DEFAULT_TIMEOUT_MS = 10000;
static const double MAX_TIMEOUT_MS = 600000;

enum { CONDITION_LIMIT = 16 };

/* The number that a condition compares; only "calls" uses function. */
struct measure {
    const char *name;
    double (*read)(const struct sandbox *sandbox, const char *function);
};

struct condition {
    const struct measure *measure;
    double number;
};

struct wait {
    TAILQ_ENTRY(wait) link;
    struct sandbox *sandbox;
    struct exchange *exchange;
    const char *function;
    struct condition conditions[CONDITION_LIMIT];
    int condition_count;
    bool is_met; /* never reset */
};

static double read_undelivered(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->store.undelivered_count;
}

static double read_delivered(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->store.delivered_count;
}

/* Notifications that were read and are neither delivered nor ended: what people see as typing. */
static double read_typing(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    double count = 0;
    const struct document *notification = NULL;
    TAILQ_FOREACH (notification, &sandbox->store.tables[TABLE_NOTIFICATIONS], siblings) {
        count += document_field(notification, "readAt") != NULL &&
                 document_field(notification, "deliveredAt") == NULL &&
                 document_field(notification, "deliveryEndedAt") == NULL;
    }
    return count;
}

static double read_messages(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->store.counts[TABLE_MESSAGES];
}

static double read_replies(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->store.by_source.count;
}

static double read_change(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->store.changes;
}

static double read_posts(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.posts;
}

static double read_probes(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.probes;
}

static double read_requests(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.runs;
}

static double read_deliveries(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.deliveries;
}

static double read_answered(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.answered;
}

static double read_aborted(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->recorder.aborted;
}

static double read_in_flight(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return sandbox->recorder.in_flight;
}

static double read_held(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->faults.held_count;
}

static double read_calls(const struct sandbox *sandbox, const char *function)
{
    return (double)counts_calls(&sandbox->counts, function);
}

static double read_tool_calls(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->tool_log.asked;
}

static double read_tool_results(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->tool_log.ended;
}

static double read_effects(const struct sandbox *sandbox, const char *function)
{
    (void)function;
    return (double)sandbox->effects.last;
}

static const struct measure measures[] = {
    {"undelivered", read_undelivered},
    {"typing", read_typing},
    {"delivered", read_delivered},
    {"messages", read_messages},
    {"replies", read_replies},
    {"change", read_change},
    {"posts", read_posts},
    {"probes", read_probes},
    {"requests", read_requests},
    {"deliveries", read_deliveries},
    {"answered", read_answered},
    {"aborted", read_aborted},
    {"in_flight", read_in_flight},
    {"held", read_held},
    {"calls", read_calls},
    {"tool_calls", read_tool_calls},
    {"tool_results", read_tool_results},
    {"effects", read_effects},
};

enum { MEASURE_COUNT = sizeof measures / sizeof *measures };

void waits_init(struct waits *waits)
{
    TAILQ_INIT(&waits->waiting);
}

static bool is_upper_bound(const struct measure *measure)
{
    return measure->read == read_undelivered || measure->read == read_typing;
}

/* Upper bounds are met at or below their number, all other conditions at or above. */
static bool conditions_hold(const struct wait *wait)
{
    for (int i = 0; i < wait->condition_count; i++) {
        const struct condition *condition = &wait->conditions[i];
        double is = condition->measure->read(wait->sandbox, wait->function);
        bool good =
            is_upper_bound(condition->measure) ? is <= condition->number : is >= condition->number;
        if (!good)
            return false;
    }
    return true;
}

static void end_wait(void *owner)
{
    struct wait *wait = owner;
    TAILQ_REMOVE(&wait->sandbox->waits.waiting, wait, link);
    free(wait);
}

static void answer_wait(struct exchange *exchange, void *argument)
{
    const struct wait *wait = argument;
    json_t *answer = control_stats(wait->sandbox);
    json_object_set_new(answer, "met", json_boolean(wait->is_met));
    answer_json(exchange, 200, answer);
}

/* Reads a number from the query; false when it is present but not a number. */
static bool read_query_number(const struct exchange *exchange, const char *name, double *number)
{
    const char *text = exchange_query(exchange, name);
    if (text == NULL)
        return true;
    char *end;
    *number = strtod(text, &end);
    return *text != '\0' && *end == '\0' && *number >= 0;
}

/* Reads the conditions. Returns the name of an invalid one, or NULL. */
static const char *read_conditions(struct wait *wait)
{
    for (int i = 0; i < MEASURE_COUNT; i++) {
        struct condition condition = {.measure = &measures[i], .number = -1};
        if (!read_query_number(wait->exchange, measures[i].name, &condition.number))
            return measures[i].name;
        if (condition.number >= 0)
            wait->conditions[wait->condition_count++] = condition;
    }
    return NULL;
}

/* Registered even if it is answered at once, since end_wait removes it in any case. */
void waits_begin(struct sandbox *sandbox, struct exchange *exchange)
{
    struct wait *wait = memory_new(1, sizeof *wait);
    *wait = (struct wait){
        .sandbox = sandbox, .exchange = exchange, .function = exchange_query(exchange, "action")};
    TAILQ_INSERT_TAIL(&sandbox->waits.waiting, wait, link);
    exchange_on_end(exchange, end_wait, wait);
    double timeout_ms = DEFAULT_TIMEOUT_MS;
    const char *bad = read_conditions(wait);
    if (!read_query_number(exchange, "timeout_ms", &timeout_ms))
        bad = "timeout_ms";
    if (timeout_ms > MAX_TIMEOUT_MS)
        timeout_ms = MAX_TIMEOUT_MS;
    if (bad != NULL)
        answer_refusal(exchange, 400, "BadQuery", "%s must be a number", bad);
    else if (wait->condition_count == 0)
        answer_refusal(exchange, 400, "BadQuery", "no condition to wait for");
    else if ((wait->is_met = conditions_hold(wait)))
        answer_wait(exchange, wait);
    else
        exchange_wait(exchange, clock_monotonic_ms() + (int64_t)timeout_ms, answer_wait, wait);
}

void waits_check(struct sandbox *sandbox)
{
    struct wait *wait = NULL;
    TAILQ_FOREACH (wait, &sandbox->waits.waiting, link) {
        if (wait->is_met || !conditions_hold(wait))
            continue;
        wait->is_met = true;
        exchange_resume(wait->exchange);
    }
}
