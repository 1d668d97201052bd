/*
 * From the gateway's answer to what is posted in the thread. Three questions, in this order:
 *
 *   What did the agent say to people?   the text parts of its messages; a final answer wins over
 *                                       commentary, and reasoning is never looked at
 *   Did it choose to say nothing?       the silence words that prompts ask for, the gateways'
 *                                       placeholders for an empty answer; models decorate both
 *   Is it the gateway that speaks?      old releases send a failed model call as the agent's words
 *
 * Silence is judged on words, not on characters: the text is cut into lower-case words, everything
 * between them (markup, punctuation, emoji) is dropped, and what is left has to consist of silence
 * phrases alone. So "**NO_REPLY**", "no_reply." and "NO_REPLY NO_REPLY" are the same, and a
 * sentence that mentions the word is not.
 *
 * Pure; workers call it, each on its own answer. docs/protocol.md, "Gateway answers", has the
 * facts.
 */
#include "delivery/reply.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "delivery/tool_rounds.h"

/* Phrases that agents or gateways use for silence, as lower-case words. */
static const struct {
    const char *words;
    bool is_token; /* written by the agent to be silent; alone on the last line it is dropped */
} silence_phrases[] = {
    {"no_reply", true},
    {"heartbeat_ok", true},
    {"no_", true},
    {"action no_reply", true}, /* {"action": "NO_REPLY"} */
    {"no response from openclaw", false},
    {"no response from clawdbot", false},
    {"no response from agent", false},
    {"no reply from agent", false},
};

/* Said before the token by agents that announce what they do; no silence by itself. */
static const char heartbeat_preamble[] = "loading context for heartbeat";

/* Beginnings of the texts by which old gateways report a failed call of the model provider. */
static const char *const provider_errors[] = {
    "\xE2\x9A\xA0\xEF\xB8\x8F API rate limit reached.",
    "\xE2\x9A\xA0\xEF\xB8\x8F API provider returned a billing error",
    "Connection error.",
    "Request timed out before a response was generated.",
    "LLM request timed out.",
    "LLM request rejected:",
    "LLM request failed with an unknown error.",
    "LLM error ",
    "The AI service is temporarily overloaded.",
    "The AI service is temporarily unavailable (HTTP",
    "The AI service returned an error.",
    "Context overflow: prompt too large for the model.",
    "Message ordering conflict - please try again.",
};

/* Appends value to the pieces found so far, one a line, if it is a string with more than blanks. */
static bool collect_string(const json_t *value, struct text *found)
{
    if (!json_is_string(value))
        return false;
    struct text_span trimmed = text_trim(json_string_value(value), json_string_length(value));
    if (trimmed.length_bytes == 0)
        return false;
    if (found->length_bytes > 0)
        text_append(found, "\n");
    /* NULs cannot be stored by the backend. */
    text_append_without_nuls(found, trimmed.bytes, trimmed.length_bytes);
    return true;
}

/*
 * The content of a message: a string, a part, or an array of these. Parts of other types, such as
 * reasoning_text, are not for people. json_guard bounds the depth.
 */
static void collect_content(const json_t *content, struct text *found)
{
    size_t index;
    const json_t *part;
    json_array_foreach (content, index, part)
        collect_content(part, found);
    if (json_is_string(content)) {
        collect_string(content, found);
    } else if (!json_is_object(content)) {
        return;
    } else if (json_guard_is(content, "type", "text", "text") ||
               json_guard_is(content, "type", "output_text", "")) {
        collect_string(json_object_get(content, "text"), found);
        collect_content(json_object_get(content, "content"), found);
    } else if (json_guard_is(content, "type", "refusal", "")) {
        collect_string(json_object_get(content, "refusal"), found);
    }
}

static bool is_agents_message(const json_t *item)
{
    return json_guard_is(item, "type", "message", "message") &&
           json_guard_is(item, "role", "assistant", "assistant");
}

/* The messages of one phase: commentary or, with final set, all others. */
static void collect_messages(const json_t *output, bool final, struct text *found)
{
    size_t index;
    const json_t *item;
    json_array_foreach (output, index, item) {
        if (!is_agents_message(item) || json_guard_is(item, "phase", "commentary", "") == final)
            continue;
        collect_content(json_object_get(item, "content"), found);
        collect_string(json_object_get(item, "text"), found);
    }
}

