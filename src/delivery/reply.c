/*
 * Agents answer through several layers of software, so the text may be in several places of the
 * response: output_text, the output items, text, or content, each of them a string, an array of
 * parts, or an object with text or content. The first place that holds any text counts. Pieces are
 * trimmed and joined by newlines.
 *
 * The result is what the backend can store: without NULs, and at most REPLY_LIMIT_BYTES long. A
 * placeholder that the gateway sends for an empty answer counts as empty.
 */
#include "delivery/reply.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

static const char *const placeholders[] = {
    "No response from OpenClaw.", "No response from Clawdbot.", "NO_REPLY"};

/* Appends value on a line of its own, if it is a string with more than white space. */
static bool collect_string(const json_t *value, struct text *found)
{
    if (!json_is_string(value))
        return false;
    struct text_span trimmed = text_trim(json_string_value(value), json_string_length(value));
    if (trimmed.length_bytes == 0)
        return false;
    if (found->length_bytes > 0)
        text_append(found, "\n");
    text_append_bytes(found, trimmed.bytes, trimmed.length_bytes);
    return true;
}

/* Any of the forms that text comes in. The recursion is as deep as json_guard allows. */
static void collect_text(const json_t *value, struct text *found)
{
    size_t index;
    const json_t *item;
    if (json_is_array(value)) {
        json_array_foreach (value, index, item)
            collect_text(item, found);
    } else if (json_is_object(value)) {
        collect_string(json_object_get(value, "text"), found);
        collect_text(json_object_get(value, "content"), found);
    } else {
        collect_string(value, found);
    }
}

static void collect_output(const json_t *output, struct text *found)
{
    size_t index;
    const json_t *item;
    json_array_foreach (output, index, item) {
        collect_text(json_object_get(item, "content"), found);
        collect_string(json_object_get(item, "text"), found);
    }
}

static void find_text(const json_t *body, struct text *found)
{
    if (collect_string(json_object_get(body, "output_text"), found))
        return;
    collect_output(json_object_get(body, "output"), found);
    if (found->length_bytes > 0 || collect_string(json_object_get(body, "text"), found))
        return;
    collect_text(json_object_get(body, "content"), found);
}

static void remove_nuls(struct text *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->length_bytes; i++)
        if (text->data[i] != '\0')
            text->data[kept++] = text->data[i];
    text->length_bytes = kept;
    text->data[kept] = '\0';
}

static void trim_text(struct text *text)
{
    struct text_span trimmed = text_trim(text->data, text->length_bytes);
    memmove(text->data, trimmed.bytes, trimmed.length_bytes);
    text->length_bytes = trimmed.length_bytes;
    text->data[text->length_bytes] = '\0';
}

static void cut_to_limit(struct text *text)
{
    enum { NOTICE_ROOM_BYTES = 200 };
    size_t whole = text->length_bytes;
    if (whole <= REPLY_LIMIT_BYTES)
        return;
    size_t kept = text_utf8_cut(text->data, whole, REPLY_LIMIT_BYTES - NOTICE_ROOM_BYTES);
    text->length_bytes = kept;
    text_printf(text, "\n\n[This reply was cut: it was %zu bytes long, the task thread takes %d.]",
        whole, (int)REPLY_LIMIT_BYTES);
}

static bool is_placeholder(const char *text)
{
    for (size_t i = 0; i < sizeof placeholders / sizeof placeholders[0]; i++)
        if (strcmp(text, placeholders[i]) == 0)
            return true;
    return false;
}

int reply_read(const json_t *body, char **reply, struct error *error)
{
    struct text found = {0};
    find_text(body, &found);
    text_append(&found, "");
    if (!found.failed) {
        remove_nuls(&found);
        trim_text(&found);
        if (is_placeholder(found.data))
            text_clear(&found);
        cut_to_limit(&found);
    }
    *reply = text_take(&found);
    return *reply != NULL ? 0 : error_set(error, ERROR_NO_MEMORY, "no memory for the reply");
}
