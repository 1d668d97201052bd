/*
 * Retrying and dropping a dead letter. Beside a running runtime the queue knows its id, as settled,
 * and so keeps the backend's list from bringing it back. The order in which the disk and the queue
 * change is what keeps a letter from being run or posted twice:
 *
 *   reserve    the queue takes no page's word on the id any more; refused while it has it in hand
 *   dead/      the record moves to spool/, or is removed
 *   queue      gets the reply to post, or forgets that the id has settled; the reservation ends
 *
 * A process that is killed in between finds the record in spool/ and posts it at its next start, as
 * one that a command has put there; one without a reply is gone from dead/, and is asked again as
 * the operator wanted.
 */
#include "delivery/dead_letter.h"

#include <stdio.h>
#include <string.h>

#include "base/stop_point.h"
#include "base/text.h"

enum { QUOTED_ID_BYTES = 80 };

/* A record of dead/. */
struct dead_letter {
    struct spool_record record;
    enum error_code unreadable; /* 0, or why only its id is known */
    char agent[ID_BYTES];       /* its slug, quoted */
};

/* When what was decided takes effect. */
static const char *asked_again(const struct dead_letter_parts *parts)
{
    return parts->queue != NULL
               ? "if the backend still lists the notification, the agent is asked again"
               : "if the backend still lists the notification, the agent is asked again after the "
                 "next start";
}

/* The reply goes back to spool/, and into the queue of a running runtime. */
static int retry_reply(
    const struct dead_letter_parts *parts, const struct dead_letter *letter, struct error *error)
{
    const char *id = letter->record.id;
    int result = spool_exhume(parts->spool, id, error);
    if (result != 0 || parts->queue == NULL)
        return result;
    STOP_POINT("after_exhume");
    result = journal_retry(parts->journal, parts->queue, parts->give_up_after_ms, id, error);
    if (result == 0)
        return 0;
    struct error unused;
    spool_bury(parts->spool, id, &unused);
    return result;
}

/* Nothing is posted, so the agent is asked anew once the queue has forgotten the id. */
static int retry_without_reply(
    const struct dead_letter_parts *parts, const struct dead_letter *letter, struct error *error)
{
    int result = spool_remove_dead(parts->spool, letter->record.id, error);
    if (result == 0 && parts->queue != NULL)
        send_queue_forget_settled(parts->queue, letter->record.id);
    return result;
}

static int retry_letter(const struct dead_letter_parts *parts, const struct dead_letter *letter,
    char message[static ERROR_TEXT_BYTES], struct error *error)
{
    const char *id = letter->record.id;
    const char *reply = letter->record.reply;
    if (letter->unreadable == ERROR_NEWER)
        return error_set(error, ERROR_NEWER,
            "unchanged: it was written by a newer release; retry it with that release");
    int result = reply != NULL ? retry_reply(parts, letter, error)
                               : retry_without_reply(parts, letter, error);
    if (result != 0)
        return result;
    if (reply != NULL)
        snprintf(message, ERROR_TEXT_BYTES,
            "%s: back in spool/; the %s posts its reply (%zu bytes, by %s) without asking the "
            "agent",
            id, parts->queue != NULL ? "runtime" : "next start", strlen(reply), letter->agent);
    else
        snprintf(message, ERROR_TEXT_BYTES, "%s: removed from dead/, because it %s; %s", id,
            letter->unreadable != 0 ? "is damaged" : "has no reply", asked_again(parts));
    return 0;
}

static int drop_letter(const struct dead_letter_parts *parts, const struct dead_letter *letter,
    char message[static ERROR_TEXT_BYTES], struct error *error)
{
    /* The queue of a running runtime keeps the id as settled: it is asked about no sooner. */
    static const char later[] = "if the backend still lists the notification, the agent is asked "
                                "again after the next start";
    const char *id = letter->record.id;
    int result = spool_remove_dead(parts->spool, id, error);
    if (result != 0)
        return result;
    if (letter->unreadable != 0)
        snprintf(message, ERROR_TEXT_BYTES,
            "%s: dropped; it was %s, so what it held is unknown; %s", id,
            letter->unreadable == ERROR_NEWER ? "written by a newer release" : "damaged", later);
    else if (letter->record.reply == NULL)
        snprintf(message, ERROR_TEXT_BYTES, "%s: dropped; it held no reply by %s; %s", id,
            letter->agent, later);
    else
        snprintf(message, ERROR_TEXT_BYTES, "%s: dropped with a reply of %zu bytes by %s; %s", id,
            strlen(letter->record.reply), letter->agent, later);
    return 0;
}

