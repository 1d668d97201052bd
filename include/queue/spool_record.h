/* One notification's record in the spool, and its form as a small JSON document. */
#ifndef QUEUE_SPOOL_RECORD_H
#define QUEUE_SPOOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"

enum { SPOOL_FAILURE_BYTES = 64 };

struct spool_record {
    char id[ID_BYTES]; /* of the notification; valid (base/id.h) */
    char agent_id[ID_BYTES];
    char agent_slug[ID_BYTES];
    char task_id[ID_BYTES]; /* "" for none */
    bool given_up; /* the notification is or may be marked, though the reply was not written */
    int64_t created_at_ms;
    int64_t failing_ms; /* how long the gateway has refused it */
    int64_t error_ms;   /* how long the backend has */
    unsigned timeouts;  /* runs that took longer than they were waited for */
    unsigned runs;      /* requests to the agent that were begun, this one included */
    char failure[SPOOL_FAILURE_BYTES]; /* what the last run ended in; "" while there is none */
    char *reply; /* NULL while the agent is being asked; else owned by whoever holds the record */
    uint64_t name_sync; /* by which sync its file's name is on disk (base/folder_sync.h) */
};

/* How a record with a reply goes on where the one without it ends, with a "}". */
#define SPOOL_RECORD_REPLY ",\"reply\":"

/*
 * Reads a record's bytes: it has to be whole, of that account and under that id. A reply of which
 * nothing was written when the machine stopped is none. On failure record->reply is NULL, and
 * record->runs what was counted before a reply of which a part is there, else 0; *error is set on
 * failure, left without a code else, and may be NULL. ERROR_INVALID, ERROR_NO_MEMORY. Pure but for
 * memory.
 */
int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error);

/*
 * The record's bytes, NUL-ended, for the caller to free; NULL without memory. Those with a reply
 * differ from those without it from SPOOL_RECORD_REPLY on, and nowhere else have that.
 */
char *spool_record_write(const struct spool_record *record, const char *account_id);

#endif
