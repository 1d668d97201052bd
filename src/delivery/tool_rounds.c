/*
 * An agent that is asked may answer with calls of tools instead of words. They are carried out one
 * after the other and their results sent, to which it answers with words or with further calls:
 *
 *   asked --calls--> round 1 --results--> calls --> round 2 --results--> ... --> words
 *
 * All of this is one try at the notification. Its state is one JSON object:
 *
 *   round    number of the current round
 *   calls    its calls: id, name, arguments; started once one that changes something is about to be
 *            carried out; output once it has a result
 *   sent     the results are on their way to the agent, or have arrived there
 *   words    what the agent said alongside its calls, before it knew their results
 *   before   what earlier rounds, and earlier tries, have changed: name, arguments, output; digest
 *            of all of the arguments; earlier for those of a try that is over
 *
 * What a call changes must not be changed twice. So "started" is on disk before the call is made,
 * and a call that has it is never made again: one that a crash has left without a result is
 * answered as interrupted. Calls that only read do not have it, and may be repeated.
 *
 * The next try tells the agent what was changed, and some make the same call all the same. One that
 * adds something is then answered with the earlier result. That may be "interrupted": once the
 * agent has looked, its next such call is made.
 *
 * The model sees only the text of a result (docs/protocol.md, "Tools"), so each begins with what
 * was called.
 */
#include "delivery/tool_rounds.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_tools/run.h"
#include "base/json.h"

/* Limits in UTF-16 units: of the call in front of its result; of a result from an earlier try. */
enum { ECHO_UNITS = 500, BEFORE_UNITS = 2000 };

enum { DIGEST_BYTES = sizeof "0123456789abcdef" };

/* A record with more was not written by us. */
static const double MAX_ROUND = 1e6;

static const char success[] = "{\"success\":true";
#define INTERRUPTED_WITHOUT_BRACE "{\"success\":false,\"error\":\"" TOOL_INTERRUPTED "\""
static const char interrupted[] = INTERRUPTED_WITHOUT_BRACE "}";
static const char too_many[] =
    "{\"success\":false,\"error\":\"not carried out: too many calls at once; make at most 32 in "
    "one answer\"}";

static bool is_call(const json_t *call, bool with_id)
{
    const json_t *output = json_object_get(call, "output");
    return (!with_id || json_guard_string(call, "id") != NULL) &&
           json_guard_string(call, "name") != NULL &&
           json_guard_string(call, "arguments") != NULL &&
           (output == NULL || json_is_string(output));
}

static bool are_calls(const json_t *calls, bool with_id)
{
    size_t index;
    const json_t *call;
    json_array_foreach (calls, index, call)
        if (!is_call(call, with_id))
            return false;
    return json_is_array(calls);
}

bool tool_rounds_are_valid(const json_t *value)
{
    double round;
    return json_guard_number(json_object_get(value, "round"), 0, MAX_ROUND, &round) &&
           json_guard_string(value, "words") != NULL &&
           are_calls(json_object_get(value, "calls"), true) &&
           are_calls(json_object_get(value, "before"), false);
}

static bool is_tool_call(const json_t *item)
{
    return json_guard_is(item, "type", "function_call", "");
}

bool tool_rounds_asked_for(const json_t *body)
{
    size_t index;
    const json_t *item;
    json_array_foreach (json_object_get(body, "output"), index, item)
        if (is_tool_call(item))
            return true;
    return false;
}

/* A string of the answer, without the NULs that a header or the spool could not keep. */
static bool set_clean_text(json_t *call, const char *key, const char *bytes, size_t length_bytes)
{
    struct text clean = {0};
    text_append(&clean, "");
    text_append_without_nuls(&clean, bytes, length_bytes);
    bool set = !clean.failed && json_object_set_new(call, key, json_string(clean.data)) == 0;
    text_fini(&clean);
    return set;
}

/* A string, or any other JSON value as its text: some gateways send arguments as an object. */
static bool set_call_text(json_t *call, const char *key, const json_t *value)
{
    if (json_is_string(value))
        return set_clean_text(call, key, json_string_value(value), json_string_length(value));
    if (!json_is_object(value) && !json_is_array(value))
        return set_clean_text(call, key, "", 0);
    char *written = json_write(value);
    bool set = written != NULL && set_clean_text(call, key, written, strlen(written));
    free(written);
    return set;
}

static bool append_call_of(json_t *calls, const json_t *item)
{
    json_t *call = json_object();
    bool complete = set_call_text(call, "id", json_object_get(item, "call_id")) &&
                    set_call_text(call, "name", json_object_get(item, "name")) &&
                    set_call_text(call, "arguments", json_object_get(item, "arguments"));
    if (complete && json_array_size(calls) >= TOOL_CALLS_MAX)
        complete = json_object_set_new(call, "output", json_string(too_many)) == 0;
    if (!complete) {
        json_decref(call);
        return false;
    }
    return json_array_append_new(calls, call) == 0;
}

