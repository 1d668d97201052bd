/*
 * A prompt is a text, and an agent tells its parts apart by lines that have a fixed form. Most of
 * what stands between these lines was written by people and agents, who may write the same lines:
 * by accident, when they quote a prompt, or to make an agent take their words for the runtime's.
 * Therefore:
 *
 * - Words on a line of ours stay on that line. Line breaks in a title or a name become blanks.
 * - Words on lines of their own are searched for lines that look like ours, which get a backslash
 *   in front. So do those that have backslashes there already: what was written can always be told.
 * - Nothing is cut out but NULs, which the gateway does not accept.
 *
 * A line looks like ours if it begins with three "=" or with one of our labels, or has nothing but
 * dashes, to an eye that skips blanks, takes no notice of case, does not see invisible characters,
 * and reads fullwidth forms and other double bars as the characters that they resemble. Code fences
 * and quotes make no difference: a line within them is a line. What ends a line is everything that
 * any reader takes for the end of one, and is written as "\n", so that all readers agree.
 *
 * Limits count UTF-16 units of what was written, as JavaScript does; backslashes come on top.
 *
 * The agents that a context lists are objects with id, slug, name and role. Nothing in them can be
 * relied on: an item of another type is passed over, and a missing field is empty.
 */
#include "prompt/framing.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

enum { BEGINNING_BYTES = 48, MIN_RUN = 3 };

static const char ellipsis[] = "\xE2\x80\xA6";

static const char *const block_names[] = {
    [BLOCK_BODY] = "MAIN USER MESSAGE (NOTIFICATION BODY)",
    [BLOCK_REQUEST] = "REQUEST TO RESPOND TO",
    [BLOCK_CONTEXT] = "STRUCTURED CONTEXT",
    [BLOCK_LATEST_MESSAGE] = "LATEST THREAD MESSAGE",
    [BLOCK_HISTORY] = "THREAD HISTORY",
    [BLOCK_SCOPE] = "RESPONSE SCOPE RULES",
    [BLOCK_OPERATION] = "OPERATIONAL INSTRUCTIONS",
};

const char *const prompt_labels[] = {
    [LABEL_NOTIFICATION] = "## Notification:",
    [LABEL_AUTHOR] = "Author:",
    [LABEL_CONTENT] = "Content:",
    [LABEL_TASK] = "Task:",
    [LABEL_TASK_ID] = "Task ID:",
    [LABEL_DESCRIPTION] = "Task description:",
    [LABEL_REPOSITORY] = "Repository context:",
    [LABEL_GLOBAL] = "Global Context:",
    [LABEL_TOTALS] = "Totals (sampled per status):",
    [LABEL_MESSAGE_AUTHOR] = "Message author:",
    [LABEL_MESSAGE_ID] = "Message ID:",
    [LABEL_MESSAGE_CONTENT] = "Message content:",
    [LABEL_AGENTS] = "Other agents:",
    [LABEL_PRIMARY_USER] = "Primary user:",
    [LABEL_NOTIFICATION_ID] = "Notification ID:",
};

struct point_range {
    uint32_t first;
    uint32_t last;
};

/* Control and format characters and fillers, which leave no mark. */
static const struct point_range invisible[] = {{0x01, 0x08}, {0x0E, 0x1F}, {0x7F, 0x9F},
    {0xAD, 0xAD}, {0x34F, 0x34F}, {0x61C, 0x61C}, {0x115F, 0x1160}, {0x17B4, 0x17B5},
    {0x180B, 0x180F}, {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x206F}, {0x2800, 0x2800},
    {0x3164, 0x3164}, {0xFE00, 0xFE0F}, {0xFFA0, 0xFFA0}, {0xFFF9, 0xFFFB}, {0x1D173, 0x1D17A},
    {0xE0000, 0xE0FFF}};

/* Those that look like "=" and are not its fullwidth form. */
static const struct point_range double_bars[] = {{0x1400, 0x1400}, {0x2550, 0x2550},
    {0x2A74, 0x2A76}, {0x30A0, 0x30A0}, {0xA78A, 0xA78A}, {0xFE66, 0xFE66}};

static const struct point_range dashes[] = {
    {0x2010, 0x2015}, {0x2212, 0x2212}, {0x2500, 0x2501}, {0xFE58, 0xFE58}, {0xFE63, 0xFE63}};

#define IS_IN(point, ranges) is_in_ranges((point), (ranges), sizeof(ranges) / sizeof(ranges)[0])

static bool is_in_ranges(uint32_t point, const struct point_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i].first && point <= ranges[i].last)
            return true;
    return false;
}

/* A character and what an eye takes it for. */
struct seen {
    size_t length_bytes;
    char as; /* ASCII in lower case, ' ' for white space, '\0' for nothing, '?' for all else */
};

