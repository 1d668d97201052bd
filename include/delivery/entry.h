/* What a worker takes from the send queue: an undelivered notification, or an agent to wake. */
#ifndef DELIVERY_ENTRY_H
#define DELIVERY_ENTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/containers.h"
#include "base/log.h"
#include "base/sync.h"

enum entry_kind { ENTRY_DELIVERY, ENTRY_WAKE };

/* How far a notification has come. A wake-up is known until it has ended. */
enum entry_stage {
    STAGE_KNOWN,          /* listed; its agent has not been asked, or has to be asked again */
    STAGE_SENDING,        /* the agent is being asked */
    STAGE_REPLIED,        /* the reply is here; the thread does not have it yet */
    STAGE_WRITTEN,        /* the thread has what it gets; not marked as delivered yet */
    STAGE_NOTIFY_FAILURE, /* nothing more will be tried but to say so in the thread */
    STAGE_SETTLED,        /* ended; remembered only until the backend stops listing it */
};

/* The stage as a word: "known", "sending", "replied", "written", "giving_up" or "settled". Pure. */
const char *entry_stage_word(enum entry_stage stage);

/* How an entry ends. */
enum entry_outcome { OUTCOME_DELIVERED, OUTCOME_SKIPPED, OUTCOME_DEAD };

struct activity;
struct lane;

/* For how long something has failed without an end in between. Each has one clock of its own. */
struct failing {
    bool going_on;
    int64_t total_ms; /* also what earlier processes have seen */
    int64_t mark_ms;  /* up to when that is counted, while it is going on */
};

struct entry {
    /* Never changed once made. item.id is the notification's id, or the agent's of a wake-up. */
    enum entry_kind kind;
    struct id_item item;
    char agent_id[ID_BYTES];
    int64_t created_at_ms;

    /* The worker's while it runs the entry, which the queue takes and gives back under its lock;
     * while nobody runs it, onlookers may read them under that lock. */
    unsigned attempts;      /* times a worker took it */
    unsigned failures;      /* in a row at this stage, for the backoff */
    unsigned runs;          /* requests sent to the agent, by earlier processes, too */
    unsigned timeouts;      /* runs that took longer than we waited */
    unsigned breaker_trips; /* times in a row that the gateway let nobody in */
    enum entry_outcome verdict;
    const char *note; /* why it ends other than delivered: fixed words, or failure; NULL: none */
    int64_t retry_delay_ms;    /* how long its last failure made it wait */
    int64_t started_us;        /* when the current attempt began, monotonic */
    int64_t replied_us;        /* when the reply came, monotonic; 0: to an earlier process */
    struct activity *activity; /* of the worker that runs the entry; NULL outside of a pool */
    struct trace trace;        /* of all requests for it, by this process; none before the first */
    char agent_slug[ID_BYTES];
    char task_id[ID_BYTES];    /* "" when the notification has no task */
    char *reply;               /* owned; NULL until there is one, and while only the spool has it */
    bool spooled;              /* the spool has the reply */
    uint64_t name_sync;        /* of its record (queue/spool_record.h); 0: not of this process */
    bool acked;                /* the backend has it as delivered */
    bool notice_failed;        /* it ended, and its thread could not be told */
    bool reply_abandoned;      /* its reply was not written: if it is marked, then by us */
    bool dead_letter_pending;  /* all that is left to do is to move its record to dead/ */
    struct failing refusals;   /* by the gateway, on the clock of the time that its gate was open */
    struct failing errors;     /* by the backend, on the monotonic clock */
    char failure[64];          /* what the last run ended in, for the note in the thread */
    const char *failure_class; /* of its last failure, in fixed words; NULL: none at this stage */

    /* The queue's, under its lock; its worker reads known_us, waited_us and recorded, too. */
    enum entry_stage stage;
    bool running;
    bool asking;       /* taken to be sent, and not past that yet */
    bool ready;        /* stands in its lane's list */
    bool recorded;     /* the spool has a record, with or without a reply */
    int64_t known_us;  /* when it came in, monotonic */
    int64_t ready_us;  /* when it became ready for the last time */
    int64_t waited_us; /* from then until a worker took it */
    struct lane *lane;
    struct heap_item due;           /* in the heap while it waits */
    struct heap_item by_age;        /* among those that have not ended, by createdAt */
    struct heap_item record_by_age; /* among those with a record */
    int64_t settled_at_ms;
    uint64_t last_page; /* number of the last page that listed it */
    TAILQ_ENTRY(entry) in_lane;
    TAILQ_ENTRY(entry) in_queue;
};

/* What a worker is doing at the moment, for those who ask while it works. */

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
void activity_snapshot(struct activity *activity, struct activity_view *view);

#endif