/* The first place that holds text counts; the later ones are those of older answers. */
static void find_text(const json_t *body, struct text *found)
{
    const json_t *output = json_object_get(body, "output");
    if (collect_string(json_object_get(body, "output_text"), found))
        return;
    collect_messages(output, true, found);
    /* Commentary beside a call was said before its result was known. */
    if (found->length_bytes == 0 && !tool_rounds_asked_for(body))
        collect_messages(output, false, found);
    if (found->length_bytes == 0 && !collect_string(json_object_get(body, "text"), found))
        collect_content(json_object_get(body, "content"), found);
}

/* Makes length_bytes from begin the whole text, trimmed. */
static void keep_span(struct text *text, const char *begin, size_t length_bytes)
{
    struct text_span trimmed = text_trim(begin, length_bytes);
    memmove(text->data, trimmed.bytes, trimmed.length_bytes);
    text->length_bytes = trimmed.length_bytes;
    text->data[text->length_bytes] = '\0';
}

/* Some models write their reasoning in front of the answer, between tags. */
static void remove_reasoning(struct text *text)
{
    static const char *const tags[][2] = {
        {"<think>", "</think>"}, {"<thinking>", "</thinking>"}, {"<reasoning>", "</reasoning>"}};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0];) {
        const char *end = NULL;
        if (strncasecmp(text->data, tags[i][0], strlen(tags[i][0])) == 0)
            end = strcasestr(text->data, tags[i][1]);
        if (end == NULL) {
            i++;
            continue;
        }
        end += strlen(tags[i][1]);
        keep_span(text, end, strlen(end));
        i = 0;
    }
}

/* Whether a character beyond ASCII is punctuation, a symbol or an emoji: the common blocks. */
static bool is_decoration(const char *bytes, size_t length_bytes)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } blocks[] = {{0x80, 0xA9}, {0xAB, 0xB1}, {0xB4, 0xB4}, {0xB6, 0xB8}, {0xBB, 0xBB},
        {0xBF, 0xBF}, {0x2000, 0x206F}, {0x2190, 0x2BFF}, {0x3000, 0x3003}, {0x3008, 0x3020},
        {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFF01, 0xFF0F}, {0x1F000, 0x1FAFF},
        {0xE0000, 0xE007F}};
    uint32_t point = text_utf8_point(bytes, length_bytes);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (point >= blocks[i].first && point <= blocks[i].last)
            return true;
    return false;
}

/*
 * The bytes of the word that begins at bytes; 0 when a separator does. An underscore may be
 * escaped, as Markdown has it: "NO\_REPLY".
 */
static size_t word_bytes(const char *bytes, size_t length_bytes)
{
    size_t at = 0;
    while (at < length_bytes) {
        if ((unsigned char)bytes[at] < 0x80) {
            bool is_escape = bytes[at] == '\\' && at + 1 < length_bytes && bytes[at + 1] == '_';
            if (!isalnum((unsigned char)bytes[at]) && bytes[at] != '_' && !is_escape)
                break;
            at++;
            continue;
        }
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        if (step == 0 || is_decoration(bytes + at, step))
            break;
        at += step;
    }
    return at;
}

/* Appends the word in lower case, without backslashes and the underscores of emphasis around it. */
static void append_word(struct text *words, const char *bytes, size_t length_bytes)
{
    size_t first = 0;
    while (first < length_bytes && bytes[first] == '_')
        first++;
    size_t last = length_bytes;
    /* "NO_" is a silence word of its own, "_no_" an emphasised answer. */
    bool is_half_token =
        first == 0 && length_bytes == 3 && strncasecmp(bytes, "no_", length_bytes) == 0;
    while (!is_half_token && last > first && bytes[last - 1] == '_')
        last--;
    if (first == last)
        return;
    if (words->length_bytes > 0)
        text_append(words, " ");
    for (size_t from = first, to; from < last; from = to + 1) {
        const char *backslash = memchr(bytes + from, '\\', last - from);
        to = backslash != NULL ? (size_t)(backslash - bytes) : last;
        text_append_lower_case(words, bytes + from, to - from);
    }
}

/*
 * The words of a text, without the mentions that it begins with: all of them, or those up to the
 * one that goes beyond limit_bytes.
 */
