/*
 * What the spool knows about an entry follows its life (delivery.c):
 *
 *   no record --begin_run--> run counted --save_reply--> with the reply --close--> no record
 *       ^                       |    |                        |
 *       '------undo_run---------'    '-------- close ---------+--> dead/, if given up and untold
 *                                                             |
 *                            run counted <----start_over------'
 *
 * A run also has the calls of tools that its agent makes, which save_calls keeps up to date.
 *
 * A wake-up has a record from its first call of a tool until it has ended, under the id of its
 * agent. No entry waits for it meanwhile: the agent's next wake-up takes it up (load_wake).
 *
 * A run is counted before its request goes out, without a sync: the page cache survives the end of
 * the process, and a machine that loses power may at worst repeat a run. A reply is synced before
 * it is posted, because it cannot be obtained again.
 *
 * The disk is not allowed to stop deliveries. When a write fails the entry continues from memory;
 * only a reply that must not be lost keeps the entry in the queue (journal_close). The first
 * failure and the recovery are logged, not what is between.
 *
 * At startup journal_restore reads the records back into the queue. It is strict where the rest is
 * lenient: a record that cannot be read at this moment stops the startup, since an agent that the
 * queue does not know to have run would be run again. A record of a newer release is left where it
 * is and its notification is not delivered, because after a rollback it may hold a reply.
 */
#include "delivery/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/tool_rounds.h"

static const char component[] = "Spool";

/* Logs the first failure and the recovery, not each. */
static void record_outcome(
    const struct journal *journal, const struct entry *entry, int result, const struct error *error)
{
    bool was_broken = atomic_exchange(&journal->stats->spool_broken, result != 0);
    if (was_broken != (result != 0))
        stats_changed(journal->stats);
    if (result != 0 && !was_broken)
        log_event(LOG_LEVEL_ERROR, component, LOG_FIELDS(LOG_TEXT("notification", entry->item.id)),
            "%s; continuing without the spool: until it works again, a crash may repeat a run or "
            "lose a reply",
            error->text);
    else if (result == 0 && was_broken)
        log_info(component, "the spool works again");
}

void journal_recheck(const struct journal *journal)
{
    struct error error;
    if (journal->spool == NULL || !atomic_load(&journal->stats->spool_broken) ||
        !spool_is_usable(journal->spool, &error))
        return;
    if (!atomic_exchange(&journal->stats->spool_broken, false))
        return;
    stats_changed(journal->stats);
    log_info(component, "the spool works again");
}

/* What of an entry is written, and whether it is synced. */
enum record_content { CONTENT_RUN, CONTENT_RUN_SYNCED, CONTENT_REPLY_SYNCED };

/* Writes the entry's record in place of the one that the spool has; 0 or a negative error code. */
static int save_record(
    const struct journal *journal, struct entry *entry, enum record_content content)
{
    bool durable = content != CONTENT_RUN;
    struct error error;
    bool is_wake_up = entry->kind == ENTRY_WAKE;
    struct spool_record record = {
        .is_wake_up = is_wake_up,
        .created_at_ms = is_wake_up ? entry->work.thread_until_ms : entry->created_at_ms,
        .failing_ms = entry->work.refusals.total_ms,
        .error_ms = entry->work.errors.total_ms,
        .timeouts = entry->work.timeouts,
        .runs = entry->work.runs,
        .reply_abandoned = entry->work.reply_abandoned,
        .thread_until_ms = entry->work.thread_until_ms,
        .may_be_changed = entry->work.may_be_changed,
        .answers_again = entry->work.answers_again,
        .begins_task = entry->work.begins_task,
        .empty_answers = entry->work.empty_answers,
        .document = entry->work.document,
        .rounds = entry->work.rounds,
        .reply = content == CONTENT_REPLY_SYNCED ? entry->work.reply : NULL,
    };
    text_copy(record.message_id, sizeof record.message_id, entry->work.message_id);
    text_copy(record.id, sizeof record.id, entry->item.id);
    text_copy(record.agent_id, sizeof record.agent_id, entry->agent_id);
    text_copy(record.agent_slug, sizeof record.agent_slug, entry->work.agent_slug);
    text_copy(record.task_id, sizeof record.task_id, entry->work.task_id);
    text_copy(record.failure, sizeof record.failure, entry->work.failure);
    int result = spool_save(journal->spool, &record, durable, &error);
    record_outcome(journal, entry, result, &error);
    if (result == 0)
        entry->work.record = record.reply != NULL ? RECORD_REPLY : RECORD_RUN;
    return result;
}

