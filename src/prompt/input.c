/*
 * The input is the notification with everything that belongs to it, from the most to the least
 * important: what it says, the message that asks for an answer, then the context in a block of its
 * own (task, documents, board, thread, people), and what form the reply should have. Its lines,
 * labels, order and limits are an interface, as agents' own instructions refer to them
 * (docs/protocol.md, "What an agent is told"). Parts that are absent leave no line.
 *
 * Everything that comes from the board passes through framing.h. Parts without a line that ends
 * them, such as a description, cannot run into the next part, because its label would be escaped;
 * in the history, which is a list, later lines of a message are indented.
 */
#include "prompt/input.h"

#include <string.h>

#include "base/json.h"
#include "base/sync.h"
#include "prompt/framing.h"

/* In UTF-16 units. */
enum {
    TITLE_LIMIT = 500,
    BODY_LIMIT = 15000,
    DOCUMENT_LIMIT = 4000,
    HISTORY_LIMIT = 1500,
};

/* How many are shown. */
enum { MAX_HISTORY = 25, MAX_AGENTS = 25 };

static const double MAX_COUNT = 1e9;

static void append_label(struct text *text, enum prompt_label label)
{
    text_append(text, prompt_labels[label]);
}

/* A line of a label and a field. */
static void append_labelled(
    struct text *text, enum prompt_label label, const json_t *object, const char *key)
{
    append_label(text, label);
    text_append(text, " ");
    framing_append_field(text, object, key);
    text_append(text, "\n");
}

/* Lines of a field; "(empty)" when it has none. */
static void append_content(struct text *text, const json_t *object, const char *key, size_t limit)
{
    if (!framing_append_lines(text, json_guard_text(object, key), limit, ""))
        text_append(text, "(empty)");
    text_append(text, "\n");
}

static bool is_blank_field(const json_t *object, const char *key)
{
    struct text_span field = json_guard_text(object, key);
    return text_trim(field.bytes, field.length_bytes).length_bytes == 0;
}

/* A whole number that is not negative; 0 when it is none. */
static unsigned read_count(const json_t *object, const char *key)
{
    double number = 0;
    json_guard_number(json_object_get(object, key), 0, MAX_COUNT, &number);
    return (unsigned)number;
}

static void append_author(struct text *text, enum prompt_label label, const json_t *message)
{
    append_label(text, label);
    text_append(text, " ");
    framing_append_field(text, message, "authorType");
    text_append(text, " (");
    framing_append_field(text, message, "authorId");
    text_append(text, ")\n");
}

static void append_notification(struct text *text, const json_t *notification)
{
    append_labelled(text, LABEL_NOTIFICATION, notification, "type");
    text_append(text, "**");
    framing_append_line(text, json_guard_text(notification, "title"), TITLE_LIMIT);
    text_append(text, "**\n");
    framing_begin(text, BLOCK_BODY);
    append_content(text, notification, "body", BODY_LIMIT);
    framing_end(text, BLOCK_BODY);
}

/* The message that asks for an answer, whole; a request for a response has it in the body. */
static void append_request(struct text *text, const struct delivery_context *context)
{
    bool asks = context->type == NOTIFICATION_THREAD_UPDATE ||
                context->type == NOTIFICATION_MENTION ||
                context->type == NOTIFICATION_RESPONSE_REQUEST;
    if (!asks || is_blank_field(context->message, "content"))
        return;
    text_append(text, "\n");
    framing_begin(text, BLOCK_REQUEST);
    append_author(text, LABEL_AUTHOR, context->message);
    append_label(text, LABEL_CONTENT);
    text_append(text, "\n");
    append_content(text, context->message, "content", FRAMING_NO_LIMIT);
    framing_end(text, BLOCK_REQUEST);
    text_append(text, "\n");
}

/* A label on a line of its own and a document under it; nothing when it is blank. */
static bool append_document(
    struct text *text, enum prompt_label label, const json_t *object, const char *key)
{
    if (is_blank_field(object, key))
        return false;
    append_label(text, label);
    text_append(text, "\n");
    append_content(text, object, key, DOCUMENT_LIMIT);
    return true;
}

static void append_task(struct text *text, const json_t *task)
{
    if (task == NULL)
        return;
    append_label(text, LABEL_TASK);
    text_append(text, " ");
    framing_append_field(text, task, "title");
    text_append(text, " (");
    framing_append_field(text, task, "status");
    text_append(text, ")\n");
    append_labelled(text, LABEL_TASK_ID, task, "_id");
    append_document(text, LABEL_DESCRIPTION, task, "description");
}