static char resemblance(uint32_t point)
{
    if (point >= 0xFF01 && point <= 0xFF5E)
        point -= 0xFF01 - '!';
    if (point >= 'A' && point <= 'Z')
        return (char)(point - 'A' + 'a');
    if (point >= ' ' && point < 0x7F)
        return (char)point;
    if (point == 0 || IS_IN(point, invisible))
        return '\0';
    if (IS_IN(point, double_bars))
        return '=';
    return IS_IN(point, dashes) ? '-' : '?';
}

/* The character at the front of span, which is not empty. */
static struct seen look_at(struct text_span span)
{
    size_t step = text_utf8_length(span.bytes, span.length_bytes);
    if (step == 0)
        return (struct seen){1, '?'};
    if (text_blank_length(span.bytes, span.length_bytes) > 0)
        return (struct seen){step, ' '};
    return (struct seen){step, resemblance(text_utf8_point(span.bytes, step))};
}

static void skip_bytes(struct text_span *span, size_t length_bytes)
{
    span->bytes += length_bytes;
    span->length_bytes -= length_bytes;
}

/*
 * Writes what an eye sees at the beginning of a line: without blanks and backslashes in front, and
 * with single blanks in between.
 */
static void read_beginning(struct text_span line, char beginning[static BEGINNING_BYTES + 1])
{
    size_t used = 0;
    while (line.length_bytes > 0 && used < BEGINNING_BYTES) {
        struct seen seen = look_at(line);
        skip_bytes(&line, seen.length_bytes);
        bool is_lead = used == 0 && (seen.as == ' ' || seen.as == '\\');
        bool is_second_blank = used > 0 && seen.as == ' ' && beginning[used - 1] == ' ';
        if (seen.as != '\0' && !is_lead && !is_second_blank)
            beginning[used++] = seen.as;
    }
    if (used > 0 && beginning[used - 1] == ' ')
        used--;
    beginning[used] = '\0';
}

static bool looks_like_ours(struct text_span line)
{
    char beginning[BEGINNING_BYTES + 1];
    read_beginning(line, beginning);
    if (strspn(beginning, "=") >= MIN_RUN)
        return true;
    size_t dash_count = strspn(beginning, "-");
    if (dash_count >= MIN_RUN && beginning[dash_count] == '\0')
        return true;
    for (size_t i = 0; i < sizeof prompt_labels / sizeof prompt_labels[0]; i++)
        if (strncasecmp(beginning, prompt_labels[i], strlen(prompt_labels[i])) == 0)
            return true;
    return false;
}

static void append_without_nuls(struct text *text, struct text_span span)
{
    while (span.length_bytes > 0) {
        const char *nul = memchr(span.bytes, '\0', span.length_bytes);
        size_t piece = nul != NULL ? (size_t)(nul - span.bytes) : span.length_bytes;
        text_append_bytes(text, span.bytes, piece);
        skip_bytes(&span, piece + (nul != NULL));
    }
}

