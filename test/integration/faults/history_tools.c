/*
 * With the setting gateway_numbers the texts of an agent's calls end with "[call N.K]", which names
 * the call. Two changes of the board with the same name are one call carried out twice; two with
 * the same text apart from the name are a change that the agent made again, since a later run was
 * not told of it.
 */
#include "history_tools.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

enum { WORDS_BYTES = 256 };

static const char tag[] = " [call ";
static const char reply_function[] = "createMessageFromAgent"; /* which no tool uses */

/* The folded run of which first_run was the first request, borrowed, or NULL. */
static json_t *find_beginning(const json_t *folded, double first_run)
{
    for (size_t i = json_array_size(folded); i > 0; i--) {
        json_t *run = json_array_get(folded, i - 1);
        if (json_number_value(json_object_get(run, "first_run")) == first_run)
            return run;
    }
    return NULL;
}

json_t *history_fold_rounds(const json_t *runs)
{
    json_t *folded = json_array();
    size_t index;
    json_t *run;
    json_array_foreach (runs, index, run) {
        double first_run = json_number_value(json_object_get(run, "first_run"));
        bool has_results = json_array_size(json_object_get(run, "results")) > 0;
        json_t *copy = json_copy(run);
        json_t *beginning = has_results ? find_beginning(folded, first_run) : NULL;
        bool is_acting = json_array_size(json_object_get(run, "calls")) > 0 &&
                         json_guard_is(run, "outcome", "answered", "");
        if (is_acting)
            assert_int_equal(json_object_set_new(copy, "outcome", json_string("acting")), 0);
        if (beginning == NULL)
            assert_int_equal(json_array_append(folded, copy), 0);
        else
            assert_int_equal(json_object_update(beginning, copy), 0);
        json_decref(copy);
    }
    return folded;
}

/* The text with a number among arguments, which an object or its JSON has, or NULL. Borrowed. */
static const char *numbered_text(const json_t *arguments)
{
    static const char *const keys[] = {"title", "content", "message", "reason", "blockedReason"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = json_guard_string(arguments, keys[i]);
        if (text != NULL && strstr(text, tag) != NULL)
            return text;
    }
    return NULL;
}

/* The names of a call and of its change, by the tagged text in it. */
struct change_names {
    char call[WORDS_BYTES];
    char change[WORDS_BYTES];
};

static void name_change(struct change_names *names, const char *function, const char *text)
{
    const char *found = strstr(text, tag);
    snprintf(names->call, sizeof names->call, "%s", found + 1);
    snprintf(names->change, sizeof names->change, "%s: %.*s", function, (int)(found - text), text);
}

/* False, with a reason, if names has that name already. */
static bool note_name(
    json_t *names, const char *name, const char *what, char *reason, size_t reason_bytes)
{
    if (json_object_get(names, name) != NULL) {
        snprintf(reason, reason_bytes, "%s (%s)", what, name);
        return false;
    }
    assert_int_equal(json_object_set_new(names, name, json_true()), 0);
    return true;
}

/* Fills calls with the tags of all calls that changed the board. */
static bool changes_are_single(
    const struct history *history, json_t *calls, char *reason, size_t reason_bytes)
{
    json_t *changes = json_object();
    bool holds = true;
    size_t index;
    const json_t *effect;
    json_array_foreach (history->effects, index, effect) {
        struct change_names names;
        const char *function = json_guard_string(effect, "function");
        const char *text = numbered_text(json_object_get(effect, "arguments"));
        if (text == NULL || strcmp(function, reply_function) == 0)
            continue;
        name_change(&names, function, text);
        holds = note_name(calls, names.call, "a tool call changed the board twice", reason,
                    reason_bytes) &&
                note_name(changes, names.change, "an agent made the same change again", reason,
                    reason_bytes);
        if (!holds)
            break;
    }
    json_decref(changes);
    return holds;
}

/* What the agent was told of a call against whether the call changed anything. */
static bool outcome_is_true(
    const json_t *call, bool changed, const char *name, char *reason, size_t reason_bytes)
{
    const char *outcome = json_guard_text(call, "outcome").bytes;
    const char *output = json_guard_string(call, "output");
    bool uncertain = output != NULL && strstr(output, "look before you try again") != NULL;
    if (strcmp(outcome, "succeeded") == 0 && !changed)
        snprintf(reason, reason_bytes, "%s was told to have succeeded, but changed nothing", name);
    else if (strcmp(outcome, "failed") == 0 && changed && !uncertain)
        snprintf(reason, reason_bytes, "%s took effect, but the agent was told: %s", name, output);
    else
        return true;
    return false;
}

static bool call_holds(const json_t *call, const json_t *calls, char *reason, size_t reason_bytes)
{
    struct change_names names;
    json_t *arguments = json_loads(json_guard_string(call, "arguments"), 0, NULL);
    const char *text = numbered_text(arguments);
    bool holds = true;
    if (text != NULL) {
        name_change(&names, "", text);
        holds = outcome_is_true(
            call, json_object_get(calls, names.call) != NULL, names.call, reason, reason_bytes);
    }
    json_decref(arguments);
    return holds;
}

bool history_tools_hold(const struct history *history, char *reason, size_t reason_bytes)
{
    json_t *calls = json_object();
    bool holds = changes_are_single(history, calls, reason, reason_bytes);
    size_t index;
    const json_t *call;
    json_array_foreach (history->calls, index, call)
        holds = holds && call_holds(call, calls, reason, reason_bytes);
    json_decref(calls);
    return holds;
}
