/*
 * Timestamps of each notification's way through both roles, for the benchmarks: only the sandbox
 * sees all of them on one clock. The first time of each moment counts, so retries do not hide a
 * slow first attempt. Off unless the setting timings is on.
 */
#include "timings.h"

#include "base/sync.h"
#include "base/text.h"
#include "ids.h"
#include "memory.h"

struct timing {
    TAILQ_ENTRY(timing) link;
    char id[ID_BYTES];
    int64_t at_us[TIMING_COUNT]; /* 0: not reached */
};

static const char *const moment_names[TIMING_COUNT] = {
    [TIMING_LISTED] = "listed_us",
    [TIMING_CONTEXT] = "context_us",
    [TIMING_CONTEXT_ANSWERED] = "context_answered_us",
    [TIMING_ASKED] = "asked_us",
    [TIMING_ANSWERED] = "answered_us",
    [TIMING_REPLY] = "reply_us",
    [TIMING_REPLY_ANSWERED] = "reply_answered_us",
    [TIMING_MARK] = "mark_us",
    [TIMING_MARK_ANSWERED] = "mark_answered_us",
};

void timings_init(struct timings *timings)
{
    *timings = (struct timings){0};
    TAILQ_INIT(&timings->list);
}

void timings_fini(struct timings *timings)
{
    struct timing *timing = NULL;
    while ((timing = TAILQ_FIRST(&timings->list)) != NULL) {
        TAILQ_REMOVE(&timings->list, timing, link);
        free(timing);
    }
    map_fini(&timings->by_id, NULL);
}

/* Returns the timing of a notification, added on first use; NULL when the table is full. */
static struct timing *find_or_add_timing(struct timings *timings, const char *id)
{
    struct timing *timing = map_get(&timings->by_id, id);
    if (timing != NULL || timings->by_id.count >= TIMINGS_CAPACITY)
        return timing;
    timing = memory_new(1, sizeof *timing);
    text_copy(timing->id, sizeof timing->id, id);
    TAILQ_INSERT_TAIL(&timings->list, timing, link);
    map_set(&timings->by_id, id, timing);
    return timing;
}

void timings_record(struct timings *timings, const char *id, enum timing_moment moment)
{
    struct timing *timing = id == NULL ? NULL : find_or_add_timing(timings, id);
    if (timing != NULL && timing->at_us[moment] == 0)
        timing->at_us[moment] = clock_monotonic_us();
}

void timings_record_call(
    struct timings *timings, const char *id, const char *function, bool is_answer)
{
    static const struct {
        const char *function;
        enum timing_moment arrival;
        enum timing_moment answer;
    } calls[] = {
        {"getNotificationForDelivery", TIMING_CONTEXT, TIMING_CONTEXT_ANSWERED},
        {"createMessageFromAgent", TIMING_REPLY, TIMING_REPLY_ANSWERED},
        {"markNotificationDelivered", TIMING_MARK, TIMING_MARK_ANSWERED},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].function, function) == 0)
            timings_record(timings, id, is_answer ? calls[i].answer : calls[i].arrival);
}

json_t *timings_describe(const struct timings *timings)
{
    json_t *list = memory_json(json_array());
    const struct timing *timing = NULL;
    TAILQ_FOREACH (timing, &timings->list, link) {
        json_t *json = memory_json(json_pack("{s:s}", "notification", timing->id));
        for (int moment = 0; moment < TIMING_COUNT; moment++)
            if (timing->at_us[moment] != 0)
                json_object_set_new(
                    json, moment_names[moment], memory_json(json_integer(timing->at_us[moment])));
        json_array_append_new(list, json);
    }
    return list;
}