/* A new array; NULL without memory. */
static json_t *read_calls(const json_t *body)
{
    json_t *calls = json_array();
    size_t index;
    const json_t *item;
    json_array_foreach (json_object_get(body, "output"), index, item) {
        if (is_tool_call(item) && !append_call_of(calls, item)) {
            json_decref(calls);
            return NULL;
        }
    }
    return calls;
}

/* Text cut to limit_units, with a mark of the cut. */
static bool set_cut_text(json_t *object, const char *key, const char *words, size_t limit_units)
{
    struct text cut = {0};
    size_t whole_bytes = strlen(words);
    size_t cut_bytes = text_utf16_cut(words, whole_bytes, limit_units);
    text_append_bytes(&cut, words, cut_bytes);
    text_append(&cut, cut_bytes < whole_bytes ? "…" : "");
    bool set = !cut.failed && json_object_set_new(object, key, json_string(cut.data)) == 0;
    text_fini(&cut);
    return set;
}

static const char *output_of(const json_t *call)
{
    const char *output = json_guard_string(call, "output");
    return output != NULL ? output : interrupted;
}

static bool is_success(const json_t *call)
{
    return strncmp(output_of(call), success, sizeof success - 1) == 0;
}

static bool is_uncertain(const json_t *call)
{
    static const char uncertain[] = INTERRUPTED_WITHOUT_BRACE;
    return strncmp(output_of(call), uncertain, sizeof uncertain - 1) == 0;
}

static void write_digest(char digest[DIGEST_BYTES], const char *arguments)
{
    snprintf(digest, DIGEST_BYTES, "%016" PRIx64, text_digest(arguments, SIZE_MAX));
}

static bool set_digest(json_t *change, const char *arguments)
{
    char digest[DIGEST_BYTES];
    write_digest(digest, arguments);
    return json_object_set_new(change, "digest", json_string(digest)) == 0;
}

/* Calls that only read are not worth remembering. */
static bool remember_changes(const json_t *rounds, json_t *before)
{
    size_t index;
    const json_t *call;
    json_array_foreach (json_object_get(rounds, "calls"), index, call) {
        if (!json_is_true(json_object_get(call, "started")))
            continue;
        json_t *change = json_object();
        bool complete =
            set_cut_text(change, "name", json_guard_string(call, "name"), ECHO_UNITS) &&
            set_cut_text(change, "arguments", json_guard_string(call, "arguments"), ECHO_UNITS) &&
            set_cut_text(change, "output", output_of(call), BEFORE_UNITS) &&
            set_digest(change, json_guard_string(call, "arguments"));
        if (!complete) {
            json_decref(change);
            return false;
        }
        if (json_array_append_new(before, change) != 0)
            return false;
    }
    return true;
}

/* A new array of what all rounds so far have changed; NULL without memory. */
static json_t *all_changes(const json_t *rounds)
{
    json_t *before = json_object_get(rounds, "before");
    json_t *changes = json_array();
    /* Not json_copy: without memory it leaves items out silently, and the agent repeats them. */
    bool complete = changes != NULL && (before == NULL || json_array_extend(changes, before) == 0);
    if (changes != NULL && !(complete && remember_changes(rounds, changes))) {
        json_decref(changes);
        return NULL;
    }
    return changes;
}

bool tool_rounds_begin(json_t **rounds, const json_t *body, const char *words)
{
    json_t *calls = read_calls(body);
    json_t *before = all_changes(*rounds);
    const char *kept = words[0] != '\0' ? words : tool_rounds_words(*rounds);
    /* Takes both references, whether it succeeds or not. */
    json_t *next =
        json_pack("{s:i, s:b, s:s, s:o, s:o}", "round", (int)tool_rounds_count(*rounds) + 1, "sent",
            0, "words", kept, "calls", calls, "before", before);
    if (next == NULL)
        return false;
    json_decref(*rounds);
    *rounds = next;
    return true;
}

/* Marks all of them. False without memory, and then some may be marked. */
static bool mark_as_earlier(json_t *changes)
{
    size_t index;
    json_t *change;
    json_array_foreach (changes, index, change)
        if (json_object_set_new(change, "earlier", json_true()) != 0)
            return false;
    return changes != NULL;
}

bool tool_rounds_end_try(json_t *rounds)
{
    if (rounds == NULL)
        return true;
    json_t *before = all_changes(rounds);
    if (!mark_as_earlier(before)) {
        json_decref(before);
        return false;
    }
    json_t *over = json_pack("{s:i, s:b, s:s, s:[], s:o}", "round", 0, "sent", 0, "words", "",
        "calls", "before", before);
    bool ended = over != NULL && json_object_update(rounds, over) == 0;
    json_decref(over);
    return ended;
}

