/*
 * A record is one flat JSON object. The order of its members matters: "reply" is the last one, so a
 * record without a reply becomes one with it by replacing its final "}" with ,"reply":"..."}.
 *
 * A machine that stops while that happens can leave the file at its new length with NULs at its
 * end, at its old length, or with a prefix of the new bytes. Parsing therefore has two steps: the
 * whole text; and if that is not a record, the text before the reply. If that is a record and not a
 * single byte of the reply's value is there, the reply was never written and the run is resumed.
 * If part of the value is there, the record is damaged, but its number of runs is still known: the
 * agent must not be asked again as if it had never been.
 *
 * Members that older versions did not write are optional.
 */
#include "spool/spool.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

char *spool_record_write(const struct spool_record *record, const char *account_id)
{
    json_t *document = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:b, s:s}",
        "account", account_id, "id", record->id, "agent", record->agent_id, "slug",
        record->agent_slug, "task", record->task_id, "createdAt", (json_int_t)record->created_at_ms,
        "failingMs", (json_int_t)record->failing_ms, "errorMs", (json_int_t)record->error_ms,
        "timeouts", (int)record->timeouts, "runs", (int)record->runs, "givenUp",
        record->reply_abandoned, "failure", record->failure);
    char *bytes = NULL;
    /* Not with "s*" above: json_pack drops an optional member silently when out of memory. */
    if (record->reply == NULL ||
        json_object_set_new(document, "reply", json_string(record->reply)) == 0)
        bytes = json_write(document);
    json_decref(document);
    return bytes;
}

static bool copy_id_field(char field[static ID_BYTES], const json_t *document, const char *key)
{
    const char *value = json_guard_string(document, key);
    return value != NULL && text_copy(field, ID_BYTES, value);
}

/* record is all zeros, which are the defaults of optional members. */
static bool read_record_numbers(const json_t *document, struct spool_record *record)
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

/* False when the document is not a complete record of this account and id. */
static bool read_record_fields(
    const json_t *document, const char *account_id, const char *id, struct spool_record *record)
{
    const char *account = json_guard_string(document, "account");
    const char *failure = json_guard_string(document, "failure");
    if (account == NULL || strcmp(account, account_id) != 0 ||
        !copy_id_field(record->id, document, "id") || strcmp(record->id, id) != 0 ||
        !copy_id_field(record->agent_id, document, "agent") ||
        !copy_id_field(record->agent_slug, document, "slug") ||
        !copy_id_field(record->task_id, document, "task") || !read_record_numbers(document, record))
        return false;
    record->reply_abandoned = json_is_true(json_object_get(document, "givenUp"));
    text_copy(record->failure, sizeof record->failure, failure != NULL ? failure : "");
    return true;
}

static int parse_complete(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    json_t *document = NULL;
    *record = (struct spool_record){0};
    int result = json_guard_load(bytes, length_bytes, &document, error);
    if (result == 0 && !read_record_fields(document, account_id, id, record))
        result = error_set(error, ERROR_INVALID, "not a record of this account");
    const char *reply = result == 0 ? json_guard_string(document, "reply") : NULL;
    if (reply != NULL && (record->reply = strdup(reply)) == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "out of memory for a reply");
    json_decref(document);
    return result == ERROR_NO_MEMORY || result == 0 ? result : ERROR_INVALID;
}

/*
 * The length of a damaged record up to where its reply begins, without a closing brace.
 * *half_reply: the file contains the whole SPOOL_RECORD_REPLY, so part of the reply may follow.
 * Bytes that never reached the disk are either missing or NULs, and SPOOL_RECORD_REPLY itself may
 * be incomplete.
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

/* Parses the part before the reply of a record that is not complete. */
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
        result = parse_complete(before.data, before.length_bytes, account_id, id, record, &unused);
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
    int result = parse_complete(bytes, length_bytes, account_id, id, record, error);
    if (result == ERROR_INVALID)
        result = parse_before_reply(bytes, length_bytes, account_id, id, record);
    if (result == ERROR_NO_MEMORY)
        error_set(error, result, "out of memory");
    if (result == 0 && error != NULL)
        *error = (struct error){0};
    return result;
}
