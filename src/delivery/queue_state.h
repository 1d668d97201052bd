/* The lanes of send_queue: per agent, what stands ready, and which lanes have work. */
#ifndef DELIVERY_QUEUE_STATE_H
#define DELIVERY_QUEUE_STATE_H

#include <stdatomic.h>

#include "base/containers.h"
#include "base/sync.h"
#include "delivery/entry.h"
#include "delivery/send_queue.h"

/* In the order in which work is handed out. */
enum work_class { CLASS_WRITE_BACK, CLASS_SEND, CLASS_WAKE, CLASS_COUNT };

TAILQ_HEAD(entry_list, entry);
TAILQ_HEAD(lane_list, lane);

/* All fields are the queue's, under its lock. */
struct lane {
    struct id_item item;                  /* the agent's id */
    bool busy;                            /* a worker runs one of its entries */
    size_t entries;                       /* that name this lane: ready, waiting or running */
    size_t wakes;                         /* of these, wake-ups: 0 or 1 */
    struct entry_list ready[CLASS_COUNT]; /* oldest createdAt first */
    size_t ready_count[CLASS_COUNT];
    bool listed[CLASS_COUNT];
    TAILQ_ENTRY(lane) in_list[CLASS_COUNT];
};

/* The lanes that are not busy and have work, longest waiting first, by class. */
struct lane_lists {
    struct lane_list lists[CLASS_COUNT];
    size_t max_of_lane;
    size_t ready; /* entries ready in all lanes, at most max_of_lane of each */
};

/* capacity: of ready work, at least 1; no lane has more of it than leaves room for others. */
void lane_lists_init(struct lane_lists *lists, size_t capacity);

/* A new lane without entries, or NULL without memory. The caller frees it once it has none. */
struct lane *lane_create(const char *id);

/* Puts an entry into its lane's order by createdAt. */
void lane_insert(struct lane_lists *lists, struct entry *entry);

/* Takes a ready entry out of its lane. */
void lane_remove(struct lane_lists *lists, struct entry *entry);

/* Marks a lane as busy or free; a busy one is in no list. */
void lane_set_busy(struct lane_lists *lists, struct lane *lane, bool busy);

/* The oldest entry of the lane that has waited longest for this class, or NULL. */
struct entry *lane_lists_first(const struct lane_lists *lists, enum work_class class);

/* The inside of the send queue, shared by its files: what comes in, what goes out. */

/* Runs that a notification has cost before it is listed. */
struct prior_runs {
    char id[ID_BYTES];
    unsigned runs;
    SLIST_ENTRY(prior_runs) next;
};

SLIST_HEAD(prior_runs_list, prior_runs);

/* Copies of what the lock guards, brought up to date whenever it is given back. */
struct gauges {
    atomic_size_t held;
    atomic_size_t ready;
    atomic_size_t waiting;
    atomic_size_t running;
    atomic_size_t sending;
    atomic_size_t settled;
    atomic_size_t lanes;
    atomic_size_t undelivered;
    atomic_size_t recorded;
    atomic_llong oldest_undelivered_ms;
    atomic_llong oldest_recorded_ms;
};

struct send_queue {
    struct gauges gauges; /* read without the lock */
    size_t capacity;      /* this and the next two: never changed once workers run */
    size_t max_wakes;
    struct loop *poller; /* poked without the lock; NULL: nobody is */

    /* Guards everything below, and the queue's part of every entry and lane. */
    struct mutex lock;
    struct cond work;       /* signalled when there is something to take, and by the close */
    struct cond sends_over; /* signalled when sending becomes 0 */
    struct id_table entries;
    struct id_table lanes;
    struct prior_runs_list prior_runs;
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
    struct send_policy policy;
    bool held_by_operator; /* beside the flow: either holds */
    bool closed;
    int64_t close_deadline_ms;
};

/* What was taken out under the lock and is freed after it. */
struct deferred_free {
    struct entry_list entries;
    struct lane_list lanes;
};

void deferred_free_init(struct deferred_free *deferred_free);
void deferred_free_run(struct deferred_free *deferred_free);

/* All of these with the lock held. */

/* Shows onlookers what has changed. Before the lock is given back. */
void queue_publish_gauges_locked(struct send_queue *queue);

/* Counts the entry among those with a record in the spool, or no more, as its worker left it. */
void queue_count_record_locked(struct send_queue *queue, struct entry *entry);

/* The entry has not ended, or it has: whether it counts among those whose age is shown. */
void queue_enter_ages_locked(struct send_queue *queue, struct entry *entry);
void queue_leave_ages_locked(struct send_queue *queue, struct entry *entry);

/* An entry of that lane, in it but ready nowhere yet, and in no list; NULL without memory. */
struct entry *queue_new_entry_locked(
    struct send_queue *queue, enum entry_kind kind, const char *id, const char *agent_id);

/* Lets an entry go for good: it is in no list, table or lane afterwards, but in leavings. */
void queue_forget_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/* The entry no longer needs its lane; the last one to leave takes the lane out. */
void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

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
