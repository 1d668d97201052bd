/*
 * Any bytes as a spool file: damaged, of a newer release, or a record with valid fields for this
 * account and id only.
 */
#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/text.h"
#include "spool/spool.h"

static const char account[] = "k57abc";
static const char id[] = "js1";
static const int64_t MAX_TIME_MS = INT64_C(8640000000000000);

static void check_record(const struct spool_record *record)
{
    assert(strcmp(record->id, id) == 0 && id_is_valid(record->id));
    assert(strlen(record->agent_id) < ID_BYTES);
    assert(strlen(record->agent_slug) < ID_BYTES);
    assert(strlen(record->task_id) < ID_BYTES);
    assert(record->runs <= INT_MAX);
    assert(record->created_at_ms >= 0 && record->created_at_ms <= MAX_TIME_MS);
    assert(record->reply == NULL || utf8_is_valid(record->reply, strlen(record->reply)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spool_record record;
    struct error error = {0};
    int result = spool_record_parse((const char *)data, size, account, id, &record, &error);
    assert((result == 0) == (error.code == 0));
    assert(result == 0 || result == ERROR_INVALID || result == ERROR_NEWER);
    assert(result == 0 || record.reply == NULL);
    if (result == 0) {
        check_record(&record);
        struct spool_record other;
        assert(spool_record_parse((const char *)data, size, "k57abd", id, &other, NULL) != 0);
        assert(spool_record_parse((const char *)data, size, account, "js2", &other, NULL) != 0);
    }
    free(record.reply);
    return 0;
}
