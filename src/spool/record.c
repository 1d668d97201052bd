#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "spool/spool.h"

char *spool_record_write(const struct spool_record *record, const char *account_id)
{
    json_t *document = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:b, s:s}",
        "account", account_id, "id", record->id, "agent", record->agent_id, "slug",
        record->agent_slug, "task", record->task_id, "createdAt", (json_int_t)record->created_at_ms,
        "failingMs", (json_int_t)record->failing_ms, "errorMs", (json_int_t)record->error_ms,
        "timeouts", (int)record->timeouts, "runs", (int)record->runs, "givenUp",
        record->reply_abandoned, "failure", record->failure);
    char *bytes = NULL;
    /* Not as an optional part of the above, which is left out when there is no memory for it. */
    if (record->reply == NULL ||
        json_object_set_new(document, "reply", json_string(record->reply)) == 0)
        bytes = json_write(document);
    json_decref(document);
    return bytes;
}

static bool copy_field(char field[static ID_BYTES], const json_t *document, const char *key)
{
    const char *value = json_guard_string(document, key);
    return value != NULL && text_copy(field, ID_BYTES, value);
}

/* Into a record of zeros, which stand for what the document lacks. */
static bool read_numbers(const json_t *document, struct spool_record *record)
{
    double runs;
    double timeouts = 0;
    if (!json_guard_time_ms(document, "createdAt", 0, &record->created_at_ms) ||
        !json_guard_number(json_object_get(document, "runs"), 0, INT_MAX, &runs))
        return false;
    json_guard_time_ms(document, "failingMs", 0, &record->failing_ms);
    json_guard_time_ms(document, "errorMs", 0, &record->error_ms);
    json_guard_number(json_object_get(document, "timeouts"), 0, INT_MAX, &timeouts);
    record->timeouts = (unsigned)timeouts;
    record->runs = (unsigned)runs;
    return true;
}

/* False when the document is no whole record of this account under this id. */
static bool read_fields(
    const json_t *document, const char *account_id, const char *id, struct spool_record *record)
{
    const char *account = json_guard_string(document, "account");
    const char *failure = json_guard_string(document, "failure");
    if (account == NULL || strcmp(account, account_id) != 0 ||
        !copy_field(record->id, document, "id") || strcmp(record->id, id) != 0 ||
        !copy_field(record->agent_id, document, "agent") ||
        !copy_field(record->agent_slug, document, "slug") ||
        !copy_field(record->task_id, document, "task") || !read_numbers(document, record))
        return false;
    record->reply_abandoned = json_is_true(json_object_get(document, "givenUp"));
    text_copy(record->failure, sizeof record->failure, failure != NULL ? failure : "");
    return true;
}

static int parse_whole(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    json_t *document = NULL;
    *record = (struct spool_record){0};
    int result = json_guard_load(bytes, length_bytes, &document, error);
    if (result == 0 && !read_fields(document, account_id, id, record))
        result = error_set(error, ERROR_INVALID, "is no record of this account");
    const char *reply = result == 0 ? json_guard_string(document, "reply") : NULL;
    if (reply != NULL && (record->reply = strdup(reply)) == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for a reply");
    json_decref(document);
    return result == ERROR_NO_MEMORY || result == 0 ? result : ERROR_INVALID;
}

/*
 * How many bytes are the record that a reply was being put behind when the machine or the disk
 * failed, but for its closing brace; *half_reply: a part of the reply is there, too. Of what was
 * not written, NULs may stand for it, or only its length be missing.
 */
static size_t bytes_before_reply(const char *bytes, size_t length_bytes, bool *half_reply)
{
    static const char begin[] = SPOOL_RECORD_REPLY;
    size_t begin_bytes = sizeof begin - 1;
    const char *reply = memmem(bytes, length_bytes, begin, begin_bytes);
    *half_reply = reply != NULL;
    if (reply != NULL)
        return (size_t)(reply - bytes);
    while (length_bytes > 0 && bytes[length_bytes - 1] == '\0')
        length_bytes--;
    for (size_t part = begin_bytes - 1; part > 0; part--)
        if (length_bytes >= part && memcmp(bytes + length_bytes - part, begin, part) == 0)
            return length_bytes - part;
    return length_bytes > 0 && bytes[length_bytes - 1] == '}' ? length_bytes - 1 : length_bytes;
}

/* Reads bytes that are no whole record: the one before its reply is, if the reply alone is not. */
static int parse_before_reply(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record)
{
    bool half_reply;
    struct error unused;
    struct text before = {0};
    size_t kept_bytes = bytes_before_reply(bytes, length_bytes, &half_reply);
    text_append_bytes(&before, bytes, kept_bytes);
    text_append(&before, "}");
    int result = ERROR_NO_MEMORY;
    if (!before.failed)
        result = parse_whole(before.data, before.length_bytes, account_id, id, record, &unused);
    text_fini(&before);
    if (result == 0 && !half_reply)
        return 0;
    unsigned runs = result == 0 ? record->runs : 0;
    if (result == 0)
        free(record->reply);
    *record = (struct spool_record){.runs = runs};
    return result == 0 ? ERROR_INVALID : result;
}

int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    int result = parse_whole(bytes, length_bytes, account_id, id, record, error);
    if (result == ERROR_INVALID)
        result = parse_before_reply(bytes, length_bytes, account_id, id, record);
    if (result == ERROR_NO_MEMORY)
        error_set(error, result, "no memory to read it");
    if (result == 0 && error != NULL)
        *error = (struct error){0};
    return result;
}