static void append_documents(struct text *text, const struct delivery_context *context)
{
    if (!append_document(text, LABEL_REPOSITORY, context->repository_doc, "content")) {
        append_label(text, LABEL_REPOSITORY);
        text_append(text,
            " not found. (It is the reference document \"Repository \xE2\x80\x94 Primary\" of the "
            "board.)\n");
    }
    append_document(text, LABEL_GLOBAL, context->briefing_doc, "content");
}

static bool is_list_character(char character)
{
    return character != '\0' && strchr("\",;()", character) != NULL;
}

/* A word as it is; in quotes when it has blanks, or characters that a list of names has. */
static void append_name(struct text *text, struct text_span name)
{
    bool quoted = name.length_bytes == 0;
    for (size_t i = 0; i < name.length_bytes; i++)
        quoted = quoted || text_blank_length(name.bytes + i, name.length_bytes - i) > 0 ||
                 is_list_character(name.bytes[i]);
    text_append(text, quoted ? "\"" : "");
    framing_append_line(text, name, FRAMING_NO_LIMIT);
    text_append(text, quoted ? "\"" : "");
}

/* What an assignee is called: its slug, else its name, else its id. */
static struct text_span assignee_name(const json_t *agents, const json_t *id)
{
    const json_t *agent = framing_find_agent(agents, json_string_value(id));
    struct text_span name = json_guard_text(agent, "slug");
    if (name.length_bytes == 0)
        name = json_guard_text(agent, "name");
    if (name.length_bytes == 0)
        name = (struct text_span){json_string_value(id), json_string_length(id)};
    return name;
}

static void append_assignees(struct text *text, const json_t *agents, const json_t *ids)
{
    const char *separator = "";
    size_t index;
    const json_t *id;
    text_append(text, "(assignees: ");
    json_array_foreach (ids, index, id) {
        if (!json_is_string(id))
            continue;
        text_append(text, separator);
        append_name(text, assignee_name(agents, id));
        separator = ", ";
    }
    text_append(text, separator[0] == '\0' ? "none)" : ")");
}

static void append_overview_task(struct text *text, const json_t *agents, const json_t *task)
{
    text_printf(text, "  - P%u ", read_count(task, "priority"));
    framing_append_field(text, task, "title");
    text_append(text, " [");
    framing_append_field(text, task, "taskId");
    text_append(text, "] ");
    append_assignees(text, agents, json_object_get(task, "assignedAgentIds"));
    text_printf(text, "; users=%zu\n", json_array_size(json_object_get(task, "assignedUserIds")));
}

static void append_totals(struct text *text, const json_t *totals)
{
    size_t index;
    const json_t *total;
    append_label(text, LABEL_TOTALS);
    json_array_foreach (totals, index, total) {
        text_append(text, index > 0 ? "; " : " ");
        framing_append_field(text, total, "status");
        text_printf(text, "=%u", read_count(total, "count"));
    }
    text_append(text, "\n");
}

/* The board at a glance, in the orchestrator's chat: a few tasks of each status. */
static void append_overview(struct text *text, const struct delivery_context *context)
{
    if (context->task_overview == NULL)
        return;
    append_totals(text, json_object_get(context->task_overview, "totals"));
    size_t index;
    const json_t *group;
    json_array_foreach (json_object_get(context->task_overview, "topTasks"), index, group) {
        const json_t *tasks = json_object_get(group, "tasks");
        if (json_array_size(tasks) == 0)
            continue;
        text_append(text, "- ");
        framing_append_field(text, group, "status");
        text_append(text, ":\n");
        size_t place;
        const json_t *task;
        json_array_foreach (tasks, place, task)
            append_overview_task(text, context->mentionable_agents, task);
    }
}

static void append_latest_message(struct text *text, const json_t *message)
{
    if (message == NULL)
        return;
    framing_begin(text, BLOCK_LATEST_MESSAGE);
    append_author(text, LABEL_MESSAGE_AUTHOR, message);
    append_labelled(text, LABEL_MESSAGE_ID, message, "_id");
    append_label(text, LABEL_MESSAGE_CONTENT);
    text_append(text, "\n");
    append_content(text, message, "content", FRAMING_NO_LIMIT);
    framing_end(text, BLOCK_LATEST_MESSAGE);
}

static void append_history_item(struct text *text, const json_t *item)
{
    int64_t created_at_ms;
    char when[CLOCK_ISO_BYTES] = "unknown time";
    if (json_guard_time_ms(item, "createdAt", 0, &created_at_ms))
        clock_iso(created_at_ms, when);
    text_printf(text, "- [%s] ", when);
    if (is_blank_field(item, "authorName")) {
        framing_append_field(text, item, "authorType");
        text_append(text, ":");
        framing_append_field(text, item, "authorId");
    } else {
        framing_append_field(text, item, "authorName");
    }
    text_append(text, ": ");
    if (!framing_append_lines(text, json_guard_text(item, "content"), HISTORY_LIMIT, "  "))
        text_append(text, "(empty)");
    text_append(text, "\n");
}

