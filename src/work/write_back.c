#include "write_back.h"

#include "base/stop_point.h"
#include "work/note.h"

/* A reply without words, or without a task to put it in, is delivered without a message. */
struct finish write_back_reply(struct attempt *attempt)
{
    const struct deliver *deliver = attempt->deliver;
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = VERDICT_DELIVERED;
    entry->note = NULL;
    if (spooling_recall_reply(&deliver->spooling, entry, &error) != 0) {
        if (!entry->spooled)
            text_copy(entry->failure, sizeof entry->failure, "its reply was lost on the disk");
        return attempt_again(attempt, attempt_other_failure,
            entry->spooled ? STAGE_REPLIED : STAGE_KNOWN, 0, 0, &error);
    }
    if (entry->reply[0] == '\0' || entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    /* The disk may take by now what it did not when the reply came. */
    if (!entry->spooled)
        spooling_keep_reply(&deliver->spooling, entry);
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, entry->reply, entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_REPLIED, outcome, &error);
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
    entry->note = entry->failure[0] != '\0' ? entry->failure : "asked before a restart";
    if (entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    struct text note = {0};
    note_append(&note, entry->runs, entry->note);
    if (note.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a note");
        return attempt_again(attempt, attempt_other_failure, STAGE_GIVING_UP, 0, 0, &error);
    }
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, note.data, entry->item.id, &error);
    text_fini(&note);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_GIVING_UP, outcome, &error);
    attempt_forget_failures(attempt);
    return attempt_go_on(STAGE_WRITTEN);
}

struct finish write_back_mark(struct attempt *attempt)
{
    struct error error;
    enum convex_outcome outcome =
        service_mark_delivered(&attempt->service, attempt->entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_WRITTEN, outcome, &error);
    STOP_POINT("after_mark");
    attempt->entry->marked = true;
    return attempt_go_on(STAGE_SETTLED);
}
