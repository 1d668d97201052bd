/*
 * Calls in order, found by their ids when results come. The oldest are dropped beyond
 * TOOL_LOG_CAPACITY, and long texts are cut. How often a result came is counted, since a client
 * that sends one twice makes the model see it twice.
 */
#include "tool_log.h"

#include "agent_report.h"
#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"
#include "memory.h"

/* Strings are owned, NULL when absent; times are monotonic, 0 when there is none. */
struct tool_record {
    TAILQ_ENTRY(tool_record) link;
    uint64_t number;
    uint64_t run;
    uint64_t first_run;
    unsigned round;
    char *agent;
    char *session;
    char *task_id;
    char *call_id; /* NULL: only the model knows of it */
    char *name;
    char *arguments;
    char *told;
    char *output;
    bool is_named; /* the output begins with the name of the tool */
    const char *outcome;
    bool by_http;
    unsigned results;
    uint64_t result_run; /* that brought the first result */
    int64_t asked_us;
    int64_t ended_us;
    int64_t asked_at_ms; /* wall clock */
};

void tool_log_init(struct tool_log *log)
{
    *log = (struct tool_log){0};
    TAILQ_INIT(&log->records);
}

/* Frees a record that has been removed from the list. */
static void free_tool_record(struct tool_log *log, struct tool_record *record)
{
    if (record->call_id != NULL && map_get(&log->by_call_id, record->call_id) == record)
        map_remove(&log->by_call_id, record->call_id);
    free(record->agent);
    free(record->session);
    free(record->task_id);
    free(record->call_id);
    free(record->name);
    free(record->arguments);
    free(record->told);
    free(record->output);
    free(record);
}

void tool_log_fini(struct tool_log *log)
{
    struct tool_record *record = NULL;
    while ((record = TAILQ_FIRST(&log->records)) != NULL) {
        TAILQ_REMOVE(&log->records, record, link);
        free_tool_record(log, record);
    }
    map_fini(&log->by_call_id, NULL);
}

static char *copy_cut(const char *text)
{
    size_t length = strlen(text);
    return memory_copy_bytes(text, text_utf8_cut(text, length, TOOL_LOG_TEXT_BYTES));
}

static char *copy_or_null(const char *text)
{
    return text == NULL ? NULL : copy_cut(text);
}

/* The arguments of a call as text, whatever form they have; the caller frees it. */
static char *copy_arguments_text(const json_t *arguments)
{
    if (arguments == NULL || json_is_string(arguments))
        return copy_cut(arguments == NULL ? "{}" : json_string_value(arguments));
    char *dump = memory_json_dump(arguments);
    char *cut = copy_cut(dump);
    free(dump);
    return cut;
}

static void evict_oldest_call(struct tool_log *log)
{
    struct tool_record *oldest = TAILQ_FIRST(&log->records);
    if (log->kept < TOOL_LOG_CAPACITY || oldest == NULL)
        return;
    TAILQ_REMOVE(&log->records, oldest, link);
    log->kept--;
    free_tool_record(log, oldest);
}

static struct tool_record *add_record(
    struct tool_log *log, const struct tool_origin *origin, const json_t *call)
{
    evict_oldest_call(log);
    struct tool_record *record = memory_new(1, sizeof *record);
    *record = (struct tool_record){.number = ++log->last,
        .run = origin->run,
        .first_run = origin->first_run,
        .round = origin->round,
        .agent = memory_copy(origin->agent),
        .session = memory_copy(origin->session),
        .task_id = copy_or_null(origin->task_id),
        .name = memory_copy(json_guard_string(call, "name")),
        .arguments = copy_arguments_text(json_object_get(call, "arguments")),
        .outcome = "waiting",
        .by_http = origin->by_http,
        .asked_us = clock_monotonic_us(),
        .asked_at_ms = clock_wall_ms()};
    TAILQ_INSERT_TAIL(&log->records, record, link);
    log->kept++;
    return record;
}

void tool_log_ask(struct tool_log *log, const struct tool_origin *origin, const json_t *calls)
{
    size_t index;
    const json_t *call;
    json_array_foreach (calls, index, call) {
        struct tool_record *record = add_record(log, origin, call);
        record->call_id = memory_copy(json_guard_string(call, "call_id"));
        map_set(&log->by_call_id, record->call_id, record);
        log->asked++;
    }
}

