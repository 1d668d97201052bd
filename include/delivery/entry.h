/*
 * One entry of the send queue: an undelivered notification, or an agent to wake. It has two parts
 * with two owners, so that a worker can work on its part for minutes without the queue's lock.
 */
#ifndef DELIVERY_ENTRY_H
#define DELIVERY_ENTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/containers.h"
#include "base/log.h"
#include "base/sync.h"
#include "spool/spool.h"

enum entry_kind { ENTRY_DELIVERY, ENTRY_WAKE, ENTRY_KINDS };

/*
 * How far a notification has come; one stage follows another as told in src/delivery/delivery.c. A
 * wake-up is known until it is settled.
 */
enum entry_stage {
    STAGE_KNOWN,          /* listed; its agent has not been asked, or has to be asked again */
    STAGE_SENDING,        /* the agent is being asked, or sent the results of its calls */
    STAGE_ACTING,         /* the agent has called tools, and has not been sent all the results */
    STAGE_REPLIED,        /* the reply has arrived; the thread does not have it yet */
    STAGE_WRITTEN,        /* the thread has what it gets; not acknowledged to the backend yet */
    STAGE_NOTIFY_FAILURE, /* the agent is not asked again; the thread has to be told */
    STAGE_SETTLED,        /* ended; remembered only until the backend stops listing it */
};

/* How a notification ends. */
enum entry_outcome {
    OUTCOME_DELIVERED,
    OUTCOME_SKIPPED, /* deliberately not sent */
    OUTCOME_DEAD,    /* given up */
};

/* Why a notification ended as it did. */
enum end_reason {
    REASON_REPLIED,    /* delivered; also while it has not ended */
    REASON_SILENT,     /* delivered, and the agent chose to say nothing */
    REASON_UNANSWERED, /* delivered, although it was due an answer and every one was empty */
    /* Skipped, or dead when noticed after its agent was asked. */
    REASON_NOTIFICATION_GONE,
    /* Marked as delivered before its agent was asked, or its reply is of an earlier process. */
    REASON_ALREADY_DELIVERED,
    REASON_ENDED_ELSEWHERE, /* marked or deleted by someone else after that */
    REASON_AGENT_GONE,
    REASON_TASK_GONE,
    /* Skipped by the loop guard (delivery/loop_guard.h). */
    REASON_OWN_MESSAGE,
    REASON_CAUSED_BY_NOTICE,
    REASON_NOT_ASSIGNED,
    REASON_ANSWERS_UPDATE,
    REASON_TOO_MANY_HOPS,
    REASON_SAME_MESSAGE,
    REASON_TOO_MANY_AGENT_RUNS,
    /* Skipped by the policy for v1 (src/delivery/policy.c), which also uses some of the above. */
    REASON_NOT_ORCHESTRATOR,
    REASON_TASK_AT_REST,   /* an update of the thread of a task that is done or blocked */
    REASON_STATUS_AT_REST, /* a change of status to done or blocked */
    REASON_NOT_REVIEWER,
    REASON_STALE_UPDATE, /* the person has written again since */
    REASON_NO_SESSION_KEY,
    /* Dead. */
    REASON_REFUSED_TOO_LONG, /* by the backend */
    REASON_LAST_FAILURE,     /* as the failure text of the entry says */
};

/* Why an attempt failed. */
enum failure_class {
    FAILURE_NONE, /* it did not */
    FAILURE_GATEWAY_UNREACHABLE,
    FAILURE_GATEWAY_MISCONFIGURED,
    FAILURE_GATEWAY_BUSY,
    FAILURE_GATEWAY_REFUSED,
    FAILURE_RUN_FAILED,
    FAILURE_RUN_AMBIGUOUS, /* the agent may have run or not */
    FAILURE_BACKEND_UNAVAILABLE,
    FAILURE_BACKEND_ERROR,
    FAILURE_BACKEND_REJECTED,
    FAILURE_OTHER, /* neither the gateway's nor the backend's, such as missing memory */
};

enum run_kind { RUN_FIRST, RUN_REPEAT };

/*
 * Their words in metrics, the log and JSON documents; NULL for FAILURE_NONE. Indexed by
 * the enums' values.
 */
extern const char *const entry_stage_words[];
extern const char *const entry_outcome_words[];
extern const char *const end_reason_words[];
extern const char *const failure_class_words[];
extern const char *const run_kind_words[];

/* To what extent the end has been reported. Each excludes the others. */
enum entry_closing {
    CLOSING_OPEN,         /* not acknowledged */
    CLOSING_UNREPORTED,   /* its thread could not be told: acknowledging it does not change that */
    CLOSING_ACKNOWLEDGED, /* the backend has it as delivered */
    CLOSING_DEAD_LETTER,  /* all that is left is to move its record to dead/, which failed before */
};

/* How the agent's run of the present attempt ended. */
enum run_end {
    RUN_END_NONE, /* there was none, or nothing is known of it */
    RUN_END_REPLIED,
    RUN_END_FAILED,
};

/* What the spool has of it. */
enum entry_record {
    RECORD_NONE,
    RECORD_RUN,   /* that its agent was asked */
    RECORD_REPLY, /* also the reply */
};

/* Where the entry is; exactly one of them at any time. */
enum entry_place {
    PLACE_NONE,    /* settled, or not to be handed out again before the process ends */
    PLACE_READY,   /* in its lane's list */
    PLACE_WAITING, /* in the heap of due times */
    PLACE_WORKER,  /* between send_queue_take and send_queue_finish */
};