/* With the reply, if there is one that has not been released. */
static enum record_content content_of(const struct entry *entry)
{
    return entry->work.reply != NULL ? CONTENT_REPLY_SYNCED : CONTENT_RUN;
}

static void remove_record(const struct journal *journal, struct entry *entry)
{
    struct error error;
    int result = spool_remove(journal->spool, entry->item.id, &error);
    /* Success proves nothing about the disk: there may have been nothing to remove. */
    if (result != 0)
        record_outcome(journal, entry, result, &error);
    else
        entry->work.record = RECORD_NONE;
}

void journal_begin_run(const struct journal *journal, struct entry *entry)
{
    entry->work.runs++;
    save_record(journal, entry, CONTENT_RUN);
}

void journal_undo_run(const struct journal *journal, struct entry *entry)
{
    entry->work.runs--;
    /* One that is answered again is no longer listed: only the record leads to it. */
    bool is_listed = !entry->work.answers_again;
    if (entry->work.runs == 0 && entry->work.refusals.total_ms == 0 && is_listed)
        remove_record(journal, entry);
    else
        save_record(journal, entry, CONTENT_RUN);
}

void journal_save_progress(const struct journal *journal, struct entry *entry)
{
    if (entry->work.record == RECORD_REPLY && entry->work.reply == NULL)
        return;
    save_record(journal, entry, content_of(entry));
}

bool journal_save_calls(const struct journal *journal, struct entry *entry, bool durable)
{
    return save_record(journal, entry, durable ? CONTENT_RUN_SYNCED : CONTENT_RUN) == 0;
}

void journal_save_reply(const struct journal *journal, struct entry *entry)
{
    save_record(journal, entry, CONTENT_REPLY_SYNCED);
}

void journal_release_reply(struct entry *entry)
{
    if (entry->work.record != RECORD_REPLY)
        return;
    free(entry->work.reply);
    entry->work.reply = NULL;
}

int journal_load_reply(const struct journal *journal, struct entry *entry, struct error *error)
{
    struct spool_record record;
    int result = spool_load(journal->spool, entry->item.id, &record, error);
    if (result == 0 && record.reply == NULL)
        result = error_set(
            error, ERROR_INVALID, "spool: the record of %s holds no reply", entry->item.id);
    if (result == 0) {
        entry->work.reply = record.reply;
        record.reply = NULL;
    }
    spool_record_fini(&record);
    /* Out of descriptors, or a disk that fails now, is not a reason to ask the agent again. */
    if (result == ERROR_CLOSED || result == ERROR_INVALID) {
        struct error unused;
        spool_bury(journal->spool, entry->item.id, &unused);
        journal_trim_dead(journal);
        entry->work.record = RECORD_NONE;
    }
    return result;
}

/* Makes a record's calls and reply the entry's. */
static void take_up_wake(struct entry *entry, struct spool_record *record)
{
    entry->work.record = record->reply != NULL ? RECORD_REPLY : RECORD_RUN;
    entry->work.runs = record->runs;
    entry->work.thread_until_ms = record->thread_until_ms;
    text_copy(entry->work.task_id, sizeof entry->work.task_id, record->task_id);
    entry->work.rounds = record->rounds;
    entry->work.reply = record->reply;
    record->rounds = NULL;
    record->reply = NULL;
}

