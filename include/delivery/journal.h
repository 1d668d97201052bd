/* Records the progress of entries in the spool, and takes up what an earlier process recorded. */
#ifndef DELIVERY_JOURNAL_H
#define DELIVERY_JOURNAL_H

#include "delivery/send_queue.h"
#include "spool/spool.h"
#include "telemetry/stats.h"

/* Borrowed; shared by all workers, only read. */
struct journal {
    struct spool *spool;
    struct stats *stats;
};

/*
 * Up to journal_close all functions are called by the worker that has taken the entry, change its
 * work part, and block for the disk. A failing disk never fails the delivery: it is logged once
 * until it works again, and stats->spool_broken is set.
 */

/*
 * If the last write failed, tries one; so that health recovers also while there is nothing to
 * deliver. journal->spool may be NULL. Any thread; blocks for the disk.
 */
void journal_recheck(const struct journal *journal);

/* Counts a run, before its request goes out: a process that is killed must not forget it. */
void journal_begin_run(const struct journal *journal, struct entry *entry);

/* Takes the count back, because the agent certainly did not run. */
void journal_undo_run(const struct journal *journal, struct entry *entry);

/*
 * Saves how far the entry has come, as for how long it has been failing; not while only the spool
 * has its reply.
 */
void journal_save_progress(const struct journal *journal, struct entry *entry);

/*
 * Saves the calls of its agent, entry->work.rounds; synced if durable, as before a call that must
 * not be made twice. False when that fails.
 */
bool journal_save_calls(const struct journal *journal, struct entry *entry, bool durable);

/* Puts entry->work.reply on disk, synced; the text also stays in memory. */
void journal_save_reply(const struct journal *journal, struct entry *entry);

/* Frees the reply of an entry that is going to wait, if the spool has it. */
void journal_release_reply(struct entry *entry);

/*
 * Makes sure that entry->work.reply is in memory. ERROR_NO_MEMORY, ERROR_SYSTEM or ERROR_NEWER when
 * it cannot be read now; ERROR_CLOSED or ERROR_INVALID when the record is gone, or damaged and now
 * in dead/: the reply is lost and the agent has to be asked again.
 */
int journal_load_reply(const struct journal *journal, struct entry *entry, struct error *error);

/*
 * The entry has ended: removes its record. If it was given up with a reply that was not posted, or
 * with an end that the backend was not told of, moves the record to dead/ instead. False when that
 * fails: the entry must be kept, or all trace of it would be lost.
 */
bool journal_close(const struct journal *journal, struct entry *entry);

/*
 * The entry begins again, with a newer message: frees its reply, and leaves a record that says so.
 * What would have become a dead letter does so now; false when that fails, with nothing changed.
 */
bool journal_start_over(const struct journal *journal, struct entry *entry);

/*
 * Takes up the record that an earlier wake-up of the agent has left, with its calls or its reply,
 * into entry->work, whose record tells if there was one; entry is of kind ENTRY_WAKE. ERROR_SYSTEM,
 * ERROR_NO_MEMORY or ERROR_NEWER when it cannot be read now. One that is damaged moves to dead/.
 */
int journal_load_wake(const struct journal *journal, struct entry *entry, struct error *error);

/* Keeps dead/ within its bounds and counts it in the stats. Any thread. */
void journal_trim_dead(const struct journal *journal);

/*
 * Puts every record of the spool into the queue at the stage that it had reached; those of
 * wake-ups, which journal_load_wake takes up, stay, unless they are a day old. A damaged one
 * moves to dead/ and counts as one run. Notifications in dead/ are remembered as settled, so that
 * their agents are not asked again. So are those whose record is from a newer release: it stays
 * where it is, untouched, and is counted in stats->newer_records. Logs what it found. Only before
 * the workers start.
 *
 * ERROR_SYSTEM when the spool or one of its records cannot be read now, ERROR_NO_MEMORY. After an
 * error nothing may be sent, since the queue does not know everything.
 */
int journal_restore(const struct journal *journal, struct send_queue *queue,
    int64_t give_up_after_ms, struct error *error);

/*
 * Puts the reply of id, whose record is back in the spool, into the queue of a running runtime to
 * be posted; the id is reserved (send_queue_reserve_settled). Errors of spool_load; ERROR_CLOSED
 * when the queue does not take it. Blocks for the disk.
 */
int journal_retry(const struct journal *journal, struct send_queue *queue, int64_t give_up_after_ms,
    const char *id, struct error *error);

#endif
