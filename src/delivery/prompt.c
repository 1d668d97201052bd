/*
 * The texts are assembled from fixed parts and fields of the context. Fields are people's and
 * agents' words: they are copied as they are, except for NULs, which JSON strings may hold and the
 * gateway does not accept. A missing part leaves its line empty, so that the layout stays the same.
 *
 * Our notices are recognized by how they begin, also after a restart: agents are not asked about
 * the notifications that they cause (loop_guard.c).
 */
#include "delivery/prompt.h"

#include <string.h>

#include "base/json.h"
#include "base/sync.h"

static const char instruction[] =
    "Answer in the task thread: your reply to this message is posted there as it is. Use the "
    "required sections from AGENTS.md (**Summary**, **Work done**, **Artifacts**, "
    "**Risks / blockers**, **Next step**, **Sources**) and keep it concise.";

static void append_field(struct text *text, const json_t *object, const char *key)
{
    struct text_span words = json_guard_text(object, key);
    text_append_without_nuls(text, words.bytes, words.length_bytes);
}

static void append_task(struct text *text, const json_t *task)
{
    if (task != NULL) {
        text_append(text, "Task: ");
        append_field(text, task, "title");
        text_append(text, " (");
        append_field(text, task, "status");
        text_append(text, ")");
    }
    text_append(text, "\n");
    struct text_span description = json_guard_text(task, "description");
    description = text_trim(description.bytes, description.length_bytes);
    if (description.length_bytes > 0) {
        text_append(text, "Task description:\n");
        text_append_without_nuls(text, description.bytes, description.length_bytes);
    }
    text_append(text, "\n");
}

static void append_message(struct text *text, const json_t *message)
{
    if (message != NULL) {
        struct text_span content = json_guard_text(message, "content");
        content = text_trim(content.bytes, content.length_bytes);
        text_append(text, "Latest message:\n");
        if (content.length_bytes > 0)
            text_append_without_nuls(text, content.bytes, content.length_bytes);
        else
            text_append(text, "(empty)");
        text_append(text, "\n\nMessage author: ");
        append_field(text, message, "authorType");
        text_append(text, " (");
        append_field(text, message, "authorId");
        text_append(text, ")\nMessage ID: ");
        append_field(text, message, "_id");
    }
    text_append(text, "\n");
}

void prompt_build(const struct delivery_context *context, struct text *text)
{
    text_append(text, "## Notification: ");
    append_field(text, context->notification, "type");
    text_append(text, "\n\n**");
    append_field(text, context->notification, "title");
    text_append(text, "**\n\n");
    append_field(text, context->notification, "body");
    text_append(text, "\n\n");
    append_task(text, context->task);
    append_message(text, context->message);
    text_printf(text, "\n%s\n\n---\nNotification ID: ", instruction);
    append_field(text, context->notification, "_id");
    if (text->failed)
        return;
    /* The text begins with "##", so only its end can be blank. */
    text->length_bytes = text_trim(text->data, text->length_bytes).length_bytes;
    text->data[text->length_bytes] = '\0';
}

void prompt_build_heartbeat(int64_t wall_ms, struct text *text)
{
    char now[CLOCK_ISO_BYTES];
    clock_iso(wall_ms, now);
    text_printf(text,
        "## Heartbeat Check\n"
        "\n"
        "Run your heartbeat protocol:\n"
        "1. Check the tasks that are assigned to you.\n"
        "2. Check for mentions that you have not read.\n"
        "3. Review the recent activity.\n"
        "4. Take one action if it is appropriate.\n"
        "5. Report your status.\n"
        "\n"
        "Current time: %s",
        now);
}

/* Notices in existing threads begin like this, so it must never change. */
static const char notice_beginning[] = "**No reply.** The agent was asked ";
static const char limit_note_beginning[] = "**Agents stopped.** They have run ";

void failure_notice_append(struct text *text, unsigned runs, const char *reason)
{
    text_append(text, notice_beginning);
    text_printf(text,
        "%u %s about this notification, without an answer to post (%s). It will not be asked "
        "%sautomatically; post in this thread to ask it%s.",
        runs, runs == 1 ? "time" : "times", reason, runs > 0 ? "again " : "",
        runs > 0 ? " again" : "");
}

void limit_note_append(struct text *text, unsigned max_runs)
{
    text_append(text, limit_note_beginning);
    text_printf(text,
        "%u %s for each other here since a person last wrote, which is the limit "
        "(DELIVERY_MAX_AGENT_RUNS). They do not answer each other any further; post in this "
        "thread to let them go on.",
        max_runs, max_runs == 1 ? "time" : "times");
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

bool notice_is_ours(const json_t *message)
{
    const char *content = json_guard_string(message, "content");
    return content != NULL &&
           (begins_with(content, notice_beginning) || begins_with(content, limit_note_beginning));
}
