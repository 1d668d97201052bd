/*
 * A table of openings, such as "move this to ", each with a function that reads the words after it
 * and makes the arguments of a call. An opening counts where a person would begin to ask for
 * something: at the start, after punctuation, after a mention, and after words such as "and". What
 * it is about ends at the next opening, or at the end of the sentence.
 *
 * A request is for the agents that are mentioned before it, outside of what other requests are
 * about, or else for those that the request before it was for: in "@jarvis ask @friday about X and
 * list documents" all is for jarvis, although friday reads it, too. Without mentions it is for
 * everyone.
 */
#include "agent_words.h"

#include <ctype.h>
#include <stdbool.h>
#include <strings.h>

#include "base/text.h"
#include "memory.h"

enum { MAX_CALLS = 16 };

/* Makes the arguments from the words after an opening; NULL: it is not a request after all. */
typedef json_t *read_words(
    const char *detail, const char *words, const struct agent_listener *listener);

struct opening {
    const char *words; /* in lower case */
    const char *tool;
    read_words *read;
    const char *detail; /* for read */
};

/* A request found in a message: an opening, or words that name the call itself. */
struct found {
    const struct opening *opening; /* NULL: the call itself */
    char *tool;                    /* of the call itself; owned */
    json_t *arguments;             /* of the call itself; owned */
    const char *begin;
    const char *rest; /* what follows the opening, or the call */
};

static json_t *begin_arguments(const struct agent_listener *listener)
{
    json_t *arguments = memory_json(json_object());
    if (listener->task_id != NULL)
        json_object_set_new(arguments, "taskId", memory_json_text(listener->task_id));
    return arguments;
}

static void put_text(json_t *arguments, const char *key, const char *text)
{
    json_object_set_new(arguments, key, memory_json_text(text));
}

/* The text after " because " in words, or NULL. */
static const char *find_reason(const char *words)
{
    for (const char *at = words; *at != '\0'; at++)
        if (strncasecmp(at, " because ", 9) == 0)
            return at + 9;
    return NULL;
}

static json_t *read_status_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    static const char *const statuses[] = {
        "in progress", "in_progress", "review", "done", "blocked", "archived", "inbox", "assigned"};
    const char *reason = find_reason(words);
    (void)detail;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (strncasecmp(words, statuses[i], strlen(statuses[i])) != 0)
            continue;
        json_t *arguments = begin_arguments(listener);
        put_text(arguments, "status", i == 0 ? "in_progress" : statuses[i]);
        if (reason != NULL)
            put_text(arguments, "blockedReason", reason);
        return arguments;
    }
    return NULL;
}

static json_t *read_document_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    struct text content = {0};
    json_t *arguments = begin_arguments(listener);
    text_printf(
        &content, "# %s\n\nWritten by %s, who knows no more about it.", words, listener->agent);
    put_text(arguments, "title", words);
    put_text(arguments, "type", detail);
    put_text(arguments, "content", content.data);
    text_fini(&content);
    return arguments;
}

static bool is_slug_character(char character)
{
    return isalnum((unsigned char)character) || character == '_' || character == '-';
}

/*
 * Reads the names at *at, "@friday", "@friday and @vision" or one without the "@", and moves *at
 * behind them.
 */
static json_t *read_slugs(const char **at)
{
    json_t *slugs = memory_json(json_array());
    for (;;) {
        const char *name = *at + (**at == '@');
        size_t length = 0;
        while (is_slug_character(name[length]))
            length++;
        if (length == 0 || (json_array_size(slugs) > 0 && **at != '@'))
            return slugs;
        json_array_append_new(slugs, memory_json(json_stringn(name, length)));
        const char *next = name + length;
        *at = next;
        next += strspn(next, ", ");
        next += strncasecmp(next, "and ", 4) == 0 ? 4 : 0;
        if (*next != '@')
            return slugs;
        *at = next;
    }
}

static json_t *read_request_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    const char *message = words;
    json_t *slugs = read_slugs(&message);
    const char *first = json_string_value(json_array_get(slugs, 0));
    (void)detail;
    if (first == NULL || strcasecmp(first, listener->agent) == 0) {
        json_decref(slugs);
        return NULL;
    }
    message += strspn(message, " ,:");
    json_t *arguments = begin_arguments(listener);
    json_object_set_new(arguments, "recipientSlugs", slugs);
    put_text(arguments, "message", *message == '\0' ? "please have a look at this." : message);
    return arguments;
}

static json_t *read_assignment_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    (void)detail;
    if (*words != '@')
        return NULL;
    json_t *arguments = begin_arguments(listener);
    json_object_set_new(arguments, "assigneeSlugs", read_slugs(&words));
    return arguments;
}

