/* The inside of the send queue, shared by send_queue.c, intake.c and lanes.c. */
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

/* An agent's entries. Exists while it has any. All fields are under the queue's lock. */
struct lane {
    struct id_item item;                  /* the agent's id */
    int64_t paused_until_ms;              /* no sends before (monotonic); 0: none is to wait */
    bool busy;                            /* a worker has one of its entries */
    size_t entries;                       /* in this lane: ready, waiting or taken */
    size_t wakes;                         /* of these, wake-ups: 0 or 1 */
    size_t deliveries;                    /* of these, notifications */
    bool unknown;                         /* the gateway lacked the agent when it was last asked */
    struct entry_list ready[CLASS_COUNT]; /* oldest createdAt first */
    size_t ready_count[CLASS_COUNT];
    bool listed[CLASS_COUNT]; /* in lane_lists; true only if not busy and with ready entries */
    TAILQ_ENTRY(lane) in_list[CLASS_COUNT];
};

/* The lanes that can be served, by class; the one that has waited longest comes first. */
struct lane_lists {
    struct lane_list lists[CLASS_COUNT];
    size_t max_of_lane;
    size_t ready; /* deliveries ready in all lanes, at most max_of_lane of each */
};

/* capacity: of ready work, at least 1. No lane's share of it leaves others without room. */
void lane_lists_init(struct lane_lists *lists, size_t capacity);

/* Puts an entry into its lane, by createdAt, or takes a ready one out of it. */
void lane_insert(struct lane_lists *lists, struct entry *entry);
void lane_remove(struct lane_lists *lists, struct entry *entry);

/* Marks a lane as busy or free; a busy one is in no list. */
void lane_set_busy(struct lane_lists *lists, struct lane *lane, bool busy);

/* Keeps the lane's sends and wake-ups, which then do not count as ready, until a monotonic time. */
void lane_pause(struct lane_lists *lists, struct lane *lane, int64_t until_ms);

/*
 * The oldest entry of the lane that has waited longest for this class, or NULL. Lanes that are
 * paused at now_ms are passed over for all but write-backs, and *resume_ms is lowered to when the
 * first of them may be served.
 */
struct entry *lane_lists_first(
    struct lane_lists *lists, enum work_class class, int64_t now_ms, int64_t *resume_ms);

/* Runs that a notification has cost before it is listed. */
struct prior_runs {
    char id[ID_BYTES];
    unsigned runs;
    SLIST_ENTRY(prior_runs) next;
};

SLIST_HEAD(prior_runs_list, prior_runs);

/* Copies of figures that the lock guards, updated before it is released. */
struct gauges {
    atomic_size_t held;
    atomic_size_t ready;
    atomic_size_t waiting;
    atomic_size_t running;
    atomic_size_t sending;
    atomic_size_t settled;
    atomic_size_t lanes;
    atomic_size_t agents_with_work;
    atomic_size_t unknown_agents;
    atomic_size_t undelivered;
    atomic_size_t recorded;
    atomic_llong oldest_undelivered_ms;
    atomic_llong oldest_recorded_ms;
    atomic_llong oldest_failing_ms;
};

struct send_queue {
    struct gauges gauges; /* read without the lock */
    size_t capacity;      /* this and the next two: never changed once workers run */
    size_t max_wakes;
    struct loop *poller; /* poked without the lock; NULL: none */

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
    struct heap waiting;   /* PLACE_WAITING, by due time */
    struct heap unsettled; /* deliveries by createdAt */
    struct heap recorded;  /* of these, those with a record in the spool */
    struct heap failing;   /* of these, those whose last attempt failed */
    size_t held;           /* length of all */
    size_t running;        /* PLACE_WORKER */
    size_t asking;         /* of these, those taken to be sent and not past that stage */
    size_t sending;        /* of these, those whose request is in flight */
    size_t wakes_running;
    bool wake_was_last; /* of what was taken to ask an agent: a wake-up */
    size_t settled;
    size_t lane_count;
    size_t agents_with_work; /* lanes with deliveries */
    size_t unknown_agents;   /* of these, those whose agent the gateway lacks */
    uint64_t page;           /* number of the page being taken in */
    bool backend_has_more;   /* at its last page there was more than there was room for */
    bool poll_owed;          /* a page with something new is expected and not asked for yet */
    int64_t offered_at_ms;   /* when the last page came */
    bool page_was_full;      /* it: whatever ends makes room in the next one */
    int64_t resume_ms;       /* when the first paused lane may be served, as the last take saw it */
    size_t free_workers;     /* blocked in send_queue_take */
    struct send_policy policy;
    bool held_by_operator; /* in addition to the policy */
    bool closed;
    int64_t close_deadline_ms;
};

/* Entries and lanes taken out under the lock, to be freed after it is released. */
struct deferred_free {
    struct entry_list entries;
    struct lane_list lanes;
};

void deferred_free_init(struct deferred_free *deferred_free);
void deferred_free_run(struct deferred_free *deferred_free);

/* All of these with the lock held. */

/* Updates the gauges. Before the lock is released. */
void queue_publish_gauges_locked(struct send_queue *queue);

/* Makes the entry count among those with a record in the spool, or not, as its worker left it. */
void queue_count_record_locked(struct send_queue *queue, struct entry *entry);

/* Whether the gateway lacks the lane's agent, as far as its last attempt showed. */
void queue_set_unknown_locked(struct send_queue *queue, struct lane *lane, bool unknown);

/* The entry has ended, so its age no longer counts. */
void queue_leave_ages_locked(struct send_queue *queue, struct entry *entry);

/*
 * A new entry that counts in the agent's lane but is ready nowhere yet and in no list; NULL without
 * memory.
 */
struct entry *queue_new_entry_locked(
    struct send_queue *queue, enum entry_kind kind, const char *id, const char *agent_id);

/* Removes an entry that no worker has from every list, table and lane, to be freed. */
void queue_forget_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/* The entry no longer needs its lane; the last one to leave removes the lane, to be freed. */
void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/*
 * When a take that found nothing may find something without a signal (monotonic): an entry becomes
 * due, or the pause of a lane ends. SYNC_NO_DEADLINE for never.
 */
int64_t queue_next_due_locked(const struct send_queue *queue);

/* Whether so little work is ready that another page is welcome. */
bool queue_is_low_locked(const struct send_queue *queue);

#endif
