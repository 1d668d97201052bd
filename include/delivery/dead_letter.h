/*
 * What an operator decides about a dead letter: to retry it or to drop it. By the command spool
 * while no runtime runs, else by the runtime at the command's request (base/control_socket.h).
 */
#ifndef DELIVERY_DEAD_LETTER_H
#define DELIVERY_DEAD_LETTER_H

#include <stdint.h>

#include "base/error.h"
#include "delivery/journal.h"
#include "delivery/send_queue.h"
#include "spool/spool.h"

enum dead_letter_change { DEAD_LETTER_RETRY, DEAD_LETTER_DROP };

/* Borrowed. Without a queue, the caller holds the lock of the state directory. */
struct dead_letter_parts {
    struct spool *spool;
    struct send_queue *queue;      /* of the running runtime; NULL: none runs */
    const struct journal *journal; /* with a queue */
    int64_t give_up_after_ms;      /* with a queue */
};

/*
 * Retries or drops the dead letter of id, which need not be valid.
 *
 *   retry   moves a reply from dead/ back to spool/, from where it is posted without asking the
 *           agent: now, or at the next start. A record without a reply is removed, so that the
 *           agent is asked again if the notification is still listed. A record of a newer release,
 *           which may hold a reply, stays.
 *   drop    removes the record.
 *
 * Returns 0, or an error after which nothing has changed; message is what the operator has to know,
 * in either case. ERROR_CLOSED: there is none, or the runtime has the notification in hand. One
 * thread at a time; blocks for the disk.
 */
int dead_letter_change(const struct dead_letter_parts *parts, enum dead_letter_change change,
    const char *id, char message[static ERROR_TEXT_BYTES]);

#endif