static json_t *read_new_task_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    json_t *arguments = memory_json(json_object());
    (void)detail;
    (void)listener;
    if (strncasecmp(words, "for @", 5) == 0) {
        words += 4;
        json_object_set_new(arguments, "assigneeSlugs", read_slugs(&words));
        words += strspn(words, " ,:");
    }
    static const char *const joints[] = {"to ", "about ", "for "};
    for (size_t i = 0; i < sizeof joints / sizeof *joints; i++) {
        if (strncasecmp(words, joints[i], strlen(joints[i])) == 0) {
            words += strlen(joints[i]);
            break;
        }
    }
    put_text(arguments, "title", words);
    return arguments;
}

/* The words as one argument, whose key is the detail, beside the task. */
static json_t *read_text_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    json_t *arguments = begin_arguments(listener);
    put_text(arguments, detail, words);
    return arguments;
}

static json_t *read_query_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    json_t *arguments = memory_json(json_object());
    (void)listener;
    put_text(arguments, detail, words);
    return arguments;
}

static json_t *read_task_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    (void)detail;
    (void)words;
    return begin_arguments(listener);
}

static json_t *read_no_words(
    const char *detail, const char *words, const struct agent_listener *listener)
{
    (void)detail;
    (void)words;
    (void)listener;
    return memory_json(json_object());
}

/* Longer openings stand before their beginnings. */
static const struct opening openings[] = {
    {"move this task to ", "task_status", read_status_words, NULL},
    {"move the task to ", "task_status", read_status_words, NULL},
    {"move this to ", "task_status", read_status_words, NULL},
    {"move it to ", "task_status", read_status_words, NULL},
    {"set this task to ", "task_status", read_status_words, NULL},
    {"set the task to ", "task_status", read_status_words, NULL},
    {"set this to ", "task_status", read_status_words, NULL},
    {"set it to ", "task_status", read_status_words, NULL},
    {"write a note about ", "document_upsert", read_document_words, "note"},
    {"write a document about ", "document_upsert", read_document_words, "deliverable"},
    {"write a template about ", "document_upsert", read_document_words, "template"},
    {"write a reference about ", "document_upsert", read_document_words, "reference"},
    {"ask ", "response_request", read_request_words, NULL},
    {"create a task ", "task_create", read_new_task_words, NULL},
    {"rename this task to ", "task_update", read_text_words, "title"},
    {"list the documents", "document_list", read_task_words, NULL},
    {"list documents", "document_list", read_task_words, NULL},
    {"load this task", "task_load", read_task_words, NULL},
    {"load the task", "task_load", read_task_words, NULL},
    {"read the history", "task_history", read_task_words, NULL},
    {"list skills", "get_agent_skills", read_no_words, NULL},
    {"assign ", "task_assign", read_assignment_words, NULL},
    {"find tasks about ", "task_search", read_query_words, "query"},
    {"list tasks", "task_list", read_no_words, NULL},
    {"read the thread", "task_thread", read_task_words, NULL},
    {"post in the thread ", "task_message", read_text_words, "content"},
    {"archive this task because ", "task_delete", read_text_words, "reason"},
};

static const struct opening *find_opening(const char *at)
{
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
        if (strncasecmp(at, openings[i].words, strlen(openings[i].words)) == 0)
            return &openings[i];
    return NULL;
}