static void split_words(struct text_span span, size_t limit_bytes, struct text *words)
{
    size_t at = 0;
    while (at < span.length_bytes && words->length_bytes <= limit_bytes) {
        const char *bytes = span.bytes + at;
        size_t length_bytes = word_bytes(bytes, span.length_bytes - at);
        bool is_mention = length_bytes > 0 && at > 0 && bytes[-1] == '@';
        if (is_mention && words->length_bytes == 0) {
            while (at + length_bytes < span.length_bytes &&
                   (bytes[length_bytes] == '-' || isalnum((unsigned char)bytes[length_bytes]) ||
                       bytes[length_bytes] == '_'))
                length_bytes++;
        } else {
            append_word(words, bytes, length_bytes);
        }
        size_t step = text_utf8_length(bytes, span.length_bytes - at);
        at += length_bytes > 0 ? length_bytes : step > 0 ? step : 1;
    }
    text_append(words, "");
}

/* How many bytes of words the phrase takes at its front, the blank after it included; 0: none. */
static size_t match_phrase(const char *words, const char *phrase)
{
    size_t length_bytes = strlen(phrase);
    if (strncmp(words, phrase, length_bytes) != 0)
        return 0;
    if (words[length_bytes] == ' ')
        return length_bytes + 1;
    return words[length_bytes] == '\0' ? length_bytes : 0;
}

/*
 * The same for the phrase of silence at the front, with tokens_only no placeholder. *kind becomes
 * that of the phrase unless a token has made it the agent's choice; the preamble leaves it.
 */
static size_t match_silence(const char *words, bool tokens_only, enum reply_kind *kind)
{
    size_t taken = match_phrase(words, heartbeat_preamble);
    for (size_t i = 0; taken == 0 && i < sizeof silence_phrases / sizeof silence_phrases[0]; i++) {
        if (silence_phrases[i].is_token || !tokens_only)
            taken = match_phrase(words, silence_phrases[i].words);
        if (taken > 0 && *kind != REPLY_SILENT)
            *kind = silence_phrases[i].is_token ? REPLY_SILENT : REPLY_PLACEHOLDER;
    }
    return taken;
}

/* The kind of silence that the words are if they are such phrases and nothing else, or else TEXT.
 */
static enum reply_kind judge_words(const char *words, bool tokens_only)
{
    enum reply_kind kind = REPLY_TEXT;
    while (*words != '\0') {
        size_t taken = match_silence(words, tokens_only, &kind);
        if (taken == 0)
            return REPLY_TEXT;
        words += taken;
    }
    return kind;
}

/*
 * Judges the words of span, which is of text; sets text->failed without memory. Most replies are
 * long and begin with no phrase, so their first words are enough.
 */
static enum reply_kind judge_span(struct text *text, struct text_span span, bool tokens_only)
{
    enum { FIRST_WORDS_BYTES = 64 }; /* longer than each phrase */
    struct text words = {0};
    enum reply_kind kind = REPLY_TEXT;
    split_words(span, FIRST_WORDS_BYTES, &words);
    if (!words.failed && match_silence(words.data, tokens_only, &kind) > 0) {
        text_clear(&words);
        split_words(span, SIZE_MAX, &words);
        kind = words.failed ? REPLY_TEXT : judge_words(words.data, tokens_only);
    }
    text->failed = text->failed || words.failed;
    text_fini(&words);
    return kind;
}

/* In a wake-up the token may stand anywhere: agents like to explain why all is well. */
static bool holds_heartbeat_token(struct text *text)
{
    struct text words = {0};
    const struct text_span span = {text->data, text->length_bytes};
    bool found = false;
    split_words(span, SIZE_MAX, &words);
    for (const char *word = words.failed ? NULL : words.data; word != NULL && !found;) {
        found = match_phrase(word, "heartbeat_ok") > 0;
        word = strchr(word, ' ');
        word = word != NULL ? word + 1 : NULL;
    }
    text->failed = text->failed || words.failed;
    text_fini(&words);
    return found;
}

