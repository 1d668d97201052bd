/* Keeps what happens to an entry in the spool, and goes on without it when the disk fails. */
#ifndef DELIVERY_JOURNAL_H
#define DELIVERY_JOURNAL_H

#include "delivery/send_queue.h"
#include "spool/spool.h"
#include "telemetry/stats.h"

/* Borrowed; shared by all workers. */
struct journal {
    struct spool *spool;
    struct stats *stats;
};

/*
 * All of these act for the worker that runs entry. A failing disk is logged once until it works
 * again and counted in stats->spool_broken; it never fails the delivery.
 */

/* Counts a run, before its request goes out: a killed process must not forget it. */
void journal_begin_run(const struct journal *journal, struct entry *entry);

/* Takes the count back: the agent was certainly not run. */
void journal_undo_run(const struct journal *journal, struct entry *entry);

/* Keeps for how long the entry has been refused; not while its reply is only on disk. */
void journal_save_failing(const struct journal *journal, struct entry *entry);

/* Puts entry->reply on disk before it is used; the text stays in memory, too. */
void journal_save_reply(const struct journal *journal, struct entry *entry);

/* Frees the reply of an entry that is going to wait, if the spool has it. */
void journal_release_reply(struct entry *entry);

/*
 * Makes sure that entry->reply is in memory. ERROR_NO_MEMORY or ERROR_SYSTEM when it cannot be read
 * now; ERROR_CLOSED or ERROR_INVALID when the record is gone or damaged (it is moved to dead/
 * then): the reply is lost and the agent has to be asked again.
 */
int journal_load_reply(const struct journal *journal, struct entry *entry, struct error *error);

/*
 * The entry has ended: removes its record, or moves it to dead/ with a reply that nobody could
 * write or an end that the backend does not know of. False when that cannot be kept now: the entry
 * must not be let go.
 */
bool journal_close(const struct journal *journal, struct entry *entry);

/* Keeps dead/ within its bounds and counts it into the stats. Any thread. */
void journal_trim_dead(const struct journal *journal);

/* Takes up what an earlier process left in the spool. */

/*
 * Puts every record of the spool into the queue at the stage where it stood. A damaged one moves to
 * dead/ and counts as one run. What dead/ holds is known as settled, so that its agents are not
 * asked again. Says what it found. Only before the workers start. ERROR_SYSTEM when the spool,
 * or one of its records, cannot be read now; ERROR_NO_MEMORY, after which nothing may be sent: the
 * queue does not know all.
 */
int journal_restore(
    struct spool *spool, struct send_queue *queue, int64_t give_up_after_ms, struct error *error);

#endif