static void append_history(struct text *text, const json_t *thread)
{
    size_t count = json_array_size(thread);
    if (count == 0)
        return;
    framing_begin(text, BLOCK_HISTORY);
    text_append(text, "Recent messages of the thread, oldest first:\n");
    size_t omitted = count > MAX_HISTORY ? count - MAX_HISTORY : 0;
    if (omitted > 0)
        text_printf(text, "(... %zu older messages omitted)\n", omitted);
    for (size_t i = omitted; i < count; i++)
        append_history_item(text, json_array_get(thread, i));
    framing_end(text, BLOCK_HISTORY);
}

static void append_agent(struct text *text, const json_t *agent)
{
    text_append(text, "- ");
    framing_append_mention(text, agent);
    text_append(text, " - ");
    framing_append_field(text, agent, "name");
    text_append(text, " (");
    framing_append_field(text, agent, "role");
    text_append(text, ")\n");
}

/* Whom the recipient may ask, itself left out. */
static void append_agents(
    struct text *text, const struct delivery_context *context, const char *recipient_id)
{
    size_t shown = 0;
    size_t omitted = 0;
    size_t index;
    const json_t *agent;
    if (!context->flags.can_mention_agents)
        return;
    const json_t *recipient = framing_find_agent(context->mentionable_agents, recipient_id);
    json_array_foreach (context->mentionable_agents, index, agent) {
        if (!json_is_object(agent) || agent == recipient)
            continue;
        if (shown == MAX_AGENTS) {
            omitted++;
            continue;
        }
        if (shown++ == 0)
            text_printf(text, "%s\n", prompt_labels[LABEL_AGENTS]);
        append_agent(text, agent);
    }
    if (omitted > 0)
        text_printf(text, "- ... and %zu more\n", omitted);
}

static void append_primary_user(struct text *text, const json_t *user)
{
    if (is_blank_field(user, "name"))
        return;
    append_label(text, LABEL_PRIMARY_USER);
    text_append(text, "\n- @\"");
    framing_append_field(text, user, "name");
    text_append(text, "\" - ");
    framing_append_field(text, user, "name");
    text_append(text, "\n");
}

/*
 * A run that failed after it had called tools is repeated, so the agent has to know what it has
 * already done. Arguments and results may hold what others wrote.
 */
void input_append_changes(struct text *text, const json_t *changes, const char *of_what)
{
    size_t index;
    const json_t *change;
    if (changes == NULL)
        return;
    text_printf(text,
        "You have worked on this %s before, and the run was cut short. These tool calls of yours "
        "were made then; do not repeat what has been done:\n",
        of_what);
    json_array_foreach (changes, index, change) {
        text_append(text, "- ");
        framing_append_field(text, change, "name");
        text_append(text, " ");
        framing_append_field(text, change, "arguments");
        text_append(text, " -> ");
        framing_append_field(text, change, "output");
        text_append(text, "\n");
    }
}

static void append_form(
    struct text *text, const struct delivery_context *context, const struct prompt_run *run)
{
    if (context->type == NOTIFICATION_ASSIGNMENT)
        text_append(
            text, "Acknowledge the assignment in one or two sentences, and write nothing else.\n");
    else
        text_append(text,
            "Write your reply as it is to be posted in the thread. A substantive update has the "
            "sections **Summary**, **Work done**, **Artifacts**, **Risks**, **Next step** and "
            "**Sources**; for anything else one or two sentences are enough.\n");
    input_append_changes(text, run->changed_before, "notification");
    if (run->last_answer_empty)
        text_append(text,
            "Your last answer to this notification was empty. A person is waiting for one that "
            "can be seen: reply in words this time.\n");
}

void input_append(
    struct text *text, const struct delivery_context *context, const struct prompt_run *run)
{
    append_notification(text, context->notification);
    append_request(text, context);
    framing_begin(text, BLOCK_CONTEXT);
    append_task(text, context->task);
    append_documents(text, context);
    append_overview(text, context);
    append_latest_message(text, context->message);
    append_history(text, context->thread);
    append_agents(text, context, run->agent_id);
    append_primary_user(text, context->primary_user);
    framing_end(text, BLOCK_CONTEXT);
    append_form(text, context, run);
    text_append(text, "---\n");
    append_label(text, LABEL_NOTIFICATION_ID);
    text_append(text, " ");
    framing_append_field(text, context->notification, "_id");
    framing_trim_end(text);
}
