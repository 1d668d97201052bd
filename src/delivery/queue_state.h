/* The inside of the send queue, shared by send_queue.c, ahead.c, intake.c and queue_control.c. */
#ifndef DELIVERY_QUEUE_STATE_H
#define DELIVERY_QUEUE_STATE_H

#include "base/containers.h"
#include "base/sync.h"
#include "delivery/entry.h"
#include "delivery/send_queue.h"

/* In the order in which work is handed out. */
enum work_class { CLASS_WRITE_BACK, CLASS_SEND, CLASS_WAKE, CLASS_COUNT };

/* The queue's lists of lanes: those with work of each class, and those to look ahead in. */
enum { LIST_AHEAD = CLASS_COUNT, LANE_LISTS };

/* At entries ahead of their turn that were to be sent, after which none is looked at. */
enum { MAX_LOOKS = 10 };

TAILQ_HEAD(entry_list, entry);
TAILQ_HEAD(lane_list, lane);

/* An agent with lanes. All fields, of lanes as well, are under the queue's lock. */
struct lane_agent {
    struct id_item item; /* its id */
    size_t lanes;
    size_t deliveries; /* its notifications that have not ended */
    size_t running;    /* of these, those that workers have */
    size_t wakes;      /* its wake-ups in the queue: 0 or 1 */
    bool unknown;      /* the gateway lacked the agent when it was last asked */
};

/*
 * Entries that are handed out one at a time: those of an agent, or with session lanes those of an
 * agent and a task, whose session they share. Wake-ups, and notifications without a task, share the
 * agent's own session, and so always its own lane. Exists while it has entries.
 */
struct lane {
    struct id_item item; /* the agent's id, or that of agent and task (write_lane_id_locked) */
    struct lane_agent *agent;
    int64_t paused_until_ms; /* no sends before (monotonic); 0: none is to wait */
    bool busy;               /* a worker has one of its entries */
    unsigned failed_runs;    /* of notifications, in a row */
    unsigned breaker_trips;  /* as its entries count them (entry.work) */
    size_t entries;          /* in this lane: ready, waiting or taken */
    size_t ready;            /* what it contributes to the queue's ready */
    struct entry_list ready_entries[CLASS_COUNT]; /* oldest createdAt first */
    size_t ready_count[CLASS_COUNT];
    struct entry_list looked_at; /* with workers ahead of their turn, oldest createdAt first */
    size_t unseen;               /* of its ready entries, those that may be looked at so */
    bool listed[LANE_LISTS];     /* in ready_lanes */
    TAILQ_ENTRY(lane) in_list[LANE_LISTS];
};

/* Runs that a notification has cost before it is listed. */
struct prior_runs {
    char id[ID_BYTES];
    unsigned runs;
    SLIST_ENTRY(prior_runs) next;
};

SLIST_HEAD(prior_runs_list, prior_runs);

struct send_queue {
    /* Never changed once workers run. */
    struct send_queue_settings settings;
    size_t max_ready_of_lane;
    struct loop *poller; /* poked without the lock; NULL: none */

    /* Guards everything below, and the queue's part of every entry, lane and activity. */
    struct mutex lock;
    struct cond work;       /* signalled when there is something to take, and by the close */
    struct cond sends_over; /* signalled when sending becomes 0 */
    struct id_table entries;
    struct id_table lanes;
    struct id_table agents;
    struct prior_runs_list prior_runs;
    struct entry_list all; /* deliveries */
    struct entry_list wakes;
    struct lane_list ready_lanes[LANE_LISTS]; /* the one that has waited longest comes first */
    struct heap waiting;                      /* PLACE_WAITING, by due time */
    struct heap unsettled;                    /* deliveries by createdAt */
    struct heap recorded;                     /* of these, those with a record in the spool */
    struct heap failing;                      /* of these, those whose last attempt failed */
    size_t ready;   /* deliveries ready in all lanes, at most max_ready_of_lane of each */
    size_t held;    /* length of all */
    size_t running; /* PLACE_WORKER */
    size_t asking;  /* of these, those taken to be sent and not past that stage */
    size_t sending; /* of these, those whose request is in flight */
    size_t wakes_running;
    size_t settled;
    size_t lane_count;
    size_t agents_with_work; /* with deliveries */
    size_t unknown_agents;   /* of these, those whose agent the gateway lacks */
    size_t failing_lanes;    /* those whose last run failed */
    uint64_t page;           /* number of the page being taken in */
    uint64_t last_number;    /* of the last entry */
    int64_t offered_at_ms;   /* when the last page came (monotonic) */
    int64_t event_ms;        /* when the last new one came or a reply was posted; 0: never */
    size_t page_rows;        /* of the last page */
    size_t still_listed;     /* of these, those that had ended or have no valid id */
    int64_t resume_ms;       /* when the first paused lane may be served, as far as takes saw it */
    size_t idle_workers;     /* blocked in send_queue_take */
    unsigned looks_left;     /* ahead of their turn, before one is skipped */
    struct send_policy policy;
    int64_t close_deadline_ms;
    char reserved_id[ID_BYTES]; /* settled or unknown, and being retried; "" for none */
    bool session_lanes;         /* lanes are sessions, not agents */
    bool wake_was_last;         /* of what was taken to ask an agent: a wake-up */
    bool page_was_full;         /* the last one: whatever ends makes room in the next */
    bool caught_up;             /* a page has come that was complete and for which there was room */
    bool poll_owed;             /* a page with something new is expected and not asked for yet */
    bool held_by_operator;      /* in addition to the policy */
    bool closed;
};