/* The word before at, without the blanks around it. */
static struct text_span word_before(const char *message, const char *at)
{
    const char *end = at;
    while (end > message && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    const char *begin = end;
    while (begin > message && !isspace((unsigned char)begin[-1]))
        begin--;
    return (struct text_span){begin, (size_t)(end - begin)};
}

static bool is_word(struct text_span span, const char *word)
{
    return span.length_bytes == strlen(word) &&
           strncasecmp(span.bytes, word, span.length_bytes) == 0;
}

/* Whether a request may begin at at. */
static bool may_begin(const char *message, const char *at)
{
    static const char *const leads[] = {"and", "then", "please", "also", "first", "you", "now"};
    if (at > message && !isspace((unsigned char)at[-1]))
        return false;
    struct text_span before = word_before(message, at);
    if (before.length_bytes == 0 || before.bytes[0] == '@' ||
        strchr(".,;:!?\"", before.bytes[before.length_bytes - 1]) != NULL)
        return true;
    for (size_t i = 0; i < sizeof leads / sizeof *leads; i++)
        if (is_word(before, leads[i]))
            return true;
    return false;
}

/*
 * "call NAME {...}" makes any call, with any arguments, which ask for nothing else. Returns whether
 * these words are at at.
 */
static bool find_literal_call(const char *at, struct found *found)
{
    if (strncasecmp(at, "call ", 5) != 0)
        return false;
    const char *name = at + 5;
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    const char *json = name + length + strspn(name + length, " ");
    json_error_t error;
    json_t *arguments = length == 0 ? NULL : json_loads(json, JSON_DISABLE_EOF_CHECK, &error);
    if (!json_is_object(arguments)) {
        json_decref(arguments);
        return false;
    }
    *found = (struct found){.tool = memory_copy_bytes(name, length),
        .arguments = arguments,
        .begin = at,
        .rest = json + error.position};
    return true;
}

static bool find_request(const char *at, struct found *found)
{
    const struct opening *opening = find_opening(at);
    if (opening == NULL)
        return find_literal_call(at, found);
    *found = (struct found){.opening = opening, .begin = at, .rest = at + strlen(opening->words)};
    return true;
}

static size_t find_requests(const char *message, struct found found[static MAX_CALLS])
{
    size_t count = 0;
    for (const char *at = message; *at != '\0' && count < MAX_CALLS; at++)
        if (may_begin(message, at) && find_request(at, &found[count]))
            at = found[count++].rest - 1;
    return count;
}

static const char *end_of_sentence(const char *at, const char *limit)
{
    for (; at < limit; at++)
        if (*at == '\n' ||
            (strchr(".;!?", *at) != NULL && (at + 1 == limit || isspace((unsigned char)at[1]))))
            return at;
    return limit;
}

/* Where a mention begins that ends the words, "X, @jarvis, " of "X, @jarvis, list tasks"; or end.
 */
static const char *begin_of_last_mention(const char *words, const char *end)
{
    const char *at = end;
    while (at > words && strchr(" \t,:", at[-1]) != NULL)
        at--;
    while (at > words && is_slug_character(at[-1]))
        at--;
    bool is_mention = at > words && at[-1] == '@';
    return is_mention && text_trim(words, (size_t)(at - 1 - words)).length_bytes > 0 ? at - 1 : end;
}

/* Where the words end that a request is about; the next one, if any, begins at limit. */
static const char *end_of_request(const struct found *found, const char *limit)
{
    const struct opening *opening = found->opening;
    if (opening == NULL || opening->read == read_task_words || opening->read == read_no_words)
        return found->rest;
    const char *end = end_of_sentence(found->rest, limit);
    return end == limit && *limit != '\0' ? begin_of_last_mention(found->rest, limit) : end;
}

/*
 * Whether a request is for the agent, as far as the words between begin and end, which stand before
 * it, tell; otherwise it is as it was before.
 */
static bool is_for(const char *agent, const char *begin, const char *end, bool before)
{
    bool is_mentioned = false;
    bool has_mentions = false;
    for (const char *at = begin; at < end; at++) {
        if (*at != '@')
            continue;
        size_t length = 0;
        while (is_slug_character(at[1 + length]))
            length++;
        has_mentions = true;
        if (at[1] == '"' || (length == strlen(agent) && strncasecmp(at + 1, agent, length) == 0))
            is_mentioned = true;
    }
    return has_mentions ? is_mentioned : before;
}

/* Drops what joins the words to the next request: blanks, commas, "and", "then", "please". */
static size_t drop_joints(const char *words, size_t length)
{
    static const char *const joints[] = {" and", " then", " please", " also"};
    for (bool dropped = true; dropped;) {
        dropped = false;
        while (length > 0 && strchr(" \t,", words[length - 1]) != NULL)
            length--;
        for (size_t i = 0; i < sizeof joints / sizeof *joints; i++) {
            size_t joint = strlen(joints[i]);
            if (length < joint || strncasecmp(words + length - joint, joints[i], joint) != 0)
                continue;
            length -= joint;
            dropped = true;
        }
    }
    return length;
}

/* The arguments of a request whose words end at end, a new reference; NULL: it is not a request. */
static json_t *read_arguments_of(
    const struct found *found, const char *end, const struct agent_listener *listener)
{
    if (found->opening == NULL)
        return json_incref(found->arguments);
    char *words =
        memory_copy_bytes(found->rest, drop_joints(found->rest, (size_t)(end - found->rest)));
    char *trimmed = memory_copy_trimmed(words);
    json_t *arguments = found->opening->read(found->opening->detail, trimmed, listener);
    free(words);
    free(trimmed);
    return arguments;
}

/* Takes arguments. */
static void add_call(
    json_t *calls, const char *message, const struct found *found, json_t *arguments)
{
    bool later = json_array_size(calls) > 0 && is_word(word_before(message, found->begin), "then");
    json_array_append_new(calls, memory_json(json_pack("{s:s, s:o, s:b}", "name",
                                     found->opening == NULL ? found->tool : found->opening->tool,
                                     "arguments", arguments, "later", (int)later)));
}

json_t *agent_words_read(const char *message, const struct agent_listener *listener)
{
    struct found found[MAX_CALLS];
    json_t *calls = memory_json(json_array());
    size_t count = find_requests(message, found);
    const char *read_to = message;
    bool is_addressed = true;
    for (size_t i = 0; i < count; i++) {
        const char *limit = i + 1 < count ? found[i + 1].begin : message + strlen(message);
        const char *end = end_of_request(&found[i], limit);
        is_addressed = is_for(listener->agent, read_to, found[i].begin, is_addressed);
        json_t *arguments = is_addressed ? read_arguments_of(&found[i], end, listener) : NULL;
        if (arguments != NULL)
            add_call(calls, message, &found[i], arguments);
        read_to = end;
        free(found[i].tool);
        json_decref(found[i].arguments);
    }
    return calls;
}
