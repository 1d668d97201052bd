/*
 * The simulated agent: a pure function from an input to a reply. It reads the fields that the
 * runtime's prompts have by the lines that introduce them ("## Notification: ", "Task: ", ...), in
 * the forms of both backend versions, so a prompt that loses one of them shows up as a poorer reply
 * on the board.
 *
 * It never answers a colleague's plain thread update: two agents that did would answer each other
 * without end. The gateway's setting gateway_chatty lifts that, for the tests of the runtime's
 * loop guard.
 */
#include "agent.h"

#include <ctype.h>
#include <strings.h>

#include "base/text.h"
#include "memory.h"

enum { QUOTE_LIMIT_BYTES = 280 };

static const char no_response[] = "No response from OpenClaw.";

/*
 * Returns the text after the last occurrence of marker, up to end or the end of input; owned, NULL
 * when there is no marker. The last one counts because a message may quote an earlier prompt.
 */
static char *extract_between(const char *input, const char *marker, const char *end)
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
    char *id = extract_between(input, "Notification ID: ", "\n");
    if (id != NULL)
        id[strcspn(id, " \t\r")] = '\0';
    return id;
}

/* Returns the name after "ask " in a message, owned, or NULL. */
static char *find_colleague(const char *message, const char *agent)
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

/* Returns the content of the message in the prompt of version 1, owned, or NULL. */
static char *extract_message_v1(const char *input)
{
    char *block = extract_between(input, "\n===== LATEST THREAD MESSAGE START =====\n",
        "\n===== LATEST THREAD MESSAGE END =====");
    char *message =
        block == NULL ? NULL : extract_between(block, "\nMessage content:\n", "\n=====");
    free(block);
    return message;
}

/* The fields of a notification prompt. Strings are owned, NULL when absent. */
struct agent_input {
    char *type;
    char *task;
    char *message;
    char *author;
    char *notification_id;
};

static void parse_input(const char *input, struct agent_input *agent_input)
{
    agent_input->type = extract_between(input, "## Notification: ", "\n");
    agent_input->task = extract_between(input, "\nTask: ", "\n");
    agent_input->message = extract_between(input, "\nLatest message:\n", "\n\nMessage author:");
    if (agent_input->message == NULL)
        agent_input->message = extract_message_v1(input);
    agent_input->author = extract_between(input, "\nMessage author: ", "\n");
    agent_input->notification_id = agent_notification_id(input);
}

static void agent_input_fini(struct agent_input *agent_input)
{
    free(agent_input->type);
    free(agent_input->task);
    free(agent_input->message);
    free(agent_input->author);
    free(agent_input->notification_id);
}

/* Quotes the message on one line, without any @, which would notify people again. */
static void write_quote(struct text *reply, const char *message)
{
    size_t length = text_utf8_cut(message, strlen(message), QUOTE_LIMIT_BYTES);
    text_append(reply, "\"");
    for (size_t i = 0; i < length; i++)
        if (message[i] != '@')
            text_append_bytes(reply, message[i] == '\n' ? " " : &message[i], 1);
    text_append(reply, message[length] == '\0' ? "\"" : "...\"");
}

/* Whether the notification's message was written by that type of author ("user", "agent"). */
static bool is_written_by(const struct agent_input *agent_input, const char *type)
{
    return agent_input->author != NULL && strncmp(agent_input->author, type, strlen(type)) == 0;
}

/* Writes the six sections that the prompt requires. */
static void write_reply(struct text *reply, const struct agent_input *agent_input,
    const char *agent, const char *colleague)
{
    const char *task = agent_input->task == NULL ? "a task that is gone" : agent_input->task;
    text_printf(reply, "**Summary**\n%s here. I looked at %s.", agent, task);
    if (agent_input->message != NULL && is_written_by(agent_input, "user")) {
        text_append(reply, " You wrote: ");
        write_quote(reply, agent_input->message);
    } else if (agent_input->message != NULL) {
        text_append(reply, " A colleague brought me in.");
    }
    text_printf(reply, "\n\n**Work done**\n- Read the %s notification and the task.",
        agent_input->type == NULL ? "(unknown)" : agent_input->type);
    text_append(reply, "\n\n**Artifacts**\n- None, this is the sandbox.");
    text_append(reply, "\n\n**Risks / blockers**\n- None known.");
    if (colleague != NULL)
        text_printf(reply, "\n\n**Next step**\n- @%s, please take it from here.", colleague);
    else
        text_append(reply, "\n\n**Next step**\n- Tell me what you want to see next.");
    text_printf(reply, "\n\n**Sources**\n- Notification %s",
        agent_input->notification_id == NULL ? "(none)" : agent_input->notification_id);
}

/* A colleague's words need no answer unless they mention this agent. */
static bool needs_no_answer(const struct agent_input *agent_input)
{
    return is_written_by(agent_input, "agent") && agent_input->type != NULL &&
           strcmp(agent_input->type, "thread_update") == 0;
}

/* What an agent says once its calls of tools have results, which it quotes. */
static char *reply_to_results(const char *input)
{
    struct text reply = {0};
    text_append(&reply, "Done. ");
    write_quote(&reply, input);
    return text_take(&reply);
}

char *agent_reply(const char *agent, const char *input, bool chatty)
{
    struct text_span trimmed = text_trim(input, strlen(input));
    if (trimmed.length_bytes >= 12 && strncmp(trimmed.bytes, "## Heartbeat", 12) == 0)
        return memory_copy("HEARTBEAT_OK");
    if (strncmp(input, "Tool:", 5) == 0)
        return reply_to_results(input);
    struct agent_input agent_input = {0};
    parse_input(input, &agent_input);
    struct text reply = {0};
    char *colleague = is_written_by(&agent_input, "user") && agent_input.message != NULL
                          ? find_colleague(agent_input.message, agent)
                          : NULL;
    if (needs_no_answer(&agent_input) && !chatty)
        text_append(&reply, no_response);
    else
        write_reply(&reply, &agent_input, agent, colleague);
    free(colleague);
    agent_input_fini(&agent_input);
    return text_take(&reply);
}
