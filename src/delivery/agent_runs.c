/*
 * The length of a chain of agents that answer each other is bounded by the loop guard, but three
 * agents that each mention the other two double the number of runs with every step. So runs are
 * counted, too, under two ids: the root, which is the person's message or assignment that began the
 * chain, and the task, since a person last wrote there. A run that a person causes directly counts
 * but always takes place; one that an agent causes takes place only while both counts are below the
 * limit.
 *
 * A run is counted when it is decided, under the lock, so a burst of notifications on many workers
 * cannot exceed the limit; a run that certainly did not take place is taken back, unless a person
 * has reset the count meanwhile. Half of each count is forgiven each day, so that a thread nobody
 * looks at comes back to life by itself.
 *
 * The first notification that is skipped for this reason has to say so in the thread. It holds the
 * note of its root and of its task by its id: it may ask again, as after a failed call or a
 * restart, and is told again that the note is due, while all others are not. Once it is posted it
 * is due to nobody, also not to a thread update that is changed to a newer message and skipped
 * again. A person's message resets the task, so there is at most one note between two messages of
 * people.
 *
 * A notification that is looked at ahead of its turn claims nothing, as earlier ones have to find
 * what is left (agent_runs_foresee).
 *
 * The same message may notify an agent twice, since backends resolve mentions by spelling. The pair
 * of message and agent is claimed by the first notification; later ones are skipped.
 *
 * All of this is lost without harm: a lost count allows more runs, a lost pair one run.
 * agent_runs_file.c keeps it over restarts.
 */
#include "delivery/agent_runs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int agent_runs_create(
    struct agent_runs **runs, unsigned max_runs, const char *state_dir, struct error *error)
{
    struct agent_runs *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to count agent runs");
    created->max_runs = max_runs;
    created->dir_fd = -1;
    mutex_init(&created->lock);
    int result =
        id_lru_init(&created->counts, AGENT_RUNS_REMEMBERED, sizeof(struct run_tally), error);
    if (result == 0)
        result =
            id_lru_init(&created->pairs, AGENT_RUNS_REMEMBERED, sizeof(struct run_tally), error);
    if (result != 0) {
        agent_runs_destroy(created);
        return result;
    }
    if (state_dir != NULL) {
        created->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        agent_runs_load(created, state_dir);
    }
    *runs = created;
    return 0;
}

void agent_runs_destroy(struct agent_runs *runs)
{
    if (runs == NULL)
        return;
    agent_runs_save(runs, 0, true);
    if (runs->dir_fd >= 0)
        close(runs->dir_fd);
    id_lru_fini(&runs->counts);
    id_lru_fini(&runs->pairs);
    mutex_fini(&runs->lock);
    free(runs);
}

/*
 * The count under that id, with the days applied that have passed. A clock that was set back starts
 * the day again.
 */
static struct run_tally *use_count_locked(struct agent_runs *runs, const char *id, int64_t wall_ms)
{
    mutex_assert_held(&runs->lock);
    struct run_tally *count = id_lru_use(&runs->counts, id);
    if (count->runs == 0 || wall_ms < count->since_ms)
        count->since_ms = wall_ms;
    int64_t days = (wall_ms - count->since_ms) / AGENT_RUNS_HALF_MS;
    count->runs = days < 32 ? count->runs >> days : 0;
    count->since_ms += days * AGENT_RUNS_HALF_MS;
    return count;
}

/* A person's message, seen for the first time, gives the agents of its task a fresh start. */
static void reset_task(struct run_tally *task, const struct agent_run *run)
{
    if (run->person_wrote_ms <= task->person_ms)
        return;
    task->person_ms = run->person_wrote_ms;
    task->runs = 0;
    task->holder[0] = '\0';
}

/* Whether the note about root and task falls to this notification, which then holds both. */
static bool take_note(struct run_tally *root, struct run_tally *task, const char *notification_id)
{
    if (task == NULL || (root->holder[0] != '\0' && strcmp(root->holder, notification_id) != 0) ||
        (task->holder[0] != '\0' && strcmp(task->holder, notification_id) != 0))
        return false;
    text_copy(root->holder, sizeof root->holder, notification_id);
    text_copy(task->holder, sizeof task->holder, notification_id);
    return true;
}

static enum end_reason claim_counts_locked(struct agent_runs *runs, const struct agent_run *run,
    int64_t wall_ms, struct agent_claim *claim)
{
    mutex_assert_held(&runs->lock);
    struct run_tally *root = use_count_locked(runs, run->root, wall_ms);
    struct run_tally *task =
        run->task_id != NULL ? use_count_locked(runs, run->task_id, wall_ms) : NULL;
    atomic_store(&runs->changed, true);
    if (task != NULL) {
        reset_task(task, run);
        claim->person_ms = task->person_ms;
    }
    if (run->by_agent &&
        (root->runs >= runs->max_runs || (task != NULL && task->runs >= runs->max_runs))) {
        claim->note_due = take_note(root, task, run->notification_id);
        return REASON_TOO_MANY_AGENT_RUNS;
    }
    root->runs++;
    if (task != NULL)
        task->runs++;
    return REASON_REPLIED;
}

