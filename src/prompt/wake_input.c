/*
 * A wake-up has no instructions, since there is no notification that they could be about. So its
 * message has everything: what to do, what the agent can do on the board and how, its tasks, and
 * what was last said about the first of them. Labels, order and limits are an interface, as those
 * of input.c.
 *
 * The words of others stand on lines of ours (framing_append_line), so none of theirs can be taken
 * for one. They may still name another task's id; the runtime posts only to tasks that it has shown
 * (wake_board.c).
 */
#include "prompt/wake_input.h"

#include "base/json.h"
#include "base/sync.h"
#include "prompt/framing.h"
#include "prompt/input.h"

/* In UTF-16 units. */
enum {
    TASK_TITLE_LIMIT = 500,
    TASK_DESCRIPTION_LIMIT = 240,
    UPDATE_LIMIT = 220,
    FOLLOW_UP_TITLE_LIMIT = 300,
};

/* A field on the line, or what stands for it when it is blank. */
static void append_line_or(struct text *text, const json_t *object, const char *key,
    size_t limit_units, const char *otherwise)
{
    size_t before_bytes = text->length_bytes;
    framing_append_line(text, json_guard_text(object, key), limit_units);
    if (text->length_bytes == before_bytes)
        text_append(text, otherwise);
}

static void append_task_title(struct text *text, const json_t *task)
{
    append_line_or(text, task, "title", TASK_TITLE_LIMIT, "(untitled)");
}

static void append_task_line(struct text *text, const json_t *task)
{
    text_append(text, "- ");
    append_task_title(text, task);
    text_append(text, " (");
    framing_append_field(text, task, "status");
    text_append(text, ") — Task ID: ");
    framing_append_field(text, task, "_id");
    struct text_span description = json_guard_text(task, "description");
    if (text_trim(description.bytes, description.length_bytes).length_bytes > 0) {
        text_append(text, " — ");
        framing_append_line(text, description, TASK_DESCRIPTION_LIMIT);
    }
    text_append(text, "\n");
}

static void append_tasks(struct text *text, const struct wake_prompt *wake)
{
    size_t index;
    const json_t *task;
    text_printf(text, "\n%s tasks:\n", wake->is_orchestrator ? "Tracked" : "Assigned");
    json_array_foreach (wake->tasks, index, task)
        append_task_line(text, task);
    if (json_array_size(wake->tasks) == 0)
        text_append(text, "- None\n");
}

static void append_update(struct text *text, const json_t *message)
{
    int64_t created_at_ms;
    char when[CLOCK_ISO_BYTES] = "unknown time";
    struct text_span author = json_guard_text(message, "authorName");
    if (json_guard_time_ms(message, "createdAt", 0, &created_at_ms))
        clock_iso(created_at_ms, when);
    if (text_trim(author.bytes, author.length_bytes).length_bytes == 0)
        author = json_guard_text(message, "authorId");
    text_append(text, "- ");
    framing_append_line(text, author, FRAMING_NO_LIMIT);
    text_append(text, " [");
    framing_append_field(text, message, "authorType");
    text_printf(text, "] (%s): ", when);
    append_line_or(text, message, "content", UPDATE_LIMIT, "(empty)");
    text_append(text, "\n");
}

static void append_updates(struct text *text, const json_t *thread)
{
    size_t index;
    const json_t *message;
    text_append(text, "\nRecent focus task thread updates:\n");
    json_array_foreach (thread, index, message)
        append_update(text, message);
    if (json_array_size(thread) == 0)
        text_append(text, "- None\n");
}

static void append_focus(struct text *text, const struct wake_prompt *wake)
{
    if (wake->focus == NULL) {
        text_printf(text, "\nNo %s tasks found.\n", wake->is_orchestrator ? "tracked" : "assigned");
        return;
    }
    text_append(text, "\nFocus Task ID: ");
    framing_append_field(text, wake->focus, "_id");
    text_append(text, " (");
    append_task_title(text, wake->focus);
    text_append(text, ")\n");
}

static void append_orchestrator_action(struct text *text, const struct board_access *access)
{
    if (board_access_append_rule(text, access, "response_request",
            "- Follow up on up to three of the tracked tasks, those that have stood still longest: "
            "ask their assignees with ",
            ", and in no other way. Leave your own tasks and those without assignees out.\n"))
        return;
    text_append(text,
        "- Look for the tracked task that has stood still longest, and say what should happen to "
        "it next, and who should do it.\n");
}

static void append_duties(struct text *text, const struct wake_prompt *wake)
{
    text_append(text,
        "## Heartbeat Check\n"
        "\n"
        "Follow HEARTBEAT.md in your workspace.\n"
        "- First load your context: AGENTS.md, MEMORY.md, memory/WORKING.md and today's file in "
        "memory/.\n"
        "- Before you end, write what you will need the next time into memory/WORKING.md, what "
        "happened into today's file, and what stays true into MEMORY.md.\n");
    if (wake->is_orchestrator)
        append_orchestrator_action(text, &wake->access);
    else
        text_append(text,
            "- Take one concrete action: the next step of the focus task, or of another assigned "
            "task that is more urgent. If something blocks it, say what.\n");
    text_append(text,
        "- Do not narrate what you read or are about to do; write what you did and what follows "
        "from it.\n"
        "- If there is nothing to do, answer with the single token HEARTBEAT_OK and nothing "
        "else.\n"
        "- Any other answer is posted in the thread of a task. Include a line \"Task ID: <id>\" "
        "that says of which one of those below; without it, it is posted to the focus task.\n");
}

void wake_input_append(struct text *text, const struct wake_prompt *wake)
{
    char now[CLOCK_ISO_BYTES];
    clock_iso(wake->wall_ms, now);
    append_duties(text, wake);
    text_append(text, "\n");
    board_access_append(text, &wake->access);
    board_access_append_routing(text, &wake->access);
    append_tasks(text, wake);
    append_updates(text, wake->thread);
    append_focus(text, wake);
    if (wake->changed_before != NULL)
        text_append(text, "\n");
    input_append_changes(text, wake->changed_before, "heartbeat");
    text_printf(text, "\nCurrent time: %s", now);
}

void wake_follow_up_append(struct text *text, const json_t *task, int64_t minutes)
{
    text_append(text, "Heartbeat follow-up: no assignee has written about \"");
    framing_append_line(text, json_guard_text(task, "title"), FOLLOW_UP_TITLE_LIMIT);
    text_printf(text,
        "\" for about %lld %s. Please post in the thread how far you are, or what blocks you.",
        (long long)minutes, minutes == 1 ? "minute" : "minutes");
}
