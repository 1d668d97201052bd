/*
 * A ring of records, in which the number of a call gives its place. Calls whose record was
 * overwritten end unnoticed.
 */
#include "call_log.h"

#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"
#include "memory.h"

enum { KEPT_STRING_BYTES = 1024 };

void call_log_fini(struct call_log *log)
{
    for (size_t i = 0; log->records != NULL && i < CALL_LOG_CAPACITY; i++)
        json_decref(log->records[i].arguments);
    free(log->records);
    log->records = NULL;
}

json_t *call_log_copy_arguments(const json_t *arguments)
{
    json_t *copy = memory_json(json_object());
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)arguments, key, value) {
        const char *string = json_string_value(value);
        if (strcmp(key, "serviceToken") == 0 || strcmp(key, "accountId") == 0)
            continue;
        size_t length = string == NULL ? 0 : strlen(string);
        if (length <= KEPT_STRING_BYTES)
            json_object_set(copy, key, value);
        else
            json_object_set_new(copy, key,
                memory_json(
                    json_stringn(string, text_utf8_cut(string, length, KEPT_STRING_BYTES))));
    }
    return copy;
}

uint64_t call_log_begin(struct call_log *log, const char *function, const json_t *arguments)
{
    if (log->records == NULL)
        log->records = memory_new(CALL_LOG_CAPACITY, sizeof *log->records);
    struct call_record *record = &log->records[++log->last % CALL_LOG_CAPACITY];
    json_decref(record->arguments);
    *record = (struct call_record){.number = log->last,
        .arguments = call_log_copy_arguments(arguments),
        .begun_us = clock_monotonic_us(),
        .outcome = "under_way"};
    text_copy(record->function, sizeof record->function, function);
    return log->last;
}

void call_log_end(struct call_log *log, uint64_t number, const char *outcome)
{
    if (log->records == NULL || number == 0)
        return;
    struct call_record *record = &log->records[number % CALL_LOG_CAPACITY];
    if (record->number != number || record->ended_us != 0)
        return;
    record->ended_us = clock_monotonic_us();
    record->outcome = outcome;
}

/* Whether the call names the notification, as its subject or as the source of a message. */
static bool is_about(const struct call_record *record, const char *notification_id)
{
    static const char *const keys[] = {"notificationId", "sourceNotificationId"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *id = json_guard_string(record->arguments, keys[i]);
        if (id != NULL && strcmp(id, notification_id) == 0)
            return true;
    }
    return false;
}

static json_t *describe_call(const struct call_record *record)
{
    return memory_json(json_pack("{s:I, s:s, s:O, s:I, s:I, s:s}", "number",
        (json_int_t)record->number, "function", record->function, "arguments", record->arguments,
        "begun_us", (json_int_t)record->begun_us, "ended_us", (json_int_t)record->ended_us,
        "outcome", record->outcome));
}

json_t *call_log_describe(
    const struct call_log *log, uint64_t since, const char *function, const char *notification_id)
{
    json_t *list = memory_json(json_array());
    uint64_t oldest = log->last < CALL_LOG_CAPACITY ? 1 : log->last - CALL_LOG_CAPACITY + 1;
    if (since + 1 > oldest)
        oldest = since + 1;
    for (uint64_t number = oldest; log->records != NULL && number <= log->last; number++) {
        const struct call_record *record = &log->records[number % CALL_LOG_CAPACITY];
        if (record->number == number &&
            (function == NULL || strcmp(function, record->function) == 0) &&
            (notification_id == NULL || is_about(record, notification_id)))
            json_array_append_new(list, describe_call(record));
    }
    return list;
}
