/*
 * From a context of the backend to what an agent is told. The first byte selects the kind of run;
 * the rest is either any JSON, read as a context, or words that are put in all places of a valid
 * one. Whatever they are, reader, policy and prompt must not fail, and every line of the prompt
 * that looks like one of its delimiters or begins with one of its labels must be its own: each one
 * at most once, in the order in which they are written.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/json.h"
#include "delivery/policy.h"
#include "delivery/session_key.h"
#include "prompt/input.h"
#include "prompt/instructions.h"

enum { WORDS_BIT = 1, EMPTY_BIT = 2, TOOLS_BIT = 4, HTTP_BIT = 8, TYPE_SHIFT = 4 };

enum { MAX_HISTORY = 25 };

/* The lines as they are documented, not as the code has them. */
enum { BODY_LINES = 3, REQUEST_LINES = 3 << 2, LATEST_LINES = 3 << 5, HISTORY_LINES = 3 << 7 };
enum { CONTEXT_LINES = 1 << 4 | 1 << 9, INSTRUCTION_LINES = 15, HISTORY_END = 8 };
static const char *const input_delimiters[] = {
    "===== MAIN USER MESSAGE (NOTIFICATION BODY) START =====",
    "===== MAIN USER MESSAGE (NOTIFICATION BODY) END =====",
    "===== REQUEST TO RESPOND TO START =====",
    "===== REQUEST TO RESPOND TO END =====",
    "===== STRUCTURED CONTEXT START =====",
    "===== LATEST THREAD MESSAGE START =====",
    "===== LATEST THREAD MESSAGE END =====",
    "===== THREAD HISTORY START =====",
    "===== THREAD HISTORY END =====",
    "===== STRUCTURED CONTEXT END =====",
};
static const char *const instruction_delimiters[] = {
    "===== RESPONSE SCOPE RULES START =====",
    "===== RESPONSE SCOPE RULES END =====",
    "===== OPERATIONAL INSTRUCTIONS START =====",
    "===== OPERATIONAL INSTRUCTIONS END =====",
};
static const char *const labels[] = {
    "## Notification:", "Author:", "Content:", "Task:", "Task ID:", "Task description:",
    "Repository context:", "Global Context:", "Totals (sampled per status):", "Message author:",
    "Message ID:", "Message content:", "Other agents:", "Primary user:", "Notification ID:"};

enum { LABELS = sizeof labels / sizeof labels[0] };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Bytes of a character at the front that leaves no mark, white space included; 0 for others. */
static size_t unseen_bytes(const char *line, size_t length)
{
    static const char *const unseen[] = {"\xC2\xAD", "\xE2\x80\x8B", "\xE2\x80\x8C", "\xE2\x80\x8D",
        "\xE2\x80\x8E", "\xE2\x80\x8F", "\xE2\x81\xA0", "\xEF\xB8\x8F"};
    if (length > 0 && ((unsigned char)line[0] <= ' ' || line[0] == 0x7F))
        return 1;
    for (size_t i = 0; i < COUNT(unseen); i++)
        if (length >= strlen(unseen[i]) && memcmp(line, unseen[i], strlen(unseen[i])) == 0)
            return strlen(unseen[i]);
    return text_blank_length(line, length);
}

static bool begins_with(const char *line, size_t length, const char *beginning)
{
    return length >= strlen(beginning) && memcmp(line, beginning, strlen(beginning)) == 0;
}

/* Which delimiter, of count, a line is; it has to be one of them, and after the last one seen. */
static size_t find_delimiter(
    const char *line, size_t length, const char *const *delimiters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(delimiters[i]) == length && memcmp(line, delimiters[i], length) == 0)
            return i;
    assert(!"a line that looks like a delimiter is none");
    return count;
}

/* What has been seen of a prompt, line by line. */
struct reading {
    const char *const *delimiters;
    size_t count;
    size_t next;              /* the first delimiter that may still come */
    unsigned delimiters_seen; /* a bit for each */
    unsigned rules;           /* lines of dashes */
    unsigned labels[LABELS];
    unsigned history_items;
};

