/*
 * What a simulated agent says: a pure function from an input, and from what the agent has done with
 * its tools (agent_turn.c), to a reply.
 *
 * It never answers a colleague's plain thread update: two agents that did would answer each other
 * without end. The gateway's setting gateway_chatty lifts that, for the tests of the runtime's
 * loop guard.
 */
#include "agent.h"

#include <ctype.h>
#include <strings.h>

#include "agent_input.h"
#include "memory.h"

enum { QUOTE_LIMIT_BYTES = 280 };

static const char no_response[] = "No response from OpenClaw.";

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

void agent_append_quoted(struct text *reply, const char *message)
{
    size_t length = text_utf8_cut(message, strlen(message), QUOTE_LIMIT_BYTES);
    text_append(reply, "\"");
    for (size_t i = 0; i < length; i++)
        if (message[i] != '@')
            text_append_bytes(reply, message[i] == '\n' ? " " : &message[i], 1);
    text_append(reply, message[length] == '\0' ? "\"" : "...\"");
}

static void write_summary(
    struct text *reply, const struct agent_input *agent_input, const char *agent)
{
    const char *task = agent_input->task == NULL ? "a task that is gone" : agent_input->task;
    text_printf(reply, "**Summary**\n%s here. I looked at %s.", agent, task);
    if (agent_input->message != NULL && agent_input_is_by(agent_input, "user")) {
        text_append(reply, " You wrote: ");
        agent_append_quoted(reply, agent_input->message);
    } else if (agent_input->message != NULL) {
        text_append(reply, " A colleague brought me in.");
    }
}

/* A section with lines of work, or with one line instead. */
static void write_section(
    struct text *reply, const char *heading, const struct text *lines, const char *otherwise)
{
    text_printf(reply, "\n\n**%s**\n", heading);
    if (lines->length_bytes > 0)
        text_append_bytes(reply, lines->data, lines->length_bytes - 1);
    else
        text_append(reply, otherwise);
}

/* Writes the six sections that the prompt requires. */
static void write_reply(struct text *reply, const struct agent_input *agent_input,
    const char *agent, const char *colleague, const struct agent_work *work)
{
    write_summary(reply, agent_input, agent);
    text_printf(reply, "\n\n**Work done**\n- Read the %s notification and the task.",
        agent_input->type == NULL ? "(unknown)" : agent_input->type);
    if (work->done.length_bytes > 0) {
        text_append(reply, "\n");
        text_append_bytes(reply, work->done.data, work->done.length_bytes - 1);
    }
    write_section(reply, "Artifacts", &work->artifacts, "- None, this is the sandbox.");
    write_section(reply, "Risks / blockers", &work->problems, "- None known.");
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
    return agent_input_is_by(agent_input, "agent") && agent_input->type != NULL &&
           strcmp(agent_input->type, "thread_update") == 0;
}

/* What an agent says to results of calls that it knows nothing about: it quotes them. */
static char *reply_to_results(const char *input)
{
    struct text reply = {0};
    text_append(&reply, "Done. ");
    agent_append_quoted(&reply, input);
    return text_take(&reply);
}

char *agent_reply(const char *agent, const char *input, bool chatty, const struct agent_work *work)
{
    struct text_span trimmed = text_trim(input, strlen(input));
    if (trimmed.length_bytes >= 12 && strncmp(trimmed.bytes, "## Heartbeat", 12) == 0)
        return memory_copy("HEARTBEAT_OK");
    if (strncmp(input, "Tool:", 5) == 0)
        return reply_to_results(input);
    struct agent_input agent_input = {0};
    agent_input_read(input, &agent_input);
    struct text reply = {0};
    bool hears_user = agent_input_is_by(&agent_input, "user") && agent_input.message != NULL;
    char *colleague =
        hears_user && !work->has_asked ? find_colleague(agent_input.message, agent) : NULL;
    if (needs_no_answer(&agent_input) && !chatty)
        text_append(&reply, no_response);
    else
        write_reply(&reply, &agent_input, agent, colleague, work);
    free(colleague);
    agent_input_fini(&agent_input);
    return text_take(&reply);
}
