#include "attempt.h"
#include "base/clock.h"
#include "base/stop_point.h"
#include "work/note.h"

/*
 * The backend refused the stage for too long. What it could not be told goes to dead/: a reply, or
 * the whole end.
 */
static struct finish give_up(struct attempt *attempt, enum entry_stage stage)
{
    struct entry *entry = attempt->entry;
    attempt->note = "refused_for_too_long";
    entry->verdict = VERDICT_DEAD;
    attempt_forget_failures(attempt);
    if (stage == STAGE_WRITTEN)
        return attempt_go_on(STAGE_SETTLED);
    if (stage == STAGE_KNOWN) {
        text_copy(entry->failure, sizeof entry->failure, "the backend refused it for too long");
        return attempt_go_on(entry->task_id[0] != '\0' ? STAGE_GIVING_UP : STAGE_SETTLED);
    }
    entry->untold = true;
    return attempt_go_on(STAGE_WRITTEN);
}

/* While polls fail as well, it is not this notification that the backend refuses. */
static bool is_refused_for_too_long(struct attempt *attempt)
{
    struct failing *errors = &attempt->entry->errors;
    if (atomic_load(&attempt->deliver->stats->consecutive_poll_failures) > 0) {
        errors->going_on = false;
        return false;
    }
    return attempt_is_hopeless(attempt, errors, clock_monotonic_ms());
}

/* The backend has it as delivered, or no longer at all: by us, if only the mark was missing. */
static struct finish is_over(struct attempt *attempt, enum entry_stage stage)
{
    if (stage != STAGE_WRITTEN)
        return attempt_settle(attempt, VERDICT_SKIPPED, "ended_elsewhere");
    attempt->entry->marked = true;
    return attempt_go_on(STAGE_SETTLED);
}

/* The context can be read: what does it say about the stage that failed? */
static struct finish judge_by_context(struct attempt *attempt, enum entry_stage stage,
    const struct delivery_context *context, const struct error *error)
{
    const char *class = attempt_backend_failure(CONVEX_FUNCTION_ERROR);
    bool gone = context->agent == NULL || context_task_is_gone(context);
    if (context_is_over(context))
        return is_over(attempt, stage);
    if (stage == STAGE_KNOWN) /* what failed was to read it */
        return attempt_again(attempt, class, stage, 0, 0, error);
    if (stage != STAGE_WRITTEN && gone)
        return attempt_mark_as(
            attempt, VERDICT_DEAD, context->agent == NULL ? "agent_gone" : "task_gone");
    if (is_refused_for_too_long(attempt))
        return give_up(attempt, stage);
    return attempt_again(attempt, class, stage, 0, 0, error);
}

/*
 * A function error says nothing reliable in words (production hides them), so what became of the
 * notification is read from its context.
 */
static struct finish function_failed(
    struct attempt *attempt, enum entry_stage stage, const struct error *error)
{
    struct delivery_context context;
    struct error unused;
    const char *id = attempt->entry->item.id;
    enum convex_outcome outcome = service_get_delivery(&attempt->service, id, &context, &unused);
    if (outcome == CONVEX_FUNCTION_ERROR && is_refused_for_too_long(attempt))
        return give_up(attempt, stage);
    if (outcome != CONVEX_SUCCESS)
        return attempt_again(
            attempt, attempt_backend_failure(CONVEX_FUNCTION_ERROR), stage, 0, 0, error);
    struct finish finish = judge_by_context(attempt, stage, &context, error);
    delivery_context_fini(&context);
    return finish;
}

struct finish write_back_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        return function_failed(attempt, stage, error);
    return attempt_backend_failed(attempt, stage, outcome, error);
}

/* A reply without words, or without a task to put it in, is delivered without a message. */
struct finish write_back_reply(struct attempt *attempt)
{
    const struct deliver *deliver = attempt->deliver;
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = VERDICT_DELIVERED;
    if (spooling_recall_reply(&deliver->spooling, entry, &error) != 0) {
        if (!entry->spooled)
            text_copy(entry->failure, sizeof entry->failure, "its reply was lost on the disk");
        return attempt_again(attempt, attempt_other_failure,
            entry->spooled ? STAGE_REPLIED : STAGE_KNOWN, 0, 0, &error);
    }
    if (entry->reply[0] == '\0' || entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, entry->reply, entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return write_back_failed(attempt, STAGE_REPLIED, outcome, &error);
    STOP_POINT("after_create_message");
    attempt_forget_failures(attempt);
    send_queue_expect_more(deliver->queue);
    return attempt_go_on(STAGE_WRITTEN);
}

/* The note takes the reply's key, so a thread never gets both, nor the note twice. */
struct finish write_back_note(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = VERDICT_DEAD;
    attempt->note = entry->failure[0] != '\0' ? entry->failure : "asked before a restart";
    if (entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    struct text note = {0};
    note_append(&note, entry->runs, attempt->note);
    if (note.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a note");
        return attempt_again(attempt, attempt_other_failure, STAGE_GIVING_UP, 0, 0, &error);
    }
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, note.data, entry->item.id, &error);
    text_fini(&note);
    if (outcome != CONVEX_SUCCESS)
        return write_back_failed(attempt, STAGE_GIVING_UP, outcome, &error);
    attempt_forget_failures(attempt);
    return attempt_go_on(STAGE_WRITTEN);
}

struct finish write_back_mark(struct attempt *attempt)
{
    struct error error;
    enum convex_outcome outcome =
        service_mark_delivered(&attempt->service, attempt->entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return write_back_failed(attempt, STAGE_WRITTEN, outcome, &error);
    STOP_POINT("after_mark");
    attempt->entry->marked = true;
    return attempt_go_on(STAGE_SETTLED);
}
