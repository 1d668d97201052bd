/*
 * Reads the fields of a prompt by the lines that introduce them ("## Notification: ", "Task: ",
 * ...), in the forms of both backend versions, so a prompt that loses one of them shows up as a
 * poorer reply on the board. Of several such lines the last one counts, because a message may quote
 * an earlier prompt.
 */
#include "agent_input.h"

#include "base/text.h"
#include "memory.h"

/*
 * Returns the text after the last occurrence of marker, up to end or the end of input; owned, NULL
 * when there is no marker.
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

char *agent_input_changes(const char *input)
{
    return extract_between(input, "do not repeat what has been done:\n", "\n\n");
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

void agent_input_read(const char *input, struct agent_input *agent_input)
{
    agent_input->type = extract_between(input, "## Notification: ", "\n");
    agent_input->task = extract_between(input, "\nTask: ", "\n");
    agent_input->task_id = extract_between(input, "\nTask ID: ", "\n");
    agent_input->message = extract_between(input, "\nLatest message:\n", "\n\nMessage author:");
    if (agent_input->message == NULL)
        agent_input->message = extract_message_v1(input);
    agent_input->author = extract_between(input, "\nMessage author: ", "\n");
    agent_input->notification_id = agent_notification_id(input);
}

void agent_input_fini(struct agent_input *agent_input)
{
    free(agent_input->type);
    free(agent_input->task);
    free(agent_input->task_id);
    free(agent_input->message);
    free(agent_input->author);
    free(agent_input->notification_id);
    *agent_input = (struct agent_input){0};
}

bool agent_input_is_by(const struct agent_input *agent_input, const char *type)
{
    return agent_input->author != NULL && strncmp(agent_input->author, type, strlen(type)) == 0;
}
