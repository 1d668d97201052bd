#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/redact.h"
#include "base/text.h"

enum { MESSAGE_BYTES = 3072, LINE_BYTES = 4096, VALUE_BYTES = 640 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_int current_format = LOG_FORMAT_TEXT;

/* A line under construction. What does not fit is left out; room for the line end is kept. */
struct line {
    char bytes[LINE_BYTES];
    size_t used;
};

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&current_level, (int)level);
    atomic_store(&current_format, (int)format);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static void line_put(struct line *line, const char *string)
{
    size_t room = sizeof line->bytes - 8 - line->used;
    size_t length = text_utf8_cut(string, strlen(string), room);
    memcpy(line->bytes + line->used, string, length);
    line->used += length;
}

/* Whole characters only, so that a line that had to be cut is still JSON. */
static void line_put_json_string(struct line *line, const char *string)
{
    line_put(line, "\"");
    for (const char *at = string; *at != '\0' && line->used + 16 < sizeof line->bytes;) {
        size_t step = text_utf8_length(at, strnlen(at, 4));
        if (step == 0)
            step = 1;
        if (*at == '"' || *at == '\\')
            line_put(line, "\\");
        memcpy(line->bytes + line->used, at, step);
        line->used += step;
        at += step;
    }
    line_put(line, "\"");
}

/* The value in quotes when it could be taken for more than one word. */
static void line_put_text_value(struct line *line, const char *value)
{
    if (value[0] == '\0' || strpbrk(value, " \"=") != NULL)
        line_put_json_string(line, value);
    else
        line_put(line, value);
}

static void line_put_value(struct line *line, const struct log_field *field, bool json)
{
    char value[VALUE_BYTES];
    if (field->text == NULL) {
        snprintf(value, sizeof value, "%" PRId64, field->number);
        line_put(line, value);
        return;
    }
    text_quote(value, sizeof value, field->text, strlen(field->text));
    if (json)
        line_put_json_string(line, value);
    else
        line_put_text_value(line, value);
}

static void build_text(struct line *line, enum log_level level, const char *component,
    const char *message, const struct log_field *fields)
{
    line_put(line, " ");
    line_put(line, level_names[level]);
    line_put(line, " [");
    line_put(line, component);
    line_put(line, "] ");
    line_put(line, message);
    for (; fields != NULL && fields->key != NULL; fields++) {
        line_put(line, " ");
        line_put(line, fields->key);
        line_put(line, "=");
        line_put_value(line, fields, false);
    }
}

static void build_json(struct line *line, enum log_level level, const char *component,
    const char *message, const struct log_field *fields)
{
    line_put(line, "\",\"level\":");
    line_put_json_string(line, level_names[level]);
    line_put(line, ",\"component\":");
    line_put_json_string(line, component);
    line_put(line, ",\"msg\":");
    line_put_json_string(line, message);
    for (; fields != NULL && fields->key != NULL && line->used + VALUE_BYTES < LINE_BYTES;
         fields++) {
        line_put(line, ",");
        line_put_json_string(line, fields->key);
        line_put(line, ":");
        line_put_value(line, fields, true);
    }
    line_put(line, "}");
}

static void write_whole(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(descriptor, bytes, length);
        if (written <= 0)
            return;
        bytes += written;
        length -= (size_t)written;
    }
}

__attribute__((format(printf, 4, 0))) static void write_line(enum log_level level,
    const char *component, const struct log_field *fields, const char *format, va_list arguments)
{
    if (!log_is_on(level))
        return;
    bool json = atomic_load(&current_format) == LOG_FORMAT_JSON;
    char raw[MESSAGE_BYTES];
    char message[MESSAGE_BYTES];
    vsnprintf(raw, sizeof raw, format, arguments);
    text_quote(message, sizeof message, raw, strlen(raw));
    char time[CLOCK_ISO_BYTES];
    clock_iso(clock_wall_ms(), time);
    struct line line = {.used = 0};
    line_put(&line, json ? "{\"ts\":\"" : "");
    line_put(&line, time);
    if (json)
        build_json(&line, level, component, message, fields);
    else
        build_text(&line, level, component, message, fields);
    line.bytes[line.used++] = '\n';
    write_whole(level >= LOG_LEVEL_WARN ? STDERR_FILENO : STDOUT_FILENO, line.bytes, line.used);
}

#define DEFINE_LOG(name, level)                                \
    void name(const char *component, const char *format, ...)  \
    {                                                          \
        va_list arguments;                                     \
        va_start(arguments, format);                           \
        write_line(level, component, NULL, format, arguments); \
        va_end(arguments);                                     \
    }

DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_error, LOG_LEVEL_ERROR)

void log_event(enum log_level level, const char *component, const struct log_field *fields,
    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(level, component, fields, format, arguments);
    va_end(arguments);
}