static void read_line(struct reading *reading, const char *line, size_t length)
{
    const char *seen = line;
    size_t left = length;
    size_t unseen;
    while ((unseen = unseen_bytes(seen, left)) > 0) {
        seen += unseen;
        left -= unseen;
    }
    if (begins_with(seen, left, "===")) {
        size_t found = find_delimiter(line, length, reading->delimiters, reading->count);
        assert(found >= reading->next);
        reading->next = found + 1;
        reading->delimiters_seen |= 1U << found;
    }
    for (size_t i = 0; i < LABELS; i++)
        reading->labels[i] += begins_with(seen, left, labels[i]);
    reading->rules += left >= 3 && strspn(seen, "-") == left;
    reading->history_items += reading->next == HISTORY_END && begins_with(line, length, "- [");
}

static void read_prompt(struct reading *reading, const struct text *text)
{
    static const char *const breaks[] = {
        "\r", "\v", "\f", "\x1C", "\x1D", "\x1E", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"};
    assert(!text->failed && strlen(text->data) == text->length_bytes);
    assert(utf8_is_valid(text->data, text->length_bytes));
    for (size_t i = 0; i < COUNT(breaks); i++)
        assert(strstr(text->data, breaks[i]) == NULL);
    for (const char *line = text->data; line != NULL;) {
        const char *end = strchr(line, '\n');
        read_line(reading, line, end != NULL ? (size_t)(end - line) : strlen(line));
        line = end != NULL ? end + 1 : NULL;
    }
}

/* The delimiters that the input for a context has. */
static unsigned expected_delimiters(const struct delivery_context *context)
{
    const json_t *content = json_object_get(context->message, "content");
    bool asks = context->type == NOTIFICATION_THREAD_UPDATE ||
                context->type == NOTIFICATION_MENTION ||
                context->type == NOTIFICATION_RESPONSE_REQUEST;
    unsigned expected = BODY_LINES | CONTEXT_LINES;
    if (asks && json_is_string(content) &&
        text_trim(json_string_value(content), json_string_length(content)).length_bytes > 0)
        expected |= REQUEST_LINES;
    if (context->message != NULL)
        expected |= LATEST_LINES;
    if (json_array_size(context->thread) > 0)
        expected |= HISTORY_LINES;
    return expected;
}

static void check_input(const struct delivery_context *context, const struct prompt_run *run)
{
    struct text text = {0};
    struct reading reading = {.delimiters = input_delimiters, .count = COUNT(input_delimiters)};
    size_t messages = json_array_size(context->thread);
    input_append(&text, context, run);
    read_prompt(&reading, &text);
    for (size_t i = 0; i < LABELS; i++)
        assert(reading.labels[i] <= 1);
    assert(begins_with(text.data, text.length_bytes, "## Notification:"));
    assert(reading.labels[LABELS - 1] == 1 && reading.rules == 1);
    assert(reading.delimiters_seen == expected_delimiters(context));
    assert(reading.history_items == (messages < MAX_HISTORY ? messages : MAX_HISTORY));
    text_fini(&text);
}

static void check_instructions(const struct delivery_context *context, const struct prompt_run *run)
{
    struct text text = {0};
    struct reading reading = {
        .delimiters = instruction_delimiters, .count = COUNT(instruction_delimiters)};
    instructions_append(&text, context, run);
    read_prompt(&reading, &text);
    assert(reading.delimiters_seen == INSTRUCTION_LINES);
    text_fini(&text);
}

static void check_session_key(const struct delivery_context *context)
{
    struct text wire = {0};
    const char *slug = json_guard_string(context->agent, "slug");
    if (context->session_key == NULL || slug == NULL)
        return;
    for (int with_fallback = 0; with_fallback < 2; with_fallback++) {
        session_key_append(&wire, context->session_key, slug, with_fallback ? "main" : NULL);
        assert(begins_with(wire.data, wire.length_bytes, with_fallback ? "agent:main:" : "agent:"));
        assert(strpbrk(wire.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
        text_clear(&wire);
    }
    slug_check(slug, "main");
    text_fini(&wire);
}

static void check_context(const struct delivery_context *context, uint8_t circumstances)
{
    static const struct board_action actions[] = {
        {"task_status", "set the status of a task", "/agent/task-status"},
        {"task_create", "create a task", "/agent/task-create"},
        {"response_request", "ask other agents", "/agent/response-request"}};
    const char *recipient = json_guard_string(context->notification, "recipientId");
    const struct prompt_run run = {
        .agent_id = recipient != NULL ? recipient : "a1",
        .access = {.actions = actions,
            .count = (circumstances & TOOLS_BIT) != 0 ? COUNT(actions) : 0,
            .base_url = (circumstances & HTTP_BIT) != 0 ? "http://127.0.0.1:3000" : NULL,
            .session_key = "key"},
        .last_answer_empty = (circumstances & EMPTY_BIT) != 0,
    };
    const struct answer answer = {.kind = REPLY_BLANK, .runs_left = 1};
    enum end_reason reason = policy_judge(context, run.agent_id);
    assert(end_reason_words[reason] != NULL);
    assert(reason != REASON_REPLIED || (context->agent != NULL && context->session_key != NULL));
    no_response_judge(context, &answer);
    check_session_key(context);
    check_input(context, &run);
    check_instructions(context, &run);
}

/* The bytes with those that are not UTF-8 replaced, a new reference. */
static json_t *words_from(const uint8_t *data, size_t size)
{
    struct text words = {0};
    for (size_t at = 0; at < size;) {
        size_t step = text_utf8_length((const char *)data + at, size - at);
        text_append_bytes(&words, step > 0 ? (const char *)data + at : "?", step > 0 ? step : 1);
        at += step > 0 ? step : 1;
    }
    text_append(&words, "");
    json_t *string = json_stringn(words.data, words.length_bytes);
    text_fini(&words);
    return string;
}

/* A context in which words are everywhere that words can be. */
static json_t *context_from(json_t *words, uint8_t circumstances)
{
    static const char *const types[] = {"mention", "assignment", "thread_update",
        "response_request", "status_change", "new", "mention", "mention"};
    static const char *const states[] = {"review", "blocked"};
    const char *type = types[(circumstances >> TYPE_SHIFT) & 7];
    const char *status = states[circumstances >> 7];
    json_t *agent =
        json_pack("{s:s, s:O, s:O, s:O}", "id", "a2", "slug", words, "name", words, "role", words);
    json_t *document = json_pack("{s:O}", "content", words);
    json_t *item = json_pack("{s:O, s:O, s:O, s:O}", "authorType", words, "authorId", words,
        "authorName", words, "content", words);
    json_t *board_task =
        json_pack("{s:O, s:O, s:[O]}", "title", words, "taskId", words, "assignedAgentIds", words);
    json_t *context = json_pack(
        "{s:{s:O, s:s, s:s, s:O, s:O}, s:O, s:{s:O, s:O, s:O, s:s, s:[], s:[s, s]},"
        "s:{s:O, s:s, s:O, s:O}, s:[O, O], s:n, s:s, s:[O, O], s:[O, {s:s}], s:O, s:O, s:O,"
        "s:{s:[{s:O}], s:[{s:O, s:[O]}]}, s:{s:b, s:b}, s:O}",
        "notification", "_id", words, "type", type, "recipientId", "a1", "title", words, "body",
        words, "agent", agent, "task", "_id", words, "title", words, "description", words, "status",
        status, "labels", "assignedAgentIds", "a1", "a2", "message", "_id", words, "authorType",
        "user", "authorId", words, "content", words, "thread", item, item, "sourceNotificationType",
        "orchestratorAgentId", "a2", "mentionableAgents", agent, agent, "assignedAgents", agent,
        "id", "a1", "primaryUserMention", agent, "repositoryDoc", document, "globalBriefingDoc",
        document, "taskOverview", "totals", "status", words, "topTasks", "status", words, "tasks",
        board_task, "effectiveBehaviorFlags", "canMentionAgents", 1, "canMarkDone", 1,
        "deliverySessionKey", words);
    assert(context != NULL);
    json_decref(agent);
    json_decref(document);
    json_decref(item);
    json_decref(board_task);
    return context;
}

static json_t *read_value(const uint8_t *data, size_t size)
{
    if ((data[0] & WORDS_BIT) == 0) {
        json_t *value = NULL;
        json_guard_load((const char *)data + 1, size - 1, &value, NULL);
        return value;
    }
    json_t *words = words_from(data + 1, size - 1);
    json_t *value = context_from(words, data[0]);
    json_decref(words);
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct delivery_context context;
    struct error error = {0};
    json_t *value = size > 0 ? read_value(data, size) : NULL;
    if (value == NULL)
        return 0;
    if (delivery_context_read(value, &context, &error) != CONVEX_SUCCESS) {
        assert(error.code < 0 && (data[0] & WORDS_BIT) == 0);
        return 0;
    }
    if (context.version == BACKEND_V1)
        check_context(&context, data[0]);
    delivery_context_fini(&context);
    return 0;
}
