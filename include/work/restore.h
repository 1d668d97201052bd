/* Takes up what an earlier process left in the spool. */
#ifndef WORK_RESTORE_H
#define WORK_RESTORE_H

#include "queue/send_queue.h"
#include "queue/spool.h"

/*
 * Puts every record of the spool into the queue at the stage where it stood. A damaged one moves to
 * dead/ and counts as one run. What dead/ holds is known as settled, so that its agents are not
 * asked again. Says what it found. Only before the workers start. ERROR_SYSTEM when the spool,
 * or one of its records, cannot be read now; ERROR_NO_MEMORY, after which nothing may be sent: the
 * queue does not know all.
 */
int restore_from_spool(
    struct spool *spool, struct send_queue *queue, int64_t give_up_after_ms, struct error *error);

#endif
