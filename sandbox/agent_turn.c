/*
 * An agent works through its wishes (agent_words.c): those that belong together go into one answer,
 * as several calls, and it goes on when their results have come. A wish for a tool that it does not
 * see is not called but reported, except that of asking a colleague, who can be mentioned instead.
 *
 * With the gateway's default configuration a model sees no client tool. It reaches one by
 * tool_call, with the tool's name, so the agent has to have read about both in its instructions or
 * in its input.
 *
 * Where it has no tools at all but was told the address of the agents' HTTP API, it makes the
 * requests itself, all within one run.
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

/* Appends the numbers of run and call to the texts that end up on the board. */
static void number_texts(struct agent_memory *memory, json_t *arguments)
{
    static const char *const keys[] = {"title", "content", "message", "reason", "blockedReason"};
    memory->calls++;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = json_guard_string(arguments, keys[i]);
        struct text text = {0};
        if (value == NULL)
            continue;
        text_printf(&text, "%s [call %ju.%u]", value, (uintmax_t)memory->first_run, memory->calls);
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
        number_texts(memory, arguments);
    if (gateway_call_check(view->tools, name, arguments, !view->searches, &told))
        json_array_append_new(
            calls, memory_json(json_pack("{s:s, s:O}", "name", name, "arguments", arguments)));
    else
        agent_memory_tell(memory, name, arguments, told.data);
    text_fini(&told);
}

static json_t *calls_or_null(json_t *calls)
{
    if (json_array_size(calls) > 0)
        return calls;
    json_decref(calls);
    return NULL;
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
    return calls_or_null(calls);
}

/* Whether a text names the path, and not only as the beginning of another. */
static bool reads_path(const char *text, const char *path)
{
    size_t length = strlen(path);
    for (const char *at = strstr(text, path); at != NULL; at = strstr(at + 1, path))
        if (!is_part_of_word(at[length]) && at[length] != '-')
            return true;
    return false;
}

json_t *agent_turn_requests(
    struct agent_memory *memory, const struct agent_view *view, struct errand_access *access)
{
    json_t *requests = memory_json(json_array());
    size_t index;
    json_t *wish;
    if (view->tools != NULL || !agent_errand_find_access(view->instructions, access))
        return calls_or_null(requests);
    json_array_foreach (memory->wishes, index, wish) {
        char path[ERRAND_PATH_BYTES];
        const char *name = json_guard_string(wish, "name");
        agent_errand_path(name, path);
        if (view->numbers)
            number_texts(memory, json_object_get(wish, "arguments"));
        if (reads_path(view->instructions, path))
            json_array_append(requests, wish);
        else
            agent_memory_tell(
                memory, name, json_object_get(wish, "arguments"), "I know no endpoint for it");
    }
    json_array_clear(memory->wishes);
    return calls_or_null(requests);
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
