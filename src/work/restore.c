#include "work/restore.h"

#include <stdlib.h>

#include "base/log.h"

static const char component[] = "Spool";

/* What one pass over the spool found. */
struct restored {
    struct spool *spool;
    struct send_queue *queue;
    int64_t give_up_after_ms;
    size_t replies;
    size_t runs;
    size_t damaged;
    size_t dead;
    bool incomplete;     /* what is not in the queue would be sent again, so there is no going on */
    struct error unread; /* the same, of a record that cannot be read now; code is 0 without one */
};

static void bury_damaged(struct restored *restored, const char *id)
{
    struct error error;
    restored->damaged++;
    log_error(component, "The record of %s is damaged; it is kept in dead/", id);
    if (spool_bury(restored->spool, id, &error) != 0)
        log_error(component, "%s", error.text);
}

static void take_up(void *context, struct spool_record *record, const struct error *why)
{
    struct restored *restored = context;
    if (why != NULL && why->code == ERROR_SYSTEM) {
        restored->unread = *why;
        return;
    }
    if (why != NULL) {
        bury_damaged(restored, record->id);
        return;
    }
    bool replied = record->reply != NULL;
    /* Who was given up on and is back was sent again by an operator: it has all its time. */
    if (record->error_ms >= restored->give_up_after_ms)
        record->error_ms = 0;
    if (!send_queue_restore(restored->queue, record, replied))
        restored->incomplete = true;
    restored->replies += replied ? 1 : 0;
    restored->runs += replied ? 0 : 1;
    free(record->reply);
}

/* What cannot be read now may be whole, so its agent is not asked again; nothing else hangs on it.
 */
static void take_note_of_dead(void *context, struct spool_record *record, const struct error *why)
{
    struct restored *restored = context;
    int remembered = 0;
    bool damaged = why != NULL && why->code != ERROR_SYSTEM;
    if (why != NULL && !damaged)
        log_error(component, "dead/: %s", why->text);
    if (!damaged)
        remembered = send_queue_remember_settled(
            restored->queue, record->id, why == NULL ? record->created_at_ms : INT64_MAX);
    else if (!send_queue_charge(restored->queue, record->id, record->runs > 0 ? record->runs : 1))
        remembered = ERROR_NO_MEMORY;
    if (remembered < 0)
        restored->incomplete = true;
    else
        restored->dead += (size_t)remembered;
    free(record->reply);
}

int restore_from_spool(
    struct spool *spool, struct send_queue *queue, int64_t give_up_after_ms, struct error *error)
{
    struct restored restored = {
        .spool = spool, .queue = queue, .give_up_after_ms = give_up_after_ms};
    int result = spool_each(spool, take_up, &restored, error);
    if (result == 0)
        result = spool_each_dead(spool, take_note_of_dead, &restored, error);
    if (result == 0 && restored.unread.code != 0)
        result = error_set(error, restored.unread.code, "%s", restored.unread.text);
    if (result == 0 && restored.incomplete)
        result = error_set(error, ERROR_NO_MEMORY, "no memory to take up what the spool holds");
    if (result != 0)
        return result;
    if (restored.replies + restored.runs + restored.damaged > 0)
        log_info(component,
            "From an earlier run: %zu replies to write, %zu agents that were being asked, %zu "
            "damaged",
            restored.replies, restored.runs, restored.damaged);
    if (restored.dead > 0)
        log_error(component,
            "dead/ holds %zu notifications that nobody could be told of; look with: "
            "mission-control-runtime spool list",
            restored.dead);
    return 0;
}
