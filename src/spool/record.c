/*
 * A record is one JSON object. Its "version" is that of the format: it rises when a release
 * writes something that an earlier one would misread, and a release leaves records of a higher
 * version alone (ERROR_NEWER), because after a rollback they may hold replies. Records without a
 * version are from before there was one; they are read as version 1. An additional member that may
 * be ignored does not need a new version.
 *
 * Members that older releases did not write are optional.
 */
#include "spool/spool.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

/*
 * Version 2 added what a v1 backend needs, version 3 calls of tools and replies that do not fit in
 * a thread. A record is written in the first version that holds what it has, for the releases that
 * know no later one.
 */
enum { FORMAT_VERSION = 3, BACKEND_V1_VERSION = 2, FIRST_VERSION = 1 };

static bool is_of_v1_backend(const struct spool_record *record)
{
    return record->message_id[0] != '\0' || record->may_be_changed || record->answers_again ||
           record->begins_task || record->empty_answers > 0;
}

char *spool_record_write(const struct spool_record *record, const char *account_id)
{
    bool is_new = record->rounds != NULL || record->is_long;
    bool is_v1 = is_new || is_of_v1_backend(record);
    int version = is_new ? FORMAT_VERSION : is_v1 ? BACKEND_V1_VERSION : FIRST_VERSION;
    json_t *document =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:b, s:s}", "version",
            version, "account", account_id, "id", record->id, "agent", record->agent_id, "slug",
            record->agent_slug, "task", record->task_id, "createdAt",
            (json_int_t)record->created_at_ms, "failingMs", (json_int_t)record->failing_ms,
            "errorMs", (json_int_t)record->error_ms, "timeouts", (int)record->timeouts, "runs",
            (int)record->runs, "givenUp", record->reply_abandoned, "failure", record->failure);
    bool complete = document != NULL;
    if (complete && is_v1)
        complete = json_object_update_new(document,
                       json_pack("{s:s, s:I, s:b, s:b, s:b, s:i}", "message", record->message_id,
                           "threadUntil", (json_int_t)record->thread_until_ms, "mayBeChanged",
                           record->may_be_changed, "again", record->answers_again, "beginsTask",
                           record->begins_task, "emptyAnswers", (int)record->empty_answers)) == 0;
    if (complete && record->is_long)
        complete = json_object_update_new(
                       document, json_pack("{s:b, s:b, s:s}", "long", 1, "documentBegun",
                                     record->document_begun, "document", record->document_id)) == 0;
    /* Not with "s*" above: json_pack drops an optional member silently when out of memory. */
    if (complete && record->rounds != NULL)
        complete = json_object_set(document, "rounds", record->rounds) == 0;
    if (complete && record->reply != NULL)
        complete = json_object_set_new(document, "reply", json_string(record->reply)) == 0;
    char *bytes = complete ? json_write(document) : NULL;
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

/* All optional: records of a v0 backend have none of them. */
static void read_v1_members(const json_t *document, struct spool_record *record)
{
    double empty_answers = 0;
    const char *message_id = json_guard_id(document, "message");
    text_copy(record->message_id, sizeof record->message_id, message_id != NULL ? message_id : "");
    json_guard_time_ms(document, "threadUntil", 0, &record->thread_until_ms);
    record->may_be_changed = json_is_true(json_object_get(document, "mayBeChanged"));
    record->answers_again = json_is_true(json_object_get(document, "again"));
    record->begins_task = json_is_true(json_object_get(document, "beginsTask"));
    const char *document_id = json_guard_id(document, "document");
    record->is_long = json_is_true(json_object_get(document, "long"));
    record->document_begun = json_is_true(json_object_get(document, "documentBegun"));
    text_copy(
        record->document_id, sizeof record->document_id, document_id != NULL ? document_id : "");
    json_guard_number(json_object_get(document, "emptyAnswers"), 0, INT_MAX, &empty_answers);
    record->empty_answers = (unsigned)empty_answers;
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
    read_v1_members(document, record);
    text_copy(record->failure, sizeof record->failure, failure != NULL ? failure : "");
    return true;
}

/*
 * Releases before version 1 wrote no version and no "stage". Anything beyond what this release
 * knows is a newer layout, of which nothing else can be judged, not even whose it is.
 */
static bool is_newer_format(const json_t *document)
{
    double version;
    const json_t *value = json_object_get(document, "version");
    if (json_object_get(document, "stage") != NULL)
        return true;
    return value != NULL && !json_guard_number(value, INT_MIN, FORMAT_VERSION, &version);
}

static int read_record_document(const json_t *document, const char *account_id, const char *id,
    struct spool_record *record, struct error *error)
{
    if (is_newer_format(document))
        return error_set(error, ERROR_NEWER,
            "written by a newer release; this one reads format version %d", FORMAT_VERSION);
    if (!read_record_fields(document, account_id, id, record))
        return error_set(error, ERROR_INVALID, "not a record of this account");
    record->rounds = json_incref(json_object_get(document, "rounds"));
    const char *reply = json_guard_string(document, "reply");
    if (reply != NULL && (record->reply = strdup(reply)) == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for a reply");
    return 0;
}

int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    json_t *document = NULL;
    *record = (struct spool_record){0};
    int result = json_guard_load(bytes, length_bytes, &document, error);
    if (result == 0)
        result = read_record_document(document, account_id, id, record, error);
    else if (result != ERROR_NO_MEMORY)
        result = ERROR_INVALID;
    json_decref(document);
    if (result != 0)
        spool_record_fini(record);
    return result;
}

void spool_record_fini(struct spool_record *record)
{
    json_decref(record->rounds);
    free(record->reply);
    record->rounds = NULL;
    record->reply = NULL;
}
