/* How many agent runs one cause has led to, and which message an agent has already been run for. */
#ifndef DELIVERY_AGENT_RUNS_H
#define DELIVERY_AGENT_RUNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/entry.h"

/* Counts, and pairs of message and agent, that are kept; the least recently used go first. */
enum { AGENT_RUNS_REMEMBERED = 8192 };

/* Half of each count is forgiven after this time, by the wall clock. */
#define AGENT_RUNS_HALF_MS ((int64_t)24 * 60 * 60 * 1000)

/*
 * What is remembered under one id. Counts are kept under the id of a root (the person's message or
 * assignment that began a chain) or of a task, pairs under a hash of message and agent.
 */
struct run_tally {
    struct lru_item item;
    unsigned runs;     /* a count: runs, halved at since_ms and daily from then on */
    int64_t since_ms;  /* wall clock; for a pair, when it was last claimed */
    int64_t person_ms; /* a task: when the last message of a person was written; 0: none seen */
    /*
     * The notification that has the note (a count) or the run (a pair); "" for none, "-" once the
     * note has been posted.
     */
    char holder[ID_BYTES];
};

struct agent_runs {
    unsigned max_runs; /* never changed, like dir_fd */
    int dir_fd;        /* of the directory with the file; -1: nothing is kept */

    /* Guards everything below. */
    struct mutex lock;
    struct id_lru counts; /* both of struct run_tally */
    struct id_lru pairs;
    atomic_bool changed; /* since the file was last written; read without the lock */

    /* Only of the thread that saves. */
    bool broken; /* the last write failed */
    int64_t next_save_ms;
};

/* A run that is about to be decided on. All ids are valid (id_is_valid). */
struct agent_run {
    const char *notification_id;
    const char *agent_id;
    const char *message_id; /* NULL when no message caused it */
    const char *root;
    const char *task_id;     /* NULL when it has no task */
    bool by_agent;           /* an agent's message caused it, not a person */
    int64_t person_wrote_ms; /* when the person's message that caused it was written; 0: none */
};

/*
 * Counts that allow max_runs runs for each root and task, initially what the file in state_dir says
 * (NULL: nothing is kept). A file that cannot be used is logged. The caller destroys them, which
 * saves them. Blocks for the disk. ERROR_NO_MEMORY.
 */
int agent_runs_create(
    struct agent_runs **runs, unsigned max_runs, const char *state_dir, struct error *error);
void agent_runs_destroy(struct agent_runs *runs);

/* What a claim leads to besides its result. */
struct agent_claim {
    bool note_due;     /* it falls to this notification to say in the thread why it is skipped */
    int64_t person_ms; /* when the last message of a person in the task was written; 0: none seen */
};

/*
 * Decides on a run, and counts it if the result is REASON_REPLIED: it may take place. Otherwise
 * REASON_SAME_MESSAGE: another notification has the run for this message and agent; or
 * REASON_TOO_MANY_AGENT_RUNS, never for what a person caused. The same notification may ask again.
 * Any thread.
 */
enum end_reason agent_runs_claim(struct agent_runs *runs, const struct agent_run *run,
    int64_t wall_ms, struct agent_claim *claim);

/*
 * What a claim would lead to now, without one; REASON_REPLIED also when a note would be due. Any
 * thread.
 */
enum end_reason agent_runs_foresee(
    struct agent_runs *runs, const struct agent_run *run, int64_t wall_ms);

/*
 * Takes back a counted run that did not take place; from the task only unless a person has written
 * since person_ms, that of the claim. task_id may be "". Any thread.
 */
void agent_runs_take_back(
    struct agent_runs *runs, const char *root, const char *task_id, int64_t person_ms);

/*
 * The note of this notification was posted, so none is due before a person writes; or the backend
 * refuses it, and the next one that is skipped may try.
 */
void agent_runs_end_note(struct agent_runs *runs, const char *root, const char *task_id,
    const char *notification_id, bool posted);

/*
 * Writes the file if something has changed and the last write was long enough ago: a second, and
 * one more for every 64 KiB, so that it costs next to nothing. now: at once. One thread at a time;
 * blocks for the disk.
 */
void agent_runs_save(struct agent_runs *runs, int64_t monotonic_ms, bool now);

/* agent_runs_file.c: reads the file into runs; logs it once if it cannot be used. */
void agent_runs_load(struct agent_runs *runs, const char *state_dir);

#endif
