/*
 * An agent works through its wishes (agent_words.c): those that belong together go into one answer,
 * as several calls, and it goes on when their results have come. A wish for a tool that it does not
 * see is not called but reported, except that of asking a colleague, who can be mentioned instead.
 *
 * With the gateway's default configuration a model sees no client tool. It reaches one by
 * tool_call, with the tool's name, so the agent has to have read about both in its instructions or
 * in its input.
 */
#include "agent_turn.h"

#include <ctype.h>
#include <string.h>

#include "agent_report.h"
#include "base/json.h"
#include "gateway_call.h"
#include "memory.h"

static bool is_part_of_word(char character)
{
    return isalnum((unsigned char)character) || character == '_';
}

/* Whether word stands in a text on its own; not in one that is NULL. */
static bool reads_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text == NULL ? NULL : strstr(text, word); at != NULL;
         at = strstr(at + 1, word))
        if ((at == text || !is_part_of_word(at[-1])) && !is_part_of_word(at[length]))
            return true;
    return false;
}

/* Whether the agent has read about a word, in this run or in what its work began with. */
static bool has_read(
    const struct agent_memory *memory, const struct agent_view *view, const char *word)
{
    return reads_word(view->instructions, word) || reads_word(memory->input, word);
}

static bool offers(const json_t *tools, const char *name)
{
    size_t index;
    const json_t *tool;
    json_array_foreach (tools, index, tool) {
        if (json_guard_is(tool, "name", name, ""))
            return true;
    }
    return false;
}

/* Why the agent does not know of a tool; NULL: it does. */
static const char *why_unknown(
    const struct agent_memory *memory, const struct agent_view *view, const char *name)
{
    if (!offers(view->tools, name))
        return "I have no such tool";
    if (view->searches && (!has_read(memory, view, name) || !has_read(memory, view, "tool_call")))
        return "nobody told me how to call it";
    return NULL;
}

/* Appends the number of the run to the texts that end up on the board, which tells them apart. */
static void number_texts(json_t *arguments, uint64_t run)
{
    static const char *const keys[] = {"title", "content", "message", "reason", "blockedReason"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = json_guard_string(arguments, keys[i]);
        struct text text = {0};
        if (value == NULL)
            continue;
        text_printf(&text, "%s [run %ju]", value, (uintmax_t)run);
        json_object_set_new(arguments, keys[i], memory_json_text(text.data));
        text_fini(&text);
    }
}

/* Makes the call of a wish, or notes why it cannot be made. */
static void try_call(
    struct agent_memory *memory, const struct agent_view *view, json_t *wish, json_t *calls)
{
    const char *name = json_guard_string(wish, "name");
    json_t *arguments = json_object_get(wish, "arguments");
    const char *unknown = why_unknown(memory, view, name);
    struct text told = {0};
    if (unknown != NULL && strcmp(name, "response_request") == 0)
        return;
    if (unknown != NULL) {
        agent_memory_tell(memory, name, arguments, unknown);
        return;
    }
    if (view->numbers)
        number_texts(arguments, memory->first_run);
    if (gateway_call_check(view->tools, name, arguments, !view->searches, &told))
        json_array_append_new(
            calls, memory_json(json_pack("{s:s, s:O}", "name", name, "arguments", arguments)));
    else
        agent_memory_tell(memory, name, arguments, told.data);
    text_fini(&told);
}

json_t *agent_turn_calls(struct agent_memory *memory, const struct agent_view *view)
{
    json_t *calls = memory_json(json_array());
    while (json_array_size(memory->wishes) > 0) {
        json_t *wish = json_array_get(memory->wishes, 0);
        if (json_array_size(calls) > 0 && json_is_true(json_object_get(wish, "later")))
            break;
        json_incref(wish);
        json_array_remove(memory->wishes, 0);
        try_call(memory, view, wish, calls);
        json_decref(wish);
    }
    if (json_array_size(calls) > 0)
        return calls;
    json_decref(calls);
    return NULL;
}

char *agent_turn_text(const struct agent_memory *memory, const struct agent_view *view)
{
    struct agent_work work = {0};
    agent_report(memory->ended, &work);
    char *reply = agent_reply(
        view->agent, memory->input == NULL ? view->input : memory->input, view->chatty, &work);
    text_fini(&work.done);
    text_fini(&work.artifacts);
    text_fini(&work.problems);
    return reply;
}
