/* What a worker is doing at the moment, for those who ask while it works. */
#ifndef QUEUE_ACTIVITY_H
#define QUEUE_ACTIVITY_H

#include <stdbool.h>

#include "base/sync.h"
#include "queue/entry.h"

struct activity_view {
    bool busy; /* false: everything but since_ms says nothing */
    enum entry_kind kind;
    enum entry_stage stage;
    char id[ID_BYTES];    /* of the notification, or of the agent that is woken */
    char agent[ID_BYTES]; /* its slug, or its id while the slug is not known */
    int64_t since_ms;     /* when it came to this stage, or became idle; monotonic */
};

/* Embedded in its worker. Written by the worker's thread, read by any; short locks. */
struct activity {
    /* Guards view. */
    struct mutex lock;
    struct activity_view view;
};

/* An idle worker's. */
void activity_init(struct activity *activity);
void activity_fini(struct activity *activity);

/* The worker has taken entry, and says through it what follows. */
void activity_begin(struct activity *activity, struct entry *entry);

/* The entry that it runs comes to stage, or turns out to be the agent's of that slug. NULL: none.
 */
void activity_enter(struct activity *activity, enum entry_stage stage);
void activity_name_agent(struct activity *activity, const char *slug);

/* The worker is idle; what it ran is no longer its own. */
void activity_end(struct activity *activity);

/* What the worker does at this moment, in *view. Any thread; a short lock. */
void activity_look(struct activity *activity, struct activity_view *view);

#endif
