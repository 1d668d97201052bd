/* The lanes of send_queue: per agent, what stands ready, and which lanes have work. */
#ifndef QUEUE_LANE_H
#define QUEUE_LANE_H

#include "queue/entry.h"

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
    size_t most_of_lane;
    size_t ready; /* entries ready in all lanes, at most most_of_lane of each */
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

#endif