/* Ids become file names, so one that is not valid is refused before it gets near a path. */
static int check_letter_id(const char *id, struct error *error)
{
    char quoted[QUOTED_ID_BYTES];
    if (id_is_valid(id))
        return 0;
    text_quote(quoted, sizeof quoted, id, strlen(id));
    return error_set(error, ERROR_CLOSED, "\"%s\" is not a notification id", quoted);
}

/* Why there is no dead letter of that id. */
static int explain_missing_letter(struct spool *spool, const char *id, struct error *error)
{
    struct spool_record record;
    struct error unused;
    int result = spool_load(spool, id, &record, &unused);
    spool_record_fini(&record);
    if (result == ERROR_CLOSED)
        return error_set(error, ERROR_CLOSED, "%s: no record in spool/ or dead/", id);
    if (result == ERROR_NEWER)
        return error_set(error, ERROR_CLOSED,
            "%s: unchanged: it is in spool/, not in dead/, and was written by a newer release, "
            "which will continue with it",
            id);
    return error_set(error, ERROR_CLOSED,
        "%s: unchanged: it is in spool/, not in dead/, and the runtime continues with it by itself",
        id);
}

static int load_letter(
    struct spool *spool, const char *id, struct dead_letter *letter, struct error *error)
{
    int result = spool_load_dead(spool, id, &letter->record, error);
    if (result == ERROR_CLOSED)
        return explain_missing_letter(spool, id, error);
    if (result != 0 && result != ERROR_INVALID && result != ERROR_NEWER)
        return result;
    letter->unreadable = result;
    text_copy(letter->record.id, sizeof letter->record.id, id);
    text_quote(letter->agent, sizeof letter->agent, letter->record.agent_slug,
        strlen(letter->record.agent_slug));
    return 0;
}

/* With the id reserved, or without a queue. */
static int change_letter(const struct dead_letter_parts *parts, enum dead_letter_change change,
    const char *id, char message[static ERROR_TEXT_BYTES], struct error *error)
{
    struct dead_letter letter;
    int result = load_letter(parts->spool, id, &letter, error);
    if (result != 0)
        return result;
    result = change == DEAD_LETTER_RETRY ? retry_letter(parts, &letter, message, error)
                                         : drop_letter(parts, &letter, message, error);
    if (result != 0)
        error_wrap(error, "%s", id);
    spool_record_fini(&letter.record);
    return result;
}

static int change_beside_runtime(const struct dead_letter_parts *parts,
    enum dead_letter_change change, const char *id, char message[static ERROR_TEXT_BYTES],
    struct error *error)
{
    if (!send_queue_reserve_settled(parts->queue, id))
        return error_set(error, ERROR_CLOSED,
            "%s: unchanged: the runtime has this notification in hand, or is shutting down; try "
            "again when that has ended",
            id);
    int result = change_letter(parts, change, id, message, error);
    send_queue_end_reservation(parts->queue);
    if (result == 0)
        journal_trim_dead(parts->journal);
    return result;
}

int dead_letter_change(const struct dead_letter_parts *parts, enum dead_letter_change change,
    const char *id, char message[static ERROR_TEXT_BYTES])
{
    struct error error;
    int result = check_letter_id(id, &error);
    if (result == 0)
        result = parts->queue != NULL ? change_beside_runtime(parts, change, id, message, &error)
                                      : change_letter(parts, change, id, message, &error);
    if (result != 0)
        text_copy(message, ERROR_TEXT_BYTES, error.text);
    return result;
}
