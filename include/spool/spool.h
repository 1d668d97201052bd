/* The spool: the runs and replies that must outlive the process, one small file each in STATE_DIR.
 */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/control_socket.h"
#include "base/error.h"

enum { SPOOL_FAILURE_BYTES = 64 };

/*
 * A reply that is too long for its thread: its full text becomes a document of the task
 * (delivery/long_reply.h). All zero otherwise.
 */
struct document_state {
    bool wanted;       /* the reply is such a one */
    bool begun;        /* the document may have been made */
    char id[ID_BYTES]; /* it has been; "": not that we know */
};

/* The record of one notification whose agent has been asked, or of one wake-up with tool calls. */
struct spool_record {
    char id[ID_BYTES]; /* of the notification, or of the agent; valid (id_is_valid) */
    char agent_id[ID_BYTES];
    char agent_slug[ID_BYTES];
    char task_id[ID_BYTES]; /* "" for none */
    bool reply_abandoned;   /* may be marked as delivered although the reply was not posted */
    int64_t created_at_ms;
    int64_t failing_ms; /* how long the gateway has been refusing it */
    int64_t error_ms;   /* how long the backend has been refusing it */
    unsigned timeouts;  /* runs that exceeded their timeout */
    unsigned runs;      /* requests to the agent that were begun, including the current one */
    char failure[SPOOL_FAILURE_BYTES]; /* how the last run failed; "" if none has */

    /* On a v1 backend (delivery/delivery_v1.c); all zero otherwise. */
    char message_id[ID_BYTES]; /* that the agent was asked about */
    int64_t thread_until_ms;   /* when the thread's last message was written, as of then */
    bool may_be_changed;       /* until the notification is marked, it may name another message */
    bool answers_again;        /* it is marked, and is answered again for such a message */
    bool begins_task;          /* with the reply, the task is in progress */
    unsigned empty_answers;    /* in a row, after which the agent was asked again */
    struct document_state document;
    bool is_wake_up; /* of the agent that id names (delivery/wake_v1.h) */
    json_t *rounds;  /* its agent has called tools (delivery/tool_rounds.h); NULL: it has not */

    char *reply; /* NULL until the agent has answered */
};

/* Frees what the record owns, which is rounds and reply. */
void spool_record_fini(struct spool_record *record);

/*
 * Parses a record, which must be complete and belong to that account and id; the caller ends it. On
 * failure it owns nothing and *error, which may be NULL, is set: ERROR_INVALID for a damaged
 * record, ERROR_NEWER for one in the format of a newer release, ERROR_NO_MEMORY. Pure, apart from
 * allocating.
 */
int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error);

/* The record as NUL-terminated JSON, for the caller to free; NULL when out of memory. */
char *spool_record_write(const struct spool_record *record, const char *account_id);

struct spool;

/*
 * Opens STATE_DIR/spool and STATE_DIR/dead for one account and creates them, mode 0700, if they are
 * missing. The caller holds the lock of the state directory (state_dir_open) while the spool is
 * open, and closes the spool. ERROR_INVALID when the directory belongs to another account or one of
 * the names is taken by something else, ERROR_CLOSED when state_dir does not exist, ERROR_SYSTEM
 * when the system refuses something (error_code_of_path), ERROR_NO_MEMORY. Blocks for the disk.
 */
int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error);

/*
 * Opens an existing spool for operators: creates and claims nothing, and spool_each leaves
 * temporary files alone. Reading therefore needs no lock, even beside a running runtime; changes do
 * need it. Run by root it follows no symbolic link below state_dir. ERROR_CLOSED when state_dir
 * does not exist or no runtime has used it yet, ERROR_INVALID when it belongs to another account or
 * lacks a directory, ERROR_SYSTEM when it cannot be read, ERROR_NO_MEMORY.
 */
int spool_open_existing(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error);

/*
 * If this process is root's, becomes the user and group that own the state directory, for good:
 * files that it makes are then theirs, and no trick of theirs reaches further than they do. Does
 * nothing for other users, or if root owns it. ERROR_SYSTEM. Only for a process of one thread.
 */
int spool_drop_privileges(const struct spool *spool, struct error *error);

/* As state_dir_lock, for the state directory of the spool; state_dir is for messages. */
struct state_dir;
int spool_lock(
    const struct spool *spool, struct state_dir *dir, const char *state_dir, struct error *error);

/*
 * Asks the runtime that holds the state directory, which state_dir is the path of; see
 * control_socket_ask. Blocks up to SPOOL_ASK_MS.
 */
enum { SPOOL_ASK_MS = 30000 };
int spool_ask_runtime(const struct spool *spool, const char *state_dir, const char *request,
    enum control_result *result, char answer[static CONTROL_ANSWER_BYTES], struct error *error);

/*
 * Whether a file can be written to the spool now, by doing it. Makes directories again that were
 * removed. Any thread; blocks for the disk.
 */
bool spool_is_usable(struct spool *spool, struct error *error);

/* Frees it, once no other thread uses it; syncs nothing. NULL does nothing. */
void spool_close(struct spool *spool);