int journal_load_wake(const struct journal *journal, struct entry *entry, struct error *error)
{
    struct spool_record record;
    struct error unused;
    int result = spool_load(journal->spool, entry->item.id, &record, error);
    if (result == ERROR_CLOSED)
        return 0;
    bool damaged = result == ERROR_INVALID ||
                   (result == 0 && record.rounds != NULL && !tool_rounds_are_valid(record.rounds));
    if (damaged) {
        spool_bury(journal->spool, entry->item.id, &unused);
        journal_trim_dead(journal);
        log_error(component, "the record of the wake-up of %s is damaged; moved to dead/",
            entry->item.id);
    } else if (result == 0) {
        take_up_wake(entry, &record);
    }
    spool_record_fini(&record);
    return damaged ? 0 : result;
}

/* Whether the thread or the backend lacks something that only the record can tell an operator. */
static bool is_dead_letter(const struct entry *entry)
{
    bool has_reply = entry->work.record == RECORD_REPLY || entry->work.reply != NULL;
    return entry->work.outcome == OUTCOME_DEAD &&
           (has_reply || entry->work.closing != CLOSING_ACKNOWLEDGED);
}

/* A record without a reason would leave an operator to guess. */
static void ensure_reason(struct entry *entry)
{
    char *failure = entry->work.failure;
    if (failure[0] != '\0')
        return;
    text_copy(failure, sizeof entry->work.failure, end_reason_words[entry->work.reason]);
    for (; (failure = strchr(failure, '_')) != NULL; failure++)
        *failure = ' ';
}

static void report_dead_letter(const struct journal *journal, const struct entry *entry)
{
    char text[STATS_TEXT_BYTES];
    log_event(LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_TEXT("notification", entry->item.id),
            LOG_TEXT("agent", entry->work.agent_slug), LOG_TEXT("reason", entry->work.failure)),
        "could not report the end of %s to the board; moved to dead/", entry->item.id);
    snprintf(text, sizeof text, "%s, of %s: %s", entry->item.id,
        entry->work.agent_slug[0] != '\0' ? entry->work.agent_slug : entry->agent_id,
        entry->work.failure);
    stats_dead_letter(journal->stats, text);
}

static bool bury_record(const struct journal *journal, struct entry *entry)
{
    struct error error;
    bool has_reason = entry->work.failure[0] != '\0';
    ensure_reason(entry);
    bool must_save =
        entry->work.record != RECORD_REPLY || (!has_reason && entry->work.reply != NULL);
    if (must_save && save_record(journal, entry, content_of(entry)) != 0)
        return false;
    int result = spool_bury(journal->spool, entry->item.id, &error);
    record_outcome(journal, entry, result, &error);
    if (result != 0)
        return false;
    journal_trim_dead(journal);
    report_dead_letter(journal, entry);
    return true;
}

bool journal_close(const struct journal *journal, struct entry *entry)
{
    if (is_dead_letter(entry))
        return bury_record(journal, entry);
    if (entry->work.record != RECORD_NONE)
        remove_record(journal, entry);
    return true;
}

bool journal_start_over(const struct journal *journal, struct entry *entry)
{
    /* One that was listed after its end has its dead letter already. */
    if (entry->work.reopened == 0 && is_dead_letter(entry) && !bury_record(journal, entry))
        return false;
    free(entry->work.reply);
    entry->work.reply = NULL;
    json_decref(entry->work.rounds);
    entry->work.rounds = NULL;
    entry->work.reply_abandoned = false;
    entry->work.answers_again = true;
    entry->work.runs = 0;
    entry->work.timeouts = 0;
    entry->work.empty_answers = 0;
    entry->work.document = (struct document_state){0};
    entry->work.refusals = (struct failing_time){0};
    entry->work.failure[0] = '\0';
    save_record(journal, entry, CONTENT_RUN);
    return true;
}

static void log_trimmed(void *context, const char *id)
{
    (void)context;
    log_error(component, "dead/ is full: removed its oldest record, of %s", id);
}

