#include "base/json_write.h"

#include <stdbool.h>

#include "base/text.h"

static void write_escape(struct text *text, unsigned char byte)
{
    switch (byte) {
    case '"':
        text_append(text, "\\\"");
        break;
    case '\\':
        text_append(text, "\\\\");
        break;
    case '\n':
        text_append(text, "\\n");
        break;
    case '\r':
        text_append(text, "\\r");
        break;
    case '\t':
        text_append(text, "\\t");
        break;
    default:
        text_printf(text, "\\u%04X", byte);
    }
}

static bool needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* The bytes are UTF-8: Jansson takes no other string. */
static void write_string(struct text *text, const char *bytes, size_t length_bytes)
{
    text_append_bytes(text, "\"", 1);
    for (size_t at = 0; at < length_bytes;) {
        size_t from = at;
        while (at < length_bytes && !needs_escape((unsigned char)bytes[at]))
            at++;
        text_append_bytes(text, bytes + from, at - from);
        if (at < length_bytes)
            write_escape(text, (unsigned char)bytes[at++]);
    }
    text_append_bytes(text, "\"", 1);
}

static int append_piece(const char *bytes, size_t length_bytes, void *text)
{
    text_append_bytes(text, bytes, length_bytes);
    return ((const struct text *)text)->failed ? -1 : 0;
}

static void write_value(struct text *text, const json_t *json);

static void write_object(struct text *text, const json_t *object)
{
    const char *separator = "{";
    /* Iterating changes nothing, though Jansson asks for an object that may be changed. */
    json_t *iterated = (json_t *)object;
    for (void *at = json_object_iter(iterated); at != NULL;
         at = json_object_iter_next(iterated, at)) {
        text_append_bytes(text, separator, 1);
        write_string(text, json_object_iter_key(at), json_object_iter_key_len(at));
        text_append_bytes(text, ":", 1);
        write_value(text, json_object_iter_value(at));
        separator = ",";
    }
    text_append(text, *separator == '{' ? "{}" : "}");
}

static void write_array(struct text *text, const json_t *array)
{
    size_t index;
    const json_t *item;
    text_append_bytes(text, "[", 1);
    json_array_foreach (array, index, item) {
        if (index > 0)
            text_append_bytes(text, ",", 1);
        write_value(text, item);
    }
    text_append_bytes(text, "]", 1);
}

static void write_value(struct text *text, const json_t *json)
{
    if (json_is_object(json))
        write_object(text, json);
    else if (json_is_array(json))
        write_array(text, json);
    else if (json_is_string(json))
        write_string(text, json_string_value(json), json_string_length(json));
    else if (json_dump_callback(json, append_piece, text, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        text->failed = true;
}

char *json_write(const json_t *json)
{
    struct text text = {0};
    if (json_is_object(json) || json_is_array(json))
        write_value(&text, json);
    else
        text.failed = true;
    return text_take(&text);
}