/*
 * What was taken out under the lock, to be freed after it is released: three lists linked by next,
 * since nothing in them is in a table any more. A zeroed one is empty.
 */
struct deferred_free {
    struct id_item *entries;
    struct id_item *lanes;
    struct id_item *agents;
};

/* Frees them, after the lock is released; the lists are not to be used again. */
void deferred_free_run(const struct deferred_free *deferred_free);

/* All of these with the lock held. */

/* Whether one is sent before other, both of the same lane. */
bool queue_goes_before(const struct entry *one, const struct entry *other);

/* Inserts an entry by that order. */
void queue_insert_in_order(struct entry_list *list, struct entry *entry);

/* Whether an agent may be asked now, while that many others are being asked. */
bool queue_may_send_locked(struct send_queue *queue, size_t others);

/* ahead.c */

/*
 * Whether an entry may be taken ahead of its turn: nothing has been done for it, so it can be told
 * without its lane whether it is to be skipped.
 */
bool queue_may_look_at(const struct entry *entry);

/* Whether what a worker has ahead of its turn may have to be sent before what is ready. */
bool queue_has_to_wait_for_look(const struct lane *lane);

/* A ready entry to take ahead of its turn, of each lane in turn, marked so; or NULL. */
struct entry *queue_find_unseen_locked(struct send_queue *queue);

/* An entry was skipped. Where there is one to skip there may be more: looking ahead pays. */
void queue_renew_looks_locked(struct send_queue *queue);

/* Puts an entry that a worker has ahead of its turn among those of its lane, or takes it out. */
void queue_add_looked_at_locked(struct send_queue *queue, struct entry *entry);
void queue_remove_looked_at_locked(struct send_queue *queue, struct entry *entry);

/* Puts an entry into its lane, by createdAt, to be taken; or takes a ready one out of it. */
void queue_add_ready_locked(struct send_queue *queue, struct entry *entry);
void queue_remove_ready_locked(struct send_queue *queue, struct entry *entry);

/*
 * Puts the lane into the lists that its state calls for and out of the others, and counts what it
 * contributes to the ready work. After each change of what that depends on.
 */
void queue_lane_changed_locked(struct send_queue *queue, struct lane *lane);

/* Makes what waits until now_ms (monotonic) at the latest ready. */
void queue_wake_due_locked(struct send_queue *queue, int64_t now_ms);

/*
 * Keeps the entry in the heaps by age that it belongs to, as its worker has left it: those that
 * have not ended (open), of these those with a record in the spool, and those that fail.
 */
void queue_count_ages_locked(struct send_queue *queue, struct entry *entry, bool open);

/* Whether the gateway lacks the agent, as far as its last attempt showed. */
void queue_set_unknown_locked(struct send_queue *queue, struct lane_agent *agent, bool unknown);

/*
 * A new entry that counts in the agent's lane but is ready nowhere yet and in no list; NULL without
 * memory.
 */
struct entry *queue_new_entry_locked(struct send_queue *queue, enum entry_kind kind, const char *id,
    const char *agent_id, const char *task_id);

/* Counts the entry in its lane, which is made if need be. False without memory. */
bool queue_join_lane_locked(struct send_queue *queue, struct entry *entry);

/*
 * Moves the entry to the lane that it belongs to since the kind of lanes last changed. One that a
 * worker has takes the worker along, unless another one has the new lane: then it stays where it
 * is, misplaced, as it does without memory.
 */
void queue_move_to_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/* Removes an entry that no worker has from every list, table and lane, to be freed. */
void queue_forget_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/* The entry no longer needs its lane; the last one to leave removes the lane, to be freed. */
void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free);

/* When the next page may be requested (send_queue_next_page_ms). */
int64_t queue_next_page_ms_locked(struct send_queue *queue);

/* Whether so little work is ready that another page is welcome. */
bool queue_is_low_locked(struct send_queue *queue);

#endif