void tool_log_tell(struct tool_log *log, const struct tool_origin *origin, const json_t *call)
{
    struct tool_record *record = add_record(log, origin, call);
    record->told = copy_or_null(json_guard_string(call, "told"));
    record->outcome = "told";
    log->told++;
}

/* What the output says about how the call went. */
static const char *outcome_of(const char *output)
{
    json_t *result = agent_report_find_result(output);
    const json_t *success = json_object_get(result, "success");
    const char *outcome = result == NULL          ? "answered"
                          : json_is_true(success) ? "succeeded"
                                                  : "failed";
    json_decref(result);
    return outcome;
}

static void take_output(struct tool_record *record, const char *output, uint64_t run)
{
    record->output = copy_cut(output);
    record->outcome = outcome_of(output);
    record->is_named = strncmp(output, record->name, strlen(record->name)) == 0;
    record->result_run = run;
    record->ended_us = clock_monotonic_us();
}

void tool_log_end(struct tool_log *log, const json_t *results, uint64_t run)
{
    size_t index;
    const json_t *result;
    json_array_foreach (results, index, result) {
        const char *call_id = json_guard_string(result, "call_id");
        struct tool_record *record = call_id == NULL ? NULL : map_get(&log->by_call_id, call_id);
        if (record == NULL || record->results++ > 0)
            continue;
        log->ended++;
        take_output(record, json_guard_string(result, "output"), run);
    }
}

void tool_log_requests(
    struct tool_log *log, const struct tool_origin *origin, const json_t *requests)
{
    size_t index;
    const json_t *request;
    json_array_foreach (requests, index, request) {
        const char *output = json_guard_string(request, "output");
        struct tool_record *record = add_record(log, origin, request);
        record->outcome = "unanswered";
        record->results = output != NULL;
        if (output != NULL)
            take_output(record, output, origin->run);
    }
}

static json_t *optional_text(const char *text)
{
    return text == NULL ? NULL : memory_json_text(text);
}

static json_t *describe_tool_record(const struct tool_record *record)
{
    return memory_json(json_pack("{s:I, s:I, s:I, s:I, s:s, s:s, s:o*, s:o*, s:o, s:o, s:s, s:o*, "
                                 "s:o*, s:b, s:b, s:I, s:I, s:I, s:I, s:I}",
        "number", (json_int_t)record->number, "run", (json_int_t)record->run, "first_run",
        (json_int_t)record->first_run, "round", (json_int_t)record->round, "agent", record->agent,
        "session", record->session, "task", optional_text(record->task_id), "call_id",
        optional_text(record->call_id), "name", memory_json_text(record->name), "arguments",
        memory_json_text(record->arguments), "outcome", record->outcome, "told",
        optional_text(record->told), "output", optional_text(record->output), "named",
        (int)record->is_named, "http", (int)record->by_http, "results", (json_int_t)record->results,
        "result_run", (json_int_t)record->result_run, "asked_us", (json_int_t)record->asked_us,
        "ended_us", (json_int_t)record->ended_us, "asked_at", (json_int_t)record->asked_at_ms));
}

/* Which calls are asked for; NULL: those of all. */
struct tool_filter {
    uint64_t since;
    const char *task_id;
    const char *agent;
};

static bool passes_tool_filter(const struct tool_filter *filter, const struct tool_record *record)
{
    bool is_of_task = filter->task_id == NULL ||
                      (record->task_id != NULL && strcmp(filter->task_id, record->task_id) == 0);
    bool is_of_agent = filter->agent == NULL || strcmp(filter->agent, record->agent) == 0;
    return record->number > filter->since && is_of_task && is_of_agent;
}

json_t *tool_log_describe(const struct tool_log *log, uint64_t since, uint64_t limit,
    const char *task_id, const char *agent)
{
    const struct tool_filter filter = {since, task_id, agent};
    json_t *list = memory_json(json_array());
    const struct tool_record *record = NULL;
    uint64_t passing = 0;
    TAILQ_FOREACH (record, &log->records, link) {
        passing += passes_tool_filter(&filter, record);
    }
    uint64_t skipped = passing > limit ? passing - limit : 0;
    TAILQ_FOREACH (record, &log->records, link) {
        if (!passes_tool_filter(&filter, record))
            continue;
        if (skipped > 0)
            skipped--;
        else
            json_array_append_new(list, describe_tool_record(record));
    }
    return list;
}