unsigned tool_rounds_count(const json_t *rounds)
{
    return (unsigned)json_number_value(json_object_get(rounds, "round"));
}

unsigned tool_rounds_count_successes(const json_t *rounds, const char *name)
{
    unsigned count = 0;
    size_t index;
    const json_t *call;
    json_t *changes = all_changes(rounds);
    json_array_foreach (changes, index, call)
        if (json_guard_is(call, "name", name, "") && is_success(call))
            count++;
    json_decref(changes);
    return count;
}

bool tool_rounds_are_under_way(const json_t *rounds)
{
    return json_array_size(json_object_get(rounds, "calls")) > 0 && !tool_rounds_were_sent(rounds);
}

bool tool_rounds_were_sent(const json_t *rounds)
{
    return json_is_true(json_object_get(rounds, "sent"));
}

const char *tool_rounds_words(const json_t *rounds)
{
    const char *words = json_guard_string(rounds, "words");
    return words != NULL ? words : "";
}

bool tool_rounds_next(const json_t *rounds, struct tool_request *request)
{
    size_t index;
    json_t *call;
    json_array_foreach (json_object_get(rounds, "calls"), index, call) {
        if (json_object_get(call, "output") != NULL)
            continue;
        *request = (struct tool_request){
            .call = call,
            .name = json_guard_string(call, "name"),
            .arguments = json_guard_string(call, "arguments"),
        };
        return true;
    }
    return false;
}

bool tool_request_start(const struct tool_request *request)
{
    return json_object_set_new(request->call, "started", json_true()) == 0;
}

void tool_request_put_back(const struct tool_request *request)
{
    json_object_del(request->call, "started");
}

bool tool_request_was_started(const struct tool_request *request)
{
    return json_is_true(json_object_get(request->call, "started"));
}

bool tool_request_end(const struct tool_request *request, json_t *result)
{
    char *written = result != NULL ? json_write(result) : NULL;
    json_decref(result);
    bool set = json_object_set_new(request->call, "output",
                   json_string(written != NULL ? written : interrupted)) == 0;
    free(written);
    return set;
}

json_t *tool_rounds_find_earlier(const json_t *rounds, const struct tool_request *request)
{
    char digest[DIGEST_BYTES];
    size_t index;
    json_t *change;
    write_digest(digest, request->arguments);
    json_array_foreach (json_object_get(rounds, "before"), index, change)
        if (json_is_true(json_object_get(change, "earlier")) &&
            (is_success(change) || is_uncertain(change)) &&
            json_guard_is(change, "name", request->name, "") &&
            json_guard_is(change, "digest", digest, ""))
            return change;
    return NULL;
}

bool tool_request_end_as(const struct tool_request *request, json_t *earlier)
{
    if (json_object_set(request->call, "output", json_object_get(earlier, "output")) != 0)
        return false;
    json_object_del(earlier, "earlier");
    return true;
}

/* One result as the agent is to see it. */
static json_t *make_item(const json_t *call)
{
    struct text output = {0};
    const char *arguments = json_guard_string(call, "arguments");
    size_t whole_bytes = strlen(arguments);
    size_t echo_bytes = text_utf16_cut(arguments, whole_bytes, ECHO_UNITS);
    text_printf(&output, "%s %.*s%s: %s", json_guard_string(call, "name"), (int)echo_bytes,
        arguments, echo_bytes < whole_bytes ? "…" : "", output_of(call));
    json_t *item = NULL;
    if (!output.failed)
        item = json_pack("{s:s, s:s, s:s}", "type", "function_call_output", "call_id",
            json_guard_string(call, "id"), "output", output.data);
    text_fini(&output);
    return item;
}

json_t *tool_rounds_items(const json_t *rounds, const char *last_words)
{
    json_t *items = json_array();
    bool complete = items != NULL;
    size_t index;
    const json_t *call;
    json_array_foreach (json_object_get(rounds, "calls"), index, call)
        complete = complete && json_array_append_new(items, make_item(call)) == 0;
    if (complete && last_words != NULL)
        complete = json_array_append_new(items, json_pack("{s:s, s:s, s:s}", "type", "message",
                                                    "role", "user", "content", last_words)) == 0;
    if (complete)
        return items;
    json_decref(items);
    return NULL;
}

bool tool_rounds_note_sent(json_t *rounds, bool sent)
{
    return json_object_set_new(rounds, "sent", json_boolean(sent)) == 0;
}

const json_t *tool_rounds_before(const json_t *rounds)
{
    const json_t *before = json_object_get(rounds, "before");
    return json_array_size(before) > 0 ? before : NULL;
}
