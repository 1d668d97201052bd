/*
 * Each call of a changing function that succeeded, whether or not its answer arrived: a list, from
 * which the oldest are dropped beyond EFFECTS_CAPACITY. Arguments are kept as the call log keeps
 * them. A function that finds nothing to change succeeds, too, and says so in its value.
 */
#include "effects.h"

#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"
#include "call_log.h"
#include "memory.h"

/* Strings and JSON are owned, NULL when absent. */
struct effect {
    TAILQ_ENTRY(effect) link;
    uint64_t number;
    uint64_t call;
    char function[48];
    char *agent;
    char *trace;
    json_t *arguments;
    json_t *value;
    int64_t at_us;
};

void effects_init(struct effects *effects)
{
    *effects = (struct effects){0};
    TAILQ_INIT(&effects->list);
}

static void drop_oldest(struct effects *effects)
{
    struct effect *effect = TAILQ_FIRST(&effects->list);
    TAILQ_REMOVE(&effects->list, effect, link);
    effects->kept--;
    free(effect->agent);
    free(effect->trace);
    json_decref(effect->arguments);
    json_decref(effect->value);
    free(effect);
}

void effects_fini(struct effects *effects)
{
    while (!TAILQ_EMPTY(&effects->list))
        drop_oldest(effects);
}

void effects_record(struct effects *effects, const struct new_effect *effect)
{
    struct effect *kept = memory_new(1, sizeof *kept);
    *kept = (struct effect){.number = ++effects->last,
        .call = effect->call,
        .agent = effect->agent == NULL ? NULL : memory_copy(effect->agent),
        .trace = effect->trace == NULL ? NULL : memory_copy(effect->trace),
        .arguments = call_log_copy_arguments(effect->arguments),
        .value = effect->value == NULL ? NULL : json_loads(effect->value, JSON_DECODE_ANY, NULL),
        .at_us = clock_monotonic_us()};
    text_copy(kept->function, sizeof kept->function, effect->function);
    TAILQ_INSERT_TAIL(&effects->list, kept, link);
    if (++effects->kept > EFFECTS_CAPACITY)
        drop_oldest(effects);
}

static json_t *describe_effect(const struct effect *effect)
{
    return memory_json(json_pack("{s:I, s:I, s:s, s:s*, s:s*, s:O, s:O?, s:I}", "number",
        (json_int_t)effect->number, "call", (json_int_t)effect->call, "function", effect->function,
        "agent", effect->agent, "traceparent", effect->trace, "arguments", effect->arguments,
        "value", effect->value, "at_us", (json_int_t)effect->at_us));
}

json_t *effects_describe(const struct effects *effects, uint64_t since, const char *function,
    const char *agent, const char *task_id)
{
    json_t *list = memory_json(json_array());
    const struct effect *effect = NULL;
    TAILQ_FOREACH (effect, &effects->list, link) {
        if (effect->number > since &&
            (function == NULL || strcmp(function, effect->function) == 0) &&
            (agent == NULL || (effect->agent != NULL && strcmp(agent, effect->agent) == 0)) &&
            (task_id == NULL || json_guard_is(effect->arguments, "taskId", task_id, "")))
            json_array_append_new(list, describe_effect(effect));
    }
    return list;
}
