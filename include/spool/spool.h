/* One notification's record in the spool, and its form as a small JSON document. */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/error.h"

enum { SPOOL_FAILURE_BYTES = 64 };

struct spool_record {
    char id[ID_BYTES]; /* of the notification; valid (base/id.h) */
    char agent_id[ID_BYTES];
    char agent_slug[ID_BYTES];
    char task_id[ID_BYTES]; /* "" for none */
    bool reply_abandoned; /* the notification is or may be marked, though the reply was not written
                           */
    int64_t created_at_ms;
    int64_t failing_ms; /* how long the gateway has refused it */
    int64_t error_ms;   /* how long the backend has */
    unsigned timeouts;  /* runs that took longer than they were waited for */
    unsigned runs;      /* requests to the agent that were begun, this one included */
    char failure[SPOOL_FAILURE_BYTES]; /* what the last run ended in; "" while there is none */
    char *reply; /* NULL while the agent is being asked; else owned by whoever holds the record */
    uint64_t name_sync; /* by which sync its file's name is on disk (base/dir_sync.h) */
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

/*
 * What must outlive the process: for each notification whose agent was asked, how far it has come
 * and, once it is there, the reply. One small JSON file each, in STATE_DIR/spool.
 */

struct spool;

/*
 * Opens STATE_DIR/spool and STATE_DIR/dead, making them with mode 0700, for one account. The caller
 * holds the lock of the state directory (queue/state_dir.h) as long as the spool is open, and
 * closes it. ERROR_INVALID when the directory belongs to another account or cannot be made,
 * ERROR_SYSTEM when it cannot be read whose it is or descriptors or memory are short,
 * ERROR_NO_MEMORY.
 */
int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error);

/*
 * Opens what is there already, for operators: makes and claims nothing, and spool_each leaves
 * leftovers alone. So reading needs no lock and may be done beside a runtime; changing does need
 * it. ERROR_CLOSED when state_dir does not exist or no runtime has used it yet, ERROR_INVALID when
 * it belongs to another account or lacks a directory, ERROR_SYSTEM when it cannot be read,
 * ERROR_NO_MEMORY.
 */
int spool_open_existing(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error);

/* Frees it; NULL does nothing. Once no other thread uses it; what was not synced is not either. */
void spool_close(struct spool *spool);

/* How often the directory has been synced since the spool was opened. Any thread. */
uint64_t spool_syncs(const struct spool *spool);

/*
 * Whether the state directory may be used for the account: ERROR_INVALID when it is another one's,
 * 0 also while nobody's or not there, ERROR_SYSTEM when it cannot be read. Makes and changes
 * nothing.
 */
int spool_check_account(const char *state_dir, const char *account_id, struct error *error);

/*
 * Writes the record in place of the one that is there. durable, for one with a reply: on disk when
 * this returns (file and directory are synced); else it survives the end of the process, but not
 * that of the machine. record->name_sync, which is not written, is set on success, and has to be
 * what the last spool_save of that id set it to, or 0: a sync of the directory for one name then
 * serves for all. Blocks for the disk. ERROR_SYSTEM when it cannot be written (the old record
 * stays, unless the disk fails), ERROR_NO_MEMORY. Any thread, but one at a time for one id.
 */
int spool_save(struct spool *spool, struct spool_record *record, bool durable, struct error *error);

/*
 * Reads the record of id into *record, whose reply is the caller's to free. ERROR_CLOSED when there
 * is none, ERROR_INVALID when it is damaged, ERROR_SYSTEM, ERROR_NO_MEMORY. This and all below: any
 * thread, but one at a time for one id; blocks for the disk.
 */
int spool_load(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);

/* Removes the record of id; does nothing if there is none. ERROR_SYSTEM. */
int spool_remove(struct spool *spool, const char *id, struct error *error);

/*
 * Moves the record of id to STATE_DIR/dead, in place of what is there; does nothing if there is
 * none. ERROR_SYSTEM, also when dead/ was removed meanwhile: the record then stays in the spool.
 */
int spool_bury(struct spool *spool, const char *id, struct error *error);

/*
 * Moves the record of id from dead/ back into the spool, on disk when this returns: at every moment
 * it is in one of the two. ERROR_CLOSED if there is none, ERROR_INVALID if the spool has another
 * one of that id (both stay), ERROR_SYSTEM.
 */
int spool_exhume(struct spool *spool, const char *id, struct error *error);

/* As spool_load and spool_remove, for dead/; removing what is not there is ERROR_CLOSED. */
int spool_load_dead(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);
int spool_remove_dead(struct spool *spool, const char *id, struct error *error);

/*
 * record is found's to keep the reply of. why is NULL for a whole one; else only the id is there
 * and, if the reply alone is damaged, the runs: ERROR_INVALID for what is damaged, ERROR_SYSTEM for
 * what cannot be read now, and may be whole.
 */
typedef void spool_found(void *context, struct spool_record *record, const struct error *why);

/*
 * Calls found for each record, in no order. Leftovers of an interrupted write are removed; files
 * that are not the spool's are left alone, as are records that go away meanwhile. ERROR_SYSTEM when
 * the directory cannot be read, ERROR_NO_MEMORY.
 */
int spool_each(struct spool *spool, spool_found *found, void *context, struct error *error);
int spool_each_dead(struct spool *spool, spool_found *found, void *context, struct error *error);

/* What dead/ holds. */
struct spool_usage {
    size_t files;
    int64_t bytes;
};

/*
 * Adds up dead/ and, while it is over SPOOL_DEAD_FILES or SPOOL_DEAD_BYTES, removes its oldest
 * record, calling removed with its id. Several threads may call it at once: what another one
 * removed meanwhile counts as done, and is not told to removed. ERROR_SYSTEM when the directory
 * cannot be read or a record cannot be removed.
 */
enum { SPOOL_DEAD_FILES = 10000, SPOOL_DEAD_BYTES = 256 * 1024 * 1024 };
int spool_trim_dead(struct spool *spool, struct spool_usage *usage,
    void (*removed)(void *context, const char *id), void *context, struct error *error);

/* The directory that outlives the process, and the lock that keeps a second runtime out of it. */

struct state_dir {
    int lock_fd; /* -1 while closed; close-on-exec */
};

/*
 * Makes path and what is missing above it, with mode 0700, and locks it. Returns 0, ERROR_INVALID
 * when it cannot be made or written to, or ERROR_LOCKED when another runtime has it; the text says
 * which process. Blocks up to 0.2 s for those who only look at the lock. The caller closes it.
 */
int state_dir_open(struct state_dir *dir, const char *path, struct error *error);
void state_dir_close(struct state_dir *dir);

/*
 * Whether a runtime holds the directory now, with its process id as text in holder ("" when it
 * cannot be known). Makes nothing; a directory that is not there is held by nobody. For a moment it
 * shares the lock if nobody has it, which a runtime that starts at that very moment waits for.
 */
bool state_dir_is_held(const char *path, char *holder, size_t holder_bytes);

#endif
