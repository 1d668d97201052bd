/* The inside of the send queue, shared by its files: what comes in, what goes out. */
#ifndef QUEUE_QUEUE_STATE_H
#define QUEUE_QUEUE_STATE_H

#include <stdatomic.h>

#include "base/container_of.h"
#include "base/heap.h"
#include "base/sync.h"
#include "lane.h"
#include "queue/activity.h"
#include "queue/send_queue.h"

/* Runs that a notification has cost before it is listed. */
struct charge {
    char id[ID_BYTES];
    unsigned runs;
    SLIST_ENTRY(charge) next;
};

SLIST_HEAD(charge_list, charge);

/* Copies of what the lock guards, brought up to date whenever it is given back. */
struct shown {
    atomic_size_t ready;
    atomic_size_t waiting;
    atomic_size_t running;
    atomic_size_t lanes;
    atomic_size_t undelivered;
    atomic_size_t recorded;
    atomic_llong oldest_undelivered_ms;
    atomic_llong oldest_recorded_ms;
};

struct send_queue {
    struct shown shown; /* read without the lock */
    size_t capacity;    /* this and the next four: never changed once workers run */
    size_t most_wakes;
    void (*ask_for_poll)(void *poll_context);
    void *poll_context;

    /* Guards everything below, and the queue's part of every entry and lane. */
    struct mutex lock;
    struct cond work;       /* signalled when there is something to take, and by the close */
    struct cond sends_over; /* signalled when sending becomes 0 */
    struct id_table entries;
    struct id_table lanes;
    struct charge_list charges;
    struct entry_list all; /* deliveries */
    struct entry_list wakes;
    struct lane_lists ready;
    struct heap waiting;
    struct heap unsettled; /* deliveries by createdAt */
    struct heap recorded;  /* of these, those with a record in the spool */
    size_t held;           /* in all */
    size_t running;
    size_t asking;  /* running entries that were taken to be sent and are not past that stage */
    size_t sending; /* of these, those whose request is going out */
    size_t wakes_running;
    size_t settled;
    size_t lane_count;
    uint64_t page; /* number of the page being taken in */
    bool backend_has_more;
    bool poll_owed;        /* more is expected: something was written since a poll was asked for */
    int64_t offered_at_ms; /* when the last page came */
    bool page_was_full;    /* it: whatever ends makes room in the next one */
    size_t free_workers;   /* that wait for work */
    struct send_flow flow;
    bool held_by_hand; /* beside the flow: either holds */
    bool closed;
    int64_t close_deadline_ms;
};

/* What was taken out under the lock and is freed after it. */
struct leavings {
    struct entry_list entries;
    struct lane_list lanes;
};

void leavings_init(struct leavings *leavings);
void leavings_free(struct leavings *leavings);

/* All of these with the lock held. */

/* Shows onlookers what has changed. Before the lock is given back. */
void queue_show_locked(struct send_queue *queue);

/* Notes whether the spool has a record of the entry. */
void queue_set_recorded_locked(struct send_queue *queue, struct entry *entry, bool recorded);

/* The entry has not ended, or it has: whether it counts among those whose age is shown. */
void queue_enter_ages_locked(struct send_queue *queue, struct entry *entry);
void queue_leave_ages_locked(struct send_queue *queue, struct entry *entry);

/* An entry of that lane, in it but ready nowhere yet, and in no list; NULL without memory. */
struct entry *queue_new_entry_locked(
    struct send_queue *queue, enum entry_kind kind, const char *id, const char *agent_id);

/* Lets an entry go for good: it is in no list, table or lane afterwards, but in leavings. */
void queue_forget_locked(struct send_queue *queue, struct entry *entry, struct leavings *leavings);

/* The entry no longer needs its lane; the last one to leave takes the lane out. */
void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct leavings *leavings);

/*
 * When a take that found nothing at now_ms (monotonic) may find something without a signal: an
 * entry's time comes, or a trickle's turn, which was that take's own if it is not after now_ms.
 * SYNC_NO_DEADLINE for never.
 */
int64_t queue_next_due_locked(const struct send_queue *queue, int64_t now_ms);

/* Whether so little work is ready that another page is welcome. */
bool queue_is_low_locked(const struct send_queue *queue);

/*
 * True when a poll should be asked for now, which is then no longer owed: ready work has run low
 * while the backend had more; or more is expected, and a worker runs dry or is free, or the last
 * page is old. The caller calls queue_ask_for_poll after it has given the lock back.
 */
bool queue_takes_poll_locked(struct send_queue *queue, bool runs_dry);

/* Without the lock. */
void queue_ask_for_poll(const struct send_queue *queue);

#endif
