/*
 * Writes the part of docs/agent-tools.md that describes each tool, from the table of tools. A unit
 * test compares both, and writes the file again when it is told to
 * (test/unit/agent_api_docs_test.c).
 */
#include "agent_api.h"

#include <string.h>

static const char *type_words(const struct tool_parameter *parameter)
{
    switch (parameter->type) {
    case PARAMETER_NUMBER:
    case PARAMETER_LIMIT:
        return "number";
    case PARAMETER_PRIORITY:
        return "number or word";
    case PARAMETER_TEXTS:
        return "array of texts";
    case PARAMETER_ID:
        return "id";
    case PARAMETER_TEXT:
    case PARAMETER_WORD:
        break;
    }
    return "text";
}

static void append_parameter_row(struct text *text, const struct tool_parameter *parameter)
{
    text_printf(text, "| `%s`%s | ", parameter->name, parameter->required ? " *" : "");
    if (parameter->type == PARAMETER_WORD)
        for (const char *const *word = parameter->words; *word != NULL; word++)
            text_printf(text, "%s`%s`", word == parameter->words ? "" : ", ", *word);
    else
        text_append(text, type_words(parameter));
    text_printf(text, " | %s", parameter->description);
    if (parameter->type == PARAMETER_TEXT && parameter->max > 0 && !parameter->too_long)
        text_printf(text, "; at most %.0f characters", parameter->max);
    text_append(text, " |\n");
}

static void append_answer(struct text *text, const char *answer)
{
    if (answer[0] == '\0') {
        text_append(text, "nothing more");
        return;
    }
    for (size_t i = 0; *answer != '\0'; i++) {
        size_t name = strcspn(answer, "?:");
        text_printf(text, "%s`%.*s`%s", i == 0 ? "" : ", ", (int)name, answer,
            answer[name] == '?' ? " (not always)" : "");
        answer += strcspn(answer, " ");
        answer += strspn(answer, " ");
    }
}

static void append_example(struct text *text, const struct tool *tool)
{
    if (tool->path == NULL) {
        text_printf(text, "Example: `%s`\n", tool->example);
        return;
    }
    text_printf(text,
        "```sh\ncurl -sS \"$BASE_URL%s\" \\\n    -H \"x-openclaw-session-key: $SESSION_KEY\" -H "
        "'content-type: application/json' \\\n    -d '%s'\n```\n",
        tool->path, tool->example);
}

static void append_tool(struct text *text, const struct tool *tool)
{
    text_printf(
        text, "\n### %s\n\n%s\n\n- For %s.\n", tool->name, tool->description, tool->offered_to);
    if (tool->path != NULL)
        text_printf(text, "- Endpoint: `POST %s`.\n", tool->path);
    else
        text_append(text, "- It has no endpoint.\n");
    text_append(text, "- A success has ");
    append_answer(text, tool->answer);
    if (tool->http_answer != NULL) {
        text_append(text, "; over HTTP ");
        append_answer(text, tool->http_answer);
    }
    text_append(text, ".\n\n| argument | type | meaning |\n|---|---|---|\n");
    for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++)
        append_parameter_row(text, each);
    text_append(text, "\n");
    append_example(text, tool);
}

void agent_api_append_tools(struct text *text, const struct tool_catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++)
        append_tool(text, &catalog->tools[i]);
}