enum end_reason agent_runs_claim(struct agent_runs *runs, const struct agent_run *run,
    int64_t wall_ms, struct agent_claim *claim)
{
    char key[ID_BYTES] = "";
    struct run_tally *pair = NULL;
    enum end_reason reason = REASON_SAME_MESSAGE;
    *claim = (struct agent_claim){0};
    if (run->message_id != NULL)
        id_pair_key(key, run->message_id, run->agent_id);
    mutex_lock(&runs->lock);
    if (run->message_id != NULL)
        pair = id_lru_find(&runs->pairs, key);
    if (pair == NULL || strcmp(pair->holder, run->notification_id) == 0)
        reason = claim_counts_locked(runs, run, wall_ms, claim);
    if (reason == REASON_REPLIED && run->message_id != NULL) {
        pair = id_lru_use(&runs->pairs, key);
        pair->since_ms = wall_ms;
        text_copy(pair->holder, sizeof pair->holder, run->notification_id);
    }
    mutex_unlock(&runs->lock);
    return reason;
}

/* As use_count_locked would find it; a count that is not there allows a run. */
static bool is_used_up_locked(
    const struct agent_runs *runs, const struct run_tally *count, int64_t wall_ms)
{
    mutex_assert_held(&runs->lock);
    bool is_of_today = count != NULL && wall_ms >= count->since_ms &&
                       wall_ms - count->since_ms < AGENT_RUNS_HALF_MS;
    return is_of_today && count->runs >= runs->max_runs;
}

static bool is_held_by_other(const struct run_tally *tally, const char *notification_id)
{
    return tally != NULL && tally->holder[0] != '\0' && strcmp(tally->holder, notification_id) != 0;
}

enum end_reason agent_runs_foresee(
    struct agent_runs *runs, const struct agent_run *run, int64_t wall_ms)
{
    char key[ID_BYTES] = "";
    if (run->message_id != NULL)
        id_pair_key(key, run->message_id, run->agent_id);
    mutex_lock(&runs->lock);
    const struct run_tally *pair = key[0] != '\0' ? id_lru_find(&runs->pairs, key) : NULL;
    const struct run_tally *root = id_lru_find(&runs->counts, run->root);
    const struct run_tally *task =
        run->task_id != NULL ? id_lru_find(&runs->counts, run->task_id) : NULL;
    bool is_other = is_held_by_other(pair, run->notification_id);
    bool is_fresh_start = task != NULL && run->person_wrote_ms > task->person_ms;
    bool is_over =
        run->by_agent && !is_fresh_start &&
        (is_used_up_locked(runs, root, wall_ms) || is_used_up_locked(runs, task, wall_ms));
    bool has_note = run->task_id == NULL || is_held_by_other(root, run->notification_id) ||
                    is_held_by_other(task, run->notification_id);
    mutex_unlock(&runs->lock);
    if (is_other)
        return REASON_SAME_MESSAGE;
    return is_over && has_note ? REASON_TOO_MANY_AGENT_RUNS : REASON_REPLIED;
}

/* The count may have been dropped, or reset by a person, since it was taken. */
static void take_back_locked(struct agent_runs *runs, const char *id, int64_t person_ms)
{
    mutex_assert_held(&runs->lock);
    struct run_tally *count = id_lru_find(&runs->counts, id);
    if (count != NULL && count->runs > 0 && count->person_ms == person_ms)
        count->runs--;
}

void agent_runs_take_back(
    struct agent_runs *runs, const char *root, const char *task_id, int64_t person_ms)
{
    mutex_lock(&runs->lock);
    take_back_locked(runs, root, 0);
    take_back_locked(runs, task_id, person_ms);
    atomic_store(&runs->changed, true);
    mutex_unlock(&runs->lock);
}

static void replace_holder_locked(
    struct agent_runs *runs, const char *id, const char *notification_id, const char *holder)
{
    mutex_assert_held(&runs->lock);
    struct run_tally *count = id_lru_find(&runs->counts, id);
    if (count != NULL && strcmp(count->holder, notification_id) == 0)
        text_copy(count->holder, sizeof count->holder, holder);
}

void agent_runs_end_note(struct agent_runs *runs, const char *root, const char *task_id,
    const char *notification_id, bool posted)
{
    const char *holder = posted ? "-" : "";
    mutex_lock(&runs->lock);
    replace_holder_locked(runs, root, notification_id, holder);
    replace_holder_locked(runs, task_id, notification_id, holder);
    atomic_store(&runs->changed, true);
    mutex_unlock(&runs->lock);
}