struct activity;
struct lane;

/* For how long something has failed without a success in between, on a clock of its own. */
struct failing_time {
    bool going_on;
    int64_t total_ms;   /* includes what earlier processes have seen */
    int64_t counted_ms; /* up to when the total counts, on that clock, while it is going on */
};

/*
 * What may show that another runtime works on it as well (delivery/other_runtime.h). Digests of
 * words and hashes of ids, 0 for none.
 */
struct entry_evidence {
    bool inherited;          /* an earlier process may have had it in hand, and ended it late */
    bool gone;               /* the backend has it no longer */
    uint64_t posted;         /* our reply, posted under the notification's key */
    uint64_t posted_message; /* the message that it became, as the backend says */
    uint64_t heard;          /* an agent's words that it is about */
    uint64_t heard_source;   /* the notification that they answered */
};

struct entry {
    /* Never changed once the queue has it. */
    enum entry_kind kind;
    struct id_item item; /* the notification's id, or the agent's of a wake-up */
    char agent_id[ID_BYTES];
    char task_id[ID_BYTES]; /* as it was listed; "" for none */
    int64_t created_at_ms;  /* wall clock; 0 when not known */

    /* The worker's that has taken the entry; while no worker has it, read under the queue's lock.
     */
    struct {
        unsigned attempts;      /* times a worker took it */
        unsigned failures;      /* in a row at this stage, for the backoff */
        unsigned runs;          /* requests sent to the agent, including by earlier processes */
        unsigned timeouts;      /* runs that took longer than we waited */
        unsigned reopened;      /* times it was listed after its end, and acknowledged again */
        unsigned breaker_trips; /* of its lane in a row: the gateway took no requests at all */
        enum entry_outcome outcome;
        enum entry_closing closing;
        enum end_reason reason;
        enum entry_record record;
        enum failure_class failure_class; /* of its last failure at this stage */
        enum run_end run_end;             /* send_queue_finish tells the lane, and resets it */
        char *reply; /* owned; NULL before there is one and while only the spool has it */
        struct failing_time refusals; /* by the gateway, on the clock of closed breaker time */
        struct failing_time errors;   /* of backend functions, on the monotonic clock */
        int64_t lane_pause_ms;        /* after send_queue_finish nothing of its lane is sent */
        int64_t retry_delay_ms;       /* how long its last failure made it wait */
        int64_t started_us;           /* when the current attempt began, monotonic */
        int64_t replied_us;           /* when the reply came; 0: to an earlier process */
        struct trace trace;           /* of all requests for it by this process */
        char agent_slug[ID_BYTES];
        char task_id[ID_BYTES]; /* of its thread; "" when it has none */
        char failure[64]; /* why it last failed, for the notice in the thread and a dead letter */
        bool reply_abandoned; /* its reply will not be posted: if it is marked, then by us */
        bool agent_unknown;   /* the gateway lacked its agent when it was last asked */
        struct entry_evidence evidence;

        /* On a v1 backend only (delivery_v1.c). */
        bool may_be_changed;       /* until it is marked, the backend may make it another message */
        bool answers_again;        /* the notification is marked, and its key spent */
        bool begins_task;          /* with the reply its task is in progress */
        bool typing;               /* the board shows its agent as typing, as far as we know */
        bool unanswered;           /* its agent owed words and gave none */
        char message_id[ID_BYTES]; /* that its agent is asked about; "" for none */
        unsigned empty_answers;    /* in a row, for which it was asked again */
        int64_t thread_until_ms;   /* createdAt of the thread's newest message when it was asked */
        struct document_state document; /* of a reply that is too long for its thread */
        json_t *rounds; /* owned; the calls of tools (delivery/tool_rounds.h), or NULL */
    } work;

    /* The queue's, under its lock. The worker that has the entry reads stage, ticket and times. */
    struct {
        enum entry_stage stage;
        enum entry_place place;
        int64_t known_us;        /* when the queue learned of it, monotonic */
        int64_t ready_us;        /* when it last became ready */
        int64_t waited_us;       /* how long it was ready until a worker took it */
        int64_t overdue_from_ms; /* of a wake-up: when it goes before sends, monotonic */
        int64_t settled_at_ms;
        uint64_t last_page; /* number of the last page that listed it */
        uint64_t ticket;    /* version of the policy under which its send was allowed */
        struct lane *lane;
        uint64_t number;    /* in the order of intake, for those with the same createdAt */
        bool ahead;         /* a worker has it ahead of its turn, so it is not to be sent */
        bool unseen;        /* while ready: it may be taken so */
        bool may_be_marked; /* a mark of ours was begun */
        bool unlisted;      /* the last page that covers it lacked it, and no mark had been begun */
        bool misplaced; /* in another lane than its own, which had a worker when lanes changed */
        struct activity *activity;       /* of the worker that has it; NULL: none to keep */
        struct heap_item due;            /* in the heap while PLACE_WAITING */
        struct heap_item by_age;         /* among those that have not ended, by createdAt */
        struct heap_item record_by_age;  /* of these, among those with a record in the spool */
        struct heap_item failing_by_age; /* of these, among those whose last attempt failed */
        TAILQ_ENTRY(entry) in_lane;
        TAILQ_ENTRY(entry) in_queue;
    } queue;
};

#endif
