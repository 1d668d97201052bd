#include "agent.h"

#include <ctype.h>
#include <strings.h>

#include "base/text.h"
#include "memory.h"

enum { QUOTE_LIMIT_BYTES = 280 };

static const char silence[] = "No response from OpenClaw.";

/* The text behind the last occurrence of marker up to end (or the end of input); owned or NULL. */
static char *between(const char *input, const char *marker, const char *end)
{
    const char *start = NULL;
    for (const char *at = strstr(input, marker); at != NULL; at = strstr(at + 1, marker))
        start = at + strlen(marker);
    if (start == NULL)
        return NULL;
    const char *stop = strstr(start, end);
    size_t length = stop == NULL ? strlen(start) : (size_t)(stop - start);
    struct text_span span = text_trim(start, length);
    return memory_copy_bytes(span.bytes, span.length_bytes);
}

char *agent_notification_id(const char *input)
{
    char *id = between(input, "Notification ID: ", "\n");
    if (id != NULL)
        id[strcspn(id, " \t\r")] = '\0';
    return id;
}

/* The name behind "ask " in a message, owned, or NULL. */
static char *colleague_in(const char *message, const char *agent)
{
    for (const char *at = message; *at != '\0'; at++) {
        bool starts = at == message || !isalnum((unsigned char)at[-1]);
        if (!starts || strncasecmp(at, "ask ", 4) != 0)
            continue;
        const char *name = at + 4 + (at[4] == '@');
        size_t length = 0;
        while (isalnum((unsigned char)name[length]) || name[length] == '_')
            length++;
        char *colleague = memory_copy_bytes(name, length);
        if (length > 0 && strcasecmp(colleague, agent) != 0)
            return colleague;
        free(colleague);
    }
    return NULL;
}

/* What the agent understood of a notification. Strings are owned, NULL when absent. */
struct reading {
    char *type;
    char *task;
    char *message;
    char *author;
    char *notification_id;
};

static void read_input(const char *input, struct reading *reading)
{
    reading->type = between(input, "## Notification: ", "\n");
    reading->task = between(input, "\nTask: ", "\n");
    reading->message = between(input, "\nLatest message:\n", "\n\nMessage author:");
    reading->author = between(input, "\nMessage author: ", "\n");
    reading->notification_id = agent_notification_id(input);
}

static void free_reading(struct reading *reading)
{
    free(reading->type);
    free(reading->task);
    free(reading->message);
    free(reading->author);
    free(reading->notification_id);
}

/* Quotes the message in one line, without the @ that would notify people again. */
static void write_quote(struct text *reply, const char *message)
{
    size_t length = text_utf8_cut(message, strlen(message), QUOTE_LIMIT_BYTES);
    text_append(reply, "\"");
    for (size_t i = 0; i < length; i++)
        if (message[i] != '@')
            text_append_bytes(reply, message[i] == '\n' ? " " : &message[i], 1);
    text_append(reply, message[length] == '\0' ? "\"" : "...\"");
}

/* Whether the message that the notification is about was written by that type of author. */
static bool is_by(const struct reading *reading, const char *type)
{
    return reading->author != NULL && strncmp(reading->author, type, strlen(type)) == 0;
}

static void write_reply(
    struct text *reply, const struct reading *reading, const char *agent, const char *colleague)
{
    const char *task = reading->task == NULL ? "a task that is gone" : reading->task;
    text_printf(reply, "**Summary**\n%s here. I looked at %s.", agent, task);
    if (reading->message != NULL && is_by(reading, "user")) {
        text_append(reply, " You wrote: ");
        write_quote(reply, reading->message);
    } else if (reading->message != NULL) {
        text_append(reply, " A colleague brought me in.");
    }
    text_printf(reply, "\n\n**Work done**\n- Read the %s notification and the task.",
        reading->type == NULL ? "(unknown)" : reading->type);
    text_append(reply, "\n\n**Artifacts**\n- None, this is the sandbox.");
    text_append(reply, "\n\n**Risks / blockers**\n- None known.");
    if (colleague != NULL)
        text_printf(reply, "\n\n**Next step**\n- @%s, please take it from here.", colleague);
    else
        text_append(reply, "\n\n**Next step**\n- Tell me what you want to see next.");
    text_printf(reply, "\n\n**Sources**\n- Notification %s",
        reading->notification_id == NULL ? "(none)" : reading->notification_id);
}

/* A colleague's words need no answer unless they mention this agent. */
static bool needs_no_answer(const struct reading *reading)
{
    return is_by(reading, "agent") && reading->type != NULL &&
           strcmp(reading->type, "thread_update") == 0;
}

char *agent_reply(const char *agent, const char *input, bool chatty)
{
    struct text_span trimmed = text_trim(input, strlen(input));
    if (trimmed.length_bytes >= 12 && strncmp(trimmed.bytes, "## Heartbeat", 12) == 0)
        return memory_copy("HEARTBEAT_OK");
    struct reading reading = {0};
    read_input(input, &reading);
    struct text reply = {0};
    char *colleague = is_by(&reading, "user") && reading.message != NULL
                          ? colleague_in(reading.message, agent)
                          : NULL;
    if (needs_no_answer(&reading) && !chatty)
        text_append(&reply, silence);
    else
        write_reply(&reply, &reading, agent, colleague);
    free(colleague);
    free_reading(&reading);
    return text_take(&reply);
}