void journal_trim_dead(const struct journal *journal)
{
    struct error error;
    struct spool_usage usage;
    if (spool_trim_dead(journal->spool, &usage, log_trimmed, NULL, &error) != 0) {
        log_error(component, "%s", error.text);
        return;
    }
    atomic_store(&journal->stats->dead_files, (long long)usage.files);
    atomic_store(&journal->stats->dead_bytes, usage.bytes);
}

/* What journal_restore has found so far. */
struct restored {
    struct spool *spool;
    struct send_queue *queue;
    int64_t give_up_after_ms;
    size_t replies;
    size_t runs;
    size_t wakes;
    size_t damaged;
    size_t dead;
    int64_t last_dead_ms; /* createdAt of the newest of these */
    char last_dead[STATS_TEXT_BYTES];
    size_t newer;            /* records of a newer release, in either directory */
    char newer_id[ID_BYTES]; /* one of them */
    bool incomplete;         /* the queue lacks some of it for want of memory */
    struct error unread;     /* of a record that cannot be read now; code 0 without one */
};

static void bury_damaged(struct restored *restored, const char *id)
{
    struct error error;
    restored->damaged++;
    log_error(component, "the record of %s is damaged; moved to dead/", id);
    if (spool_bury(restored->spool, id, &error) != 0)
        log_error(component, "%s", error.text);
}

/*
 * A newer release wrote it, before a rollback. What it holds is unknown, perhaps a reply, so it
 * stays where it is and its agent is not asked.
 */
static void leave_newer(struct restored *restored, const char *id)
{
    restored->newer++;
    text_copy(restored->newer_id, sizeof restored->newer_id, id);
    if (send_queue_remember_settled(restored->queue, id, INT64_MAX) < 0)
        restored->incomplete = true;
}

/*
 * The agent's next wake-up goes on with it. Calls of which nothing has become for a day are
 * dropped: the agent is gone, or what they were about is; none of them is made again in either
 * case.
 */
static void leave_wake(struct restored *restored, struct spool_record *record)
{
    static const int64_t max_age_ms = INT64_C(24) * 60 * 60 * 1000;
    struct error error;
    if (record->reply != NULL || clock_wall_ms() - record->created_at_ms <= max_age_ms)
        restored->wakes++;
    else if (spool_remove(restored->spool, record->id, &error) != 0)
        log_error(component, "%s", error.text);
    else
        log_warn(component, "dropped the interrupted tool calls of %s: they are over a day old",
            record->agent_slug);
    spool_record_fini(record);
}

/*
 * The stage at which an entry goes on. Results that were sent may have arrived, so a run that was
 * waited for is over, and nothing is known of its end.
 */
static enum entry_stage restored_stage(const struct spool_record *record)
{
    if (record->reply != NULL)
        return STAGE_REPLIED;
    return tool_rounds_are_under_way(record->rounds) ? STAGE_ACTING : STAGE_KNOWN;
}

/* Given up before, so an operator has put it back: it has all its time again. */
static void grant_time_again(struct spool_record *record, int64_t give_up_after_ms)
{
    if (record->error_ms >= give_up_after_ms)
        record->error_ms = 0;
}

static void restore_record(void *context, struct spool_record *record, const struct error *why)
{
    struct restored *restored = context;
    if (why != NULL && why->code == ERROR_SYSTEM) {
        restored->unread = *why;
        return;
    }
    if (why != NULL && why->code == ERROR_NEWER) {
        leave_newer(restored, record->id);
        return;
    }
    bool damaged =
        why != NULL || (record->rounds != NULL && !tool_rounds_are_valid(record->rounds));
    if (damaged) {
        bury_damaged(restored, record->id);
        spool_record_fini(record);
        return;
    }
    if (record->is_wake_up) {
        leave_wake(restored, record);
        return;
    }
    bool replied = record->reply != NULL;
    grant_time_again(record, restored->give_up_after_ms);
    if (!send_queue_restore(restored->queue, record, restored_stage(record)))
        restored->incomplete = true;
    restored->replies += replied ? 1 : 0;
    restored->runs += replied ? 0 : 1;
    spool_record_fini(record);
}