/* The length in bytes of the line break at the front of span, 0 if there is none. */
static size_t break_bytes(struct text_span span)
{
    /* After CR LF: next line, line separator, paragraph separator. */
    static const char *const long_breaks[] = {"\r\n", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"};
    if (span.length_bytes == 0 || (span.bytes[0] > 0x1E && span.bytes[0] < 0x7F))
        return 0;
    for (size_t i = 0; i < sizeof long_breaks / sizeof long_breaks[0]; i++) {
        size_t length = strlen(long_breaks[i]);
        if (span.length_bytes >= length && memcmp(span.bytes, long_breaks[i], length) == 0)
            return length;
    }
    /* Of the single bytes, the last three separate files, groups and records. */
    return span.bytes[0] != '\0' && strchr("\n\r\v\f\x1C\x1D\x1E", span.bytes[0]) != NULL;
}

/* Takes the first line off words, without its break; *more: a break followed it. */
static struct text_span take_line(struct text_span *words, bool *more)
{
    struct text_span line = {words->bytes, 0};
    size_t break_length = break_bytes(*words);
    while (break_length == 0 && words->length_bytes > 0) {
        skip_bytes(words, 1);
        line.length_bytes++;
        break_length = break_bytes(*words);
    }
    skip_bytes(words, break_length);
    *more = break_length > 0;
    return line;
}

/* Trims words and cuts them to the limit, an ellipsis included. *was_cut: it has to be added. */
static struct text_span cut_words(struct text_span words, size_t limit_units, bool *was_cut)
{
    words = text_trim(words.bytes, words.length_bytes);
    /* There are never more units than bytes. */
    *was_cut = words.length_bytes > limit_units &&
               text_utf16_cut(words.bytes, words.length_bytes, limit_units) < words.length_bytes;
    if (!*was_cut)
        return words;
    size_t kept = text_utf16_cut(words.bytes, words.length_bytes, limit_units - 1);
    return text_trim(words.bytes, kept);
}

void framing_begin(struct text *text, enum prompt_block block)
{
    text_printf(text, "===== %s START =====\n", block_names[block]);
}

void framing_end(struct text *text, enum prompt_block block)
{
    text_printf(text, "===== %s END =====\n", block_names[block]);
}

void framing_trim_end(struct text *text)
{
    if (text->failed)
        return;
    struct text_span kept = text_trim(text->data, text->length_bytes);
    text->length_bytes = (size_t)(kept.bytes - text->data) + kept.length_bytes;
    text->data[text->length_bytes] = '\0';
}

/* How many characters that look like "=" are at the front of span. */
static size_t count_double_bars(struct text_span span)
{
    size_t count = 0;
    while (span.length_bytes > 0) {
        struct seen seen = look_at(span);
        if (seen.as != '=' && seen.as != '\0')
            break;
        count += seen.as == '=';
        skip_bytes(&span, seen.length_bytes);
    }
    return count;
}

/* White space, and control characters, some of which break lines. */
static bool is_gap(struct text_span span, struct seen seen)
{
    uint32_t point = text_utf8_point(span.bytes, seen.length_bytes);
    return seen.as == ' ' || (point > 0 && point < ' ') || (point >= 0x7F && point <= 0x9F);
}

/*
 * How many characters at the front of span are visible ASCII other than "=". They are most of what
 * is written, and nothing has to be done about them.
 */
static size_t count_plain(struct text_span span)
{
    size_t count = 0;
    while (count < span.length_bytes && span.bytes[count] > ' ' && span.bytes[count] < 0x7F &&
           span.bytes[count] != '=')
        count++;
    return count;
}

void framing_append_line(struct text *text, struct text_span words, size_t limit_units)
{
    bool was_cut;
    bool after_gap = false;
    bool in_run = false; /* of "=" */
    struct text_span rest = cut_words(words, limit_units, &was_cut);
    while (rest.length_bytes > 0) {
        size_t plain = count_plain(rest);
        struct seen seen = plain > 0 ? (struct seen){plain, '?'} : look_at(rest);
        bool gap = plain == 0 && is_gap(rest, seen);
        if (!gap && rest.bytes[0] != '\0') {
            if (after_gap)
                text_append(text, " ");
            if (seen.as == '=' && !in_run && count_double_bars(rest) >= MIN_RUN)
                text_append(text, "\\");
            text_append_bytes(text, rest.bytes, seen.length_bytes);
            after_gap = false;
        }
        after_gap = after_gap || gap;
        in_run = seen.as == '=' || (seen.as == '\0' && in_run);
        skip_bytes(&rest, seen.length_bytes);
    }
    if (was_cut)
        text_append(text, ellipsis);
}

/* One line of several, without its end. */
static void append_one_of_lines(struct text *text, struct text_span line)
{
    size_t margin = 0;
    while (margin < line.length_bytes && (line.bytes[margin] == ' ' || line.bytes[margin] == '\t'))
        margin++;
    text_append_bytes(text, line.bytes, margin);
    if (looks_like_ours(line))
        text_append(text, "\\");
    skip_bytes(&line, margin);
    append_without_nuls(text, line);
}

bool framing_append_lines(
    struct text *text, struct text_span words, size_t limit_units, const char *indent)
{
    bool was_cut;
    struct text_span rest = cut_words(words, limit_units, &was_cut);
    if (rest.length_bytes == 0 && !was_cut)
        return false;
    bool more = true;
    while (more) {
        append_one_of_lines(text, take_line(&rest, &more));
        if (more) {
            text_append(text, "\n");
            text_append(text, indent);
        }
    }
    if (was_cut)
        text_append(text, ellipsis);
    return true;
}

void framing_append_field(struct text *text, const json_t *object, const char *key)
{
    framing_append_line(text, json_guard_text(object, key), FRAMING_NO_LIMIT);
}

const json_t *framing_find_agent(const json_t *agents, const char *id)
{
    size_t index;
    const json_t *agent;
    json_array_foreach (agents, index, agent)
        if (json_guard_is(agent, "id", id, ""))
            return agent;
    return NULL;
}

void framing_append_mention(struct text *text, const json_t *agent)
{
    if (json_guard_text(agent, "slug").length_bytes > 0) {
        text_append(text, "@");
        framing_append_field(text, agent, "slug");
    } else {
        text_append(text, "@\"");
        framing_append_field(text, agent, "name");
        text_append(text, "\"");
    }
}
