/*
 * Call counters by function name. A counter is created at its first use and never freed before
 * counts_fini, so calls in progress can hold a pointer to theirs across a reset.
 */
#include "counts.h"

#include "base/text.h"
#include "memory.h"

void counts_fini(struct counts *counts)
{
    map_fini(&counts->by_name, free);
}

static void reset_count(struct counts *counts, const char *name)
{
    struct count *count = counts_of(counts, name);
    count->calls = count->ok = count->errors = count->faults = count->last_ms = 0;
    count->first_us = 0;
    count->last_trace[0] = '\0';
}

void counts_reset(struct counts *counts, const char *const *names)
{
    reset_count(counts, "");
    for (; *names != NULL; names++)
        reset_count(counts, *names);
}

/* The total is kept under the empty name, which no function has. */
struct count *counts_of(struct counts *counts, const char *name)
{
    char key[sizeof((struct count *)0)->name];
    text_copy(key, sizeof key, name);
    struct count *count = map_get(&counts->by_name, key);
    if (count == NULL) {
        count = memory_new(1, sizeof *count);
        text_copy(count->name, sizeof count->name, key);
        map_set(&counts->by_name, key, count);
    }
    return count;
}

int64_t counts_calls(const struct counts *counts, const char *name)
{
    const struct count *count = map_get(&counts->by_name, name == NULL ? "" : name);
    return count == NULL ? 0 : count->calls;
}

int64_t counts_last_ms(const struct counts *counts)
{
    const struct count *total = map_get(&counts->by_name, "");
    return total == NULL ? 0 : total->last_ms;
}

json_t *counts_describe(const struct counts *counts, const char *const *names)
{
    json_t *all = memory_json(json_object());
    for (; *names != NULL; names++) {
        const struct count *count = map_get(&counts->by_name, *names);
        if (count == NULL)
            continue;
        json_object_set_new(all, *names,
            memory_json(
                json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "calls", (json_int_t)count->calls,
                    "ok", (json_int_t)count->ok, "errors", (json_int_t)count->errors, "faults",
                    (json_int_t)count->faults, "lastAt", (json_int_t)count->last_ms, "firstUs",
                    (json_int_t)count->first_us, "lastTrace", count->last_trace)));
    }
    return all;
}
