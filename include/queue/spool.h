/*
 * What must outlive the process: for each notification whose agent was asked, how far it has come
 * and, once it is there, the reply. One small JSON file each, in STATE_DIR/spool.
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"

struct spool;

/* A file's content. */
struct spool_record {
    char id[ID_BYTES]; /* of the notification; valid (base/id.h) */
    char agent_id[ID_BYTES];
    char agent_slug[ID_BYTES];
    char task_id[ID_BYTES]; /* "" for none */
    int64_t created_at_ms;
    unsigned runs; /* requests to the agent that were begun, this one included */
    char *reply;   /* NULL while the agent is being asked; else owned by whoever holds the record */
};

/*
 * Opens STATE_DIR/spool and STATE_DIR/dead, making them with mode 0700, for one account. The caller
 * holds the lock of the state folder (queue/state_folder.h) as long as the spool is open, and
 * closes it. ERROR_INVALID when the folder belongs to another account or cannot be made,
 * ERROR_NO_MEMORY.
 */
int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error);
void spool_close(struct spool *spool);

/*
 * Writes the record in place of the one that is there. durable: on disk when this returns (file and
 * folder are synced); else it survives the end of the process, but not that of the machine. Blocks
 * for the disk. ERROR_SYSTEM when it cannot be written (the old record stays), ERROR_NO_MEMORY. Any
 * thread, but one at a time for one id.
 */
int spool_save(
    struct spool *spool, const struct spool_record *record, bool durable, struct error *error);

/*
 * Reads the record of id into *record, whose reply is the caller's to free. ERROR_CLOSED when there
 * is none, ERROR_INVALID when it is damaged, ERROR_SYSTEM, ERROR_NO_MEMORY.
 */
int spool_load(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);

/*
 * Reads a record's bytes: it has to be whole, of that account and under that id. *record is filled
 * as by spool_load. ERROR_INVALID (record->reply is NULL then), ERROR_NO_MEMORY. Pure but for
 * memory.
 */
int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error);

/* Removes the record of id; does nothing if there is none. ERROR_SYSTEM. */
int spool_remove(struct spool *spool, const char *id, struct error *error);

/* Moves the record of id to STATE_DIR/dead, in place of what is there. ERROR_SYSTEM. */
int spool_bury(struct spool *spool, const char *id, struct error *error);

/*
 * Calls found for each record, in no order; the record is found's to keep the reply of, and a
 * record that is damaged comes with damaged true and only its id. Files that are no records
 * (leftovers of an interrupted write) are removed. ERROR_SYSTEM when the folder cannot be read,
 * ERROR_NO_MEMORY, which ends the pass.
 */
int spool_each(struct spool *spool,
    void (*found)(void *context, struct spool_record *record, bool damaged), void *context,
    struct error *error);

#endif