/*
 * Writes the record over the one that exists for its id, as a new file. durable: on disk when this
 * returns (file and directory are synced); otherwise the record survives the process but not the
 * machine. Makes spool/ again if it was removed, which is logged. Blocks for the disk. ERROR_SYSTEM
 * when it cannot be written (the old record stays),
 * ERROR_NO_MEMORY. Any thread, but one at a time per id.
 */
int spool_save(
    struct spool *spool, const struct spool_record *record, bool durable, struct error *error);

/*
 * Reads the record of id, which the caller ends with spool_record_fini. ERROR_CLOSED when there is
 * none, ERROR_INVALID when it is damaged, ERROR_NEWER when a newer release wrote it, ERROR_SYSTEM,
 * ERROR_NO_MEMORY. This and everything below: any
 * thread, but one at a time per id; blocks for the disk.
 */
int spool_load(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);

/* Removes the record of id; a missing one is success. ERROR_SYSTEM. */
int spool_remove(struct spool *spool, const char *id, struct error *error);

/*
 * Moves the record of id to STATE_DIR/dead, over what is there; a missing one is success.
 * Makes dead/ again if it was removed. ERROR_SYSTEM: the record then stays in the spool.
 */
int spool_bury(struct spool *spool, const char *id, struct error *error);

/*
 * Moves the record of id from dead/ back into the spool and syncs both; at every moment it is in at
 * least one of them. ERROR_CLOSED when there is none, ERROR_INVALID when the spool has a record of
 * that id (both stay), ERROR_SYSTEM.
 */
int spool_exhume(struct spool *spool, const char *id, struct error *error);

/* As spool_load and spool_remove, for dead/; removing a missing record is ERROR_CLOSED. */
int spool_load_dead(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);
int spool_remove_dead(struct spool *spool, const char *id, struct error *error);

/*
 * Takes ownership of what *record owns. why is NULL for a complete record. Otherwise only
 * record->id is set; why->code is ERROR_INVALID for a damaged record, ERROR_NEWER for one of a
 * newer release, and ERROR_SYSTEM for one that cannot be read now and may be intact.
 */
typedef void spool_found(void *context, struct spool_record *record, const struct error *why);

/*
 * Calls found for each record, in no particular order. Removes temporary files of interrupted
 * writes; ignores files that are not records and records that disappear meanwhile. ERROR_SYSTEM
 * when the directory cannot be read, ERROR_NO_MEMORY.
 */
int spool_each(struct spool *spool, spool_found *found, void *context, struct error *error);
int spool_each_dead(struct spool *spool, spool_found *found, void *context, struct error *error);

/* The size of dead/. */
struct spool_usage {
    size_t files;
    int64_t bytes;
};

/*
 * Measures dead/ and, while it exceeds SPOOL_DEAD_FILES or SPOOL_DEAD_BYTES, removes the oldest
 * record and calls removed with its id. Several threads may call it at once; each record is
 * reported by the thread that removed it. ERROR_SYSTEM when the directory cannot be read or a
 * record cannot be removed.
 */
enum { SPOOL_DEAD_FILES = 10000, SPOOL_DEAD_BYTES = 256 * 1024 * 1024 };
int spool_trim_dead(struct spool *spool, struct spool_usage *usage,
    void (*removed)(void *context, const char *id), void *context, struct error *error);

/* STATE_DIR itself: the lock that keeps a second runtime out, and the account that owns it. */
struct state_dir {
    int lock_fd; /* -1 while closed; close-on-exec */
};

/*
 * Creates path and its missing parents, mode 0700, and locks it. ERROR_INVALID when the path cannot
 * be a directory, ERROR_SYSTEM when the system refuses to create or to write it
 * (error_code_of_path), ERROR_LOCKED when another runtime holds it; the text names that process.
 * Blocks for up to 0.2 s while state_dir_is_held shares the lock. The caller closes it.
 */
int state_dir_open(struct state_dir *dir, const char *path, struct error *error);

/* The same for an open directory; path is for messages. */
int state_dir_lock(struct state_dir *dir, int dir_fd, const char *path, struct error *error);
void state_dir_close(struct state_dir *dir);

/*
 * What lets others tamper with the directory, as a phrase that follows its path: another owner, or
 * other users who may write to it. NULL if nothing does, or it cannot be examined. Static.
 */
const char *state_dir_find_fault(const char *path);

/*
 * Whether a runtime holds the directory now, with its process id in holder ("" if unknown). Creates
 * nothing; a missing directory is not held. Takes the lock shared for an instant, which a runtime
 * that starts at that moment waits out.
 */
bool state_dir_is_held(const char *path, char *holder, size_t holder_bytes);

/*
 * Whether the account may use the directory: 0 if it owns it or no account does yet, ERROR_INVALID
 * when it belongs to another account or names its owner in anything but a file, ERROR_CLOSED when
 * it does not exist, ERROR_SYSTEM when the owner cannot be read. *claimed, which may be NULL: an
 * account owns it. Changes nothing.
 */
int state_dir_check_account(
    const char *path, const char *account_id, bool *claimed, struct error *error);

/* The same, and makes the account its owner if it has none yet. Needs the lock. */
int state_dir_claim(const char *path, const char *account_id, struct error *error);

#endif