/* Drops lines at the end that only say that there is nothing to say. */
static void drop_silent_tail(struct text *text)
{
    for (;;) {
        const char *end = memrchr(text->data, '\n', text->length_bytes);
        if (end == NULL)
            return;
        size_t before_bytes = (size_t)(end - text->data);
        const struct text_span line = {end + 1, text->length_bytes - before_bytes - 1};
        if (judge_span(text, line, true) == REPLY_TEXT)
            return;
        keep_span(text, text->data, before_bytes);
    }
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_provider_error_line(const char *text)
{
    static const char warning[] = "\xE2\x9A\xA0\xEF\xB8\x8F ";
    if (begins_with(text, "HTTP ") && isdigit((unsigned char)text[5]) &&
        isdigit((unsigned char)text[6]) && isdigit((unsigned char)text[7]) && text[8] == ':')
        return true;
    const char *billing = strstr(text, " returned a billing error");
    const char *line_end = strchr(text, '\n');
    if (begins_with(text, warning) && billing != NULL && (line_end == NULL || billing < line_end))
        return true;
    for (size_t i = 0; i < sizeof provider_errors / sizeof provider_errors[0]; i++)
        if (begins_with(text, provider_errors[i]))
            return true;
    return false;
}

/* Present and all 0, as the gateway reports it for a model call that failed. */
static bool has_zero_usage(const json_t *body)
{
    static const char *const counts[] = {"input_tokens", "output_tokens", "total_tokens"};
    const json_t *usage = json_object_get(body, "usage");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const json_t *count = json_object_get(usage, counts[i]);
        if (!json_is_number(count) || json_number_value(count) != 0)
            return false;
    }
    return true;
}

/* An error alone; in front of words of the agent it takes a second sign to believe it. */
static bool is_provider_error(
    const json_t *body, const char *text, enum gateway_generation generation)
{
    if (generation == GATEWAY_CURRENT || !is_provider_error_line(text))
        return false;
    bool is_alone = strstr(text, "\n\n") == NULL;
    return is_alone || generation == GATEWAY_OLD || has_zero_usage(body);
}

const char reply_incomplete_notice[] =
    "\n\n[This reply was cut: the agent's run ended before it was complete.]";

/* Ends the text with what there is to say about it, cut so that all of it fits. */
static void cut_to_limit(struct text *text, bool incomplete, size_t max_units)
{
    enum { NOTICE_ROOM_BYTES = 200 };
    size_t whole = text->length_bytes;
    size_t room = incomplete ? NOTICE_ROOM_BYTES : 0;
    if (max_units > 0 && text_utf16_cut(text->data, whole, max_units - room) < whole) {
        text->length_bytes = text_utf16_cut(text->data, whole, max_units - NOTICE_ROOM_BYTES);
        text_printf(
            text, "\n\n[This reply was cut: the task thread takes %zu characters.]", max_units);
    } else if (whole > REPLY_LIMIT_BYTES - room) {
        text->length_bytes =
            text_utf8_cut(text->data, whole, REPLY_LIMIT_BYTES - NOTICE_ROOM_BYTES);
        text_printf(text,
            "\n\n[This reply was cut: it was %zu bytes long, the task thread takes %d.]", whole,
            (int)REPLY_LIMIT_BYTES);
    }
    if (incomplete)
        text_append(text, reply_incomplete_notice);
}

static enum reply_kind classify_text(
    const json_t *body, const struct reply_context *context, struct text *text)
{
    keep_span(text, text->data, text->length_bytes);
    remove_reasoning(text);
    const struct text_span span = {text->data, text->length_bytes};
    if (text->length_bytes == 0)
        return REPLY_BLANK;
    if (context->is_wake_up && holds_heartbeat_token(text))
        return REPLY_SILENT;
    enum reply_kind silence = judge_span(text, span, false);
    if (silence != REPLY_TEXT)
        return silence;
    if (is_provider_error(body, text->data, context->generation))
        return REPLY_PROVIDER_ERROR;
    drop_silent_tail(text);
    cut_to_limit(text, context->incomplete, context->max_units);
    return REPLY_TEXT;
}

void reply_append_beside_calls(struct text *text, const json_t *body)
{
    const json_t *output = json_object_get(body, "output");
    text_append(text, "");
    collect_messages(output, true, text);
    collect_messages(output, false, text);
}

int reply_read(const json_t *body, const struct reply_context *context, struct reply *reply,
    struct error *error)
{
    struct text found = {0};
    find_text(body, &found);
    text_append(&found, "");
    enum reply_kind kind = found.failed ? REPLY_BLANK : classify_text(body, context, &found);
    if (kind != REPLY_TEXT && !found.failed)
        text_clear(&found);
    *reply = (struct reply){.kind = kind, .text = text_take(&found)};
    return reply->text != NULL ? 0 : error_set(error, ERROR_NO_MEMORY, "no memory for the reply");
}
