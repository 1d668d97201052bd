/*
 * A v1 backend accepts 100,000 UTF-16 units in a message, and refuses a longer one before checking
 * for a duplicate. Where an agent may create documents, the full text of a longer reply becomes a
 * document of its task, and the thread gets the beginning with a link to it:
 *
 *   due --record--> begun --create--> made, with its id in the record
 *                     |                ^
 *                     +--- look for ---+
 *
 * The function that creates documents has no idempotency key. So "begun" goes to the spool before
 * it is called, and once it is there, because the answer was lost or the process was killed, the
 * task's documents are searched for the title before another one is made. The title names what was
 * answered: the message, since a notification may come to be about a newer one. Without a working
 * disk a crash may cost a second document, as it may cost a second run.
 *
 * If the backend refuses the document, we go without it: the thread gets the beginning alone, which
 * is what it gets at once where the agent may not create documents (reply.c). The spool keeps the
 * full text until the notification is marked. Should the backend have become v0 meanwhile, which
 * has no documents, the beginning is posted as well.
 */
#include "delivery/long_reply.h"

#include <string.h>

#include "base/stop_point.h"
#include "delivery/journal.h"
#include "delivery/reply.h"

enum { NOTICE_ROOM_UNITS = 300, TITLE_BYTES = 200 };

static const char component[] = "Delivery";

bool long_reply_may_be_document(const struct attempt *attempt)
{
    return attempt->context.flags.can_create_documents && attempt->entry->work.task_id[0] != '\0';
}

bool reply_exceeds_thread(const char *reply)
{
    size_t bytes = strlen(reply);
    return text_utf16_cut(reply, bytes, REPLY_V1_LIMIT_UNITS) < bytes;
}

static void write_title(const struct entry *entry, char title[static TITLE_BYTES])
{
    const char *answered = entry->item.id;
    snprintf(title, TITLE_BYTES, "Full reply of %s (%s)", entry->work.agent_slug, answered);
}

/* Makes the document, or finds the one that an earlier call has made. */
static enum convex_outcome make_document(struct attempt *attempt, struct error *error)
{
    struct entry *entry = attempt->entry;
    const struct service *service = &attempt->service;
    char title[TITLE_BYTES];
    write_title(entry, title);
    const struct reply_document document = {
        .agent_id = entry->agent_id,
        .task_id = entry->work.task_id,
        .title = title,
        .content = entry->work.reply,
    };
    enum convex_outcome outcome = CONVEX_SUCCESS;
    if (entry->work.document.begun)
        outcome =
            service_find_document(service, document.task_id, title, entry->work.document.id, error);
    if (outcome != CONVEX_SUCCESS || entry->work.document.id[0] != '\0')
        return outcome;
    entry->work.document.begun = true;
    journal_save_reply(&attempt->delivery->journal, entry);
    outcome = service_create_document(service, &document, entry->work.document.id, error);
    STOP_POINT("after_create_document");
    return outcome;
}

static bool says_it_is_incomplete(const char *reply)
{
    size_t bytes = strlen(reply);
    size_t notice_bytes = strlen(reply_incomplete_notice);
    return bytes >= notice_bytes &&
           strcmp(reply + bytes - notice_bytes, reply_incomplete_notice) == 0;
}

/* The beginning of the reply with a notice; document_id "" stands for no document. */
static void append_beginning(struct text *content, const char *reply, const char *document_id)
{
    size_t cut = text_utf16_cut(reply, strlen(reply), REPLY_V1_LIMIT_UNITS - NOTICE_ROOM_UNITS);
    text_append_bytes(content, reply, cut);
    text_printf(content, "\n\n[This reply was cut: the task thread takes %d characters.",
        (int)REPLY_V1_LIMIT_UNITS);
    if (document_id[0] != '\0')
        text_printf(content, " Full text: [Full reply](/document/%s)", document_id);
    text_append(content, "]");
    if (says_it_is_incomplete(reply))
        text_append(content, reply_incomplete_notice);
}

enum convex_outcome long_reply_publish(
    struct attempt *attempt, struct text *content, struct error *error)
{
    struct entry *entry = attempt->entry;
    enum backend_version version = convex_version(attempt->delivery->convex);
    if (version == BACKEND_UNKNOWN) {
        error_set(error, ERROR_REMOTE, "the backend's version is not known yet");
        return CONVEX_UNAVAILABLE;
    }
    if (version == BACKEND_V1 && entry->work.document.id[0] == '\0') {
        enum convex_outcome outcome = make_document(attempt, error);
        if (outcome == CONVEX_FUNCTION_ERROR)
            log_event(LOG_LEVEL_WARN, component,
                LOG_FIELDS(LOG_TEXT("notification", entry->item.id)),
                "could not store the full reply as a document; posting only its beginning: %s",
                error->text);
        else if (outcome != CONVEX_SUCCESS)
            return outcome;
        else
            journal_save_reply(&attempt->delivery->journal, entry);
    }
    append_beginning(content, entry->work.reply, entry->work.document.id);
    if (!content->failed)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_NO_MEMORY, "no memory for the beginning of a long reply");
    return CONVEX_UNAVAILABLE;
}
