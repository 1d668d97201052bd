#include "work/spooling.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"

static const char component[] = "Spool";

/* Says the first failure and the recovery, not each. */
static void note_outcome(const struct spooling *spooling, const struct entry *entry, int result,
    const struct error *error)
{
    bool was_broken = atomic_exchange(&spooling->stats->spool_broken, result != 0);
    if (was_broken != (result != 0))
        stats_changed(spooling->stats);
    if (result != 0 && !was_broken)
        log_event(LOG_LEVEL_ERROR, component, LOG_FIELDS(LOG_TEXT("notification", entry->item.id)),
            "%s; going on without the spool: until it works again, a crash may repeat a run or "
            "lose a reply",
            error->text);
    else if (result == 0 && was_broken)
        log_info(component, "The spool works again");
}

static void set_recorded(const struct spooling *spooling, struct entry *entry, bool recorded)
{
    if (entry->recorded != recorded)
        send_queue_note_record(spooling->queue, entry, recorded);
}

static int save(const struct spooling *spooling, struct entry *entry, bool with_reply)
{
    struct error error;
    struct spool_record record = {
        .created_at_ms = entry->created_at_ms,
        .failing_ms = entry->refusals.total_ms,
        .error_ms = entry->errors.total_ms,
        .timeouts = entry->timeouts,
        .runs = entry->runs,
        .given_up = entry->given_up,
        .reply = with_reply ? entry->reply : NULL,
        .name_sync = entry->name_sync,
    };
    text_copy(record.id, sizeof record.id, entry->item.id);
    text_copy(record.agent_id, sizeof record.agent_id, entry->agent_id);
    text_copy(record.agent_slug, sizeof record.agent_slug, entry->agent_slug);
    text_copy(record.task_id, sizeof record.task_id, entry->task_id);
    text_copy(record.failure, sizeof record.failure, entry->failure);
    int result = spool_save(spooling->spool, &record, with_reply, &error);
    entry->name_sync = record.name_sync;
    note_outcome(spooling, entry, result, &error);
    set_recorded(spooling, entry, entry->recorded || result == 0);
    return result;
}

static void remove_record(const struct spooling *spooling, struct entry *entry)
{
    struct error error;
    int result = spool_remove(spooling->spool, entry->item.id, &error);
    /* That what was never written could be removed does not prove that the disk works. */
    if (result != 0)
        note_outcome(spooling, entry, result, &error);
    set_recorded(spooling, entry, entry->recorded && result != 0);
}

void spooling_begin_run(const struct spooling *spooling, struct entry *entry)
{
    entry->runs++;
    save(spooling, entry, false);
}

void spooling_take_back_run(const struct spooling *spooling, struct entry *entry)
{
    entry->runs--;
    if (entry->runs == 0 && entry->refusals.total_ms == 0)
        remove_record(spooling, entry);
    else
        save(spooling, entry, false);
}

void spooling_note_failing(const struct spooling *spooling, struct entry *entry)
{
    if (entry->spooled && entry->reply == NULL)
        return;
    if (save(spooling, entry, entry->reply != NULL) == 0)
        entry->spooled = entry->reply != NULL;
}

void spooling_keep_reply(const struct spooling *spooling, struct entry *entry)
{
    entry->spooled = save(spooling, entry, true) == 0;
}

void spooling_release_reply(struct entry *entry)
{
    if (!entry->spooled)
        return;
    free(entry->reply);
    entry->reply = NULL;
}

int spooling_recall_reply(const struct spooling *spooling, struct entry *entry, struct error *error)
{
    struct spool_record record;
    if (entry->reply != NULL)
        return 0;
    int result = spool_load(spooling->spool, entry->item.id, &record, error);
    if (result == 0 && record.reply == NULL)
        result = error_set(
            error, ERROR_INVALID, "spool: the record of %s holds no reply", entry->item.id);
    if (result == 0)
        entry->reply = record.reply;
    /* A shortage of descriptors or a disk that fails now is no reason to ask the agent again. */
    if (result == ERROR_CLOSED || result == ERROR_INVALID) {
        struct error unused;
        spool_bury(spooling->spool, entry->item.id, &unused);
        spooling_watch_dead(spooling);
        entry->spooled = false;
        set_recorded(spooling, entry, false);
    }
    return result;
}

/* A reply or a note that nobody could write, or an end that the backend does not know of. */
static bool is_for_operators(const struct entry *entry)
{
    bool has_reply = entry->spooled || entry->reply != NULL;
    return entry->verdict == VERDICT_DEAD && (has_reply || entry->untold || !entry->marked);
}

static bool bury(const struct spooling *spooling, struct entry *entry)
{
    struct error error;
    if (!entry->spooled && save(spooling, entry, entry->reply != NULL) != 0)
        return false;
    int result = spool_bury(spooling->spool, entry->item.id, &error);
    note_outcome(spooling, entry, result, &error);
    if (result != 0)
        return false;
    spooling_watch_dead(spooling);
    log_error(component, "What is to be written for %s could not be; it is kept in dead/",
        entry->item.id);
    return true;
}

bool spooling_end(const struct spooling *spooling, struct entry *entry)
{
    if (is_for_operators(entry))
        return bury(spooling, entry);
    if (entry->recorded)
        remove_record(spooling, entry);
    return true;
}

static void say_trimmed(void *context, const char *id)
{
    (void)context;
    log_error(component, "dead/ is full: the record of %s, its oldest, was removed", id);
}

void spooling_watch_dead(const struct spooling *spooling)
{
    struct error error;
    struct spool_usage usage;
    if (spool_trim_dead(spooling->spool, &usage, say_trimmed, NULL, &error) != 0) {
        log_error(component, "%s", error.text);
        return;
    }
    atomic_store(&spooling->stats->dead_files, (long long)usage.files);
    atomic_store(&spooling->stats->dead_bytes, usage.bytes);
}