/*
 * A record that cannot be read now may be intact, so its agent is not asked again; a damaged one
 * counts as a run, of which the spool may hold another record.
 */
static void restore_dead_record(void *context, struct spool_record *record, const struct error *why)
{
    struct restored *restored = context;
    int remembered = 0;
    if (why != NULL && why->code == ERROR_NEWER) {
        leave_newer(restored, record->id);
        return;
    }
    bool damaged = why != NULL && why->code != ERROR_SYSTEM;
    if (why == NULL && record->created_at_ms >= restored->last_dead_ms) {
        restored->last_dead_ms = record->created_at_ms;
        snprintf(restored->last_dead, sizeof restored->last_dead, "%s, of %s: %s", record->id,
            record->agent_slug,
            record->failure[0] != '\0' ? record->failure : "no reason recorded");
    }
    if (why != NULL && !damaged)
        log_error(component, "dead/: %s", why->text);
    if (!damaged)
        remembered = send_queue_remember_settled(
            restored->queue, record->id, why == NULL ? record->created_at_ms : INT64_MAX);
    else if (!send_queue_add_prior_runs(restored->queue, record->id, 1))
        remembered = ERROR_NO_MEMORY;
    if (remembered < 0)
        restored->incomplete = true;
    else
        restored->dead += (size_t)remembered;
    spool_record_fini(record);
}

static void log_restored(const struct restored *restored)
{
    if (restored->replies + restored->runs + restored->damaged > 0)
        log_info(component,
            "recovered from spool: %zu unposted replies, %zu interrupted runs, %zu corrupt records",
            restored->replies, restored->runs, restored->damaged);
    if (restored->wakes > 0)
        log_info(component, "%zu interrupted wake-ups go on when their agents are woken next",
            restored->wakes);
    if (restored->newer > 0)
        log_error(component,
            "%zu records are from a newer release, one of them of %s; they are left as they are "
            "and "
            "their notifications are not delivered until that release runs again",
            restored->newer, restored->newer_id);
    if (restored->dead > 0)
        log_error(component,
            "dead/ holds %zu undeliverable notifications; see them with: mission-control-runtime "
            "spool list",
            restored->dead);
}

int journal_restore(const struct journal *journal, struct send_queue *queue,
    int64_t give_up_after_ms, struct error *error)
{
    struct restored restored = {
        .spool = journal->spool, .queue = queue, .give_up_after_ms = give_up_after_ms};
    int result = spool_each(journal->spool, restore_record, &restored, error);
    if (result == 0)
        result = spool_each_dead(journal->spool, restore_dead_record, &restored, error);
    if (result == 0 && restored.unread.code != 0)
        result = error_set(error, restored.unread.code, "%s", restored.unread.text);
    if (result == 0 && restored.incomplete)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for what the spool holds");
    if (result != 0)
        return result;
    atomic_store(&journal->stats->newer_records, (long long)restored.newer);
    log_restored(&restored);
    if (restored.last_dead[0] != '\0')
        stats_dead_letter(journal->stats, restored.last_dead);
    return 0;
}

int journal_retry(const struct journal *journal, struct send_queue *queue, int64_t give_up_after_ms,
    const char *id, struct error *error)
{
    struct spool_record record;
    int result = spool_load(journal->spool, id, &record, error);
    if (result != 0)
        return result;
    grant_time_again(&record, give_up_after_ms);
    if (record.is_wake_up || (record.rounds != NULL && !tool_rounds_are_valid(record.rounds)))
        result = error_set(error, ERROR_INVALID, "its record is damaged, or of a wake-up");
    else if (!send_queue_restore_settled(queue, &record))
        result = error_set(
            error, ERROR_CLOSED, "the runtime is shutting down, or out of memory; try again later");
    spool_record_fini(&record);
    return result;
}
