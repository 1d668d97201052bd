#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log_output.h"
#include "base/secret.h"
#include "base/sync.h"
#include "base/text.h"

enum { MESSAGE_BYTES = 3072, LINE_BYTES = LOG_STREAM_LINE_BYTES, VALUE_BYTES = 640 };

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

enum log_level log_level_now(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    log_flush();
    atomic_store(&current_level, (int)level);
}

bool log_is_on(enum log_level level)
{
    return level >= log_level_now();
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

static void build_line(struct line *line, enum log_level level, const char *component,
    const char *message, const struct log_field *fields)
{
    bool json = atomic_load(&current_format) == LOG_FORMAT_JSON;
    char time[CLOCK_ISO_BYTES];
    clock_iso(clock_wall_ms(), time);
    line_put(line, json ? "{\"ts\":\"" : "");
    line_put(line, time);
    if (json)
        build_json(line, level, component, message, fields);
    else
        build_text(line, level, component, message, fields);
    line->bytes[line->used++] = '\n';
}

/* A log_gap_format. */
static size_t word_gap(const struct log_gap *gap, char bytes[static LINE_BYTES])
{
    char message[128];
    struct line line = {.used = 0};
    int64_t passed_ms = clock_monotonic_ms() - gap->since_ms;
    snprintf(message, sizeof message,
        "Dropped %" PRIu64 " line%s in %" PRId64 " s: the log could not be written", gap->lines,
        gap->lines == 1 ? "" : "s", (passed_ms + 999) / 1000);
    build_line(&line, LOG_LEVEL_WARN, "Log", message,
        LOG_FIELDS(LOG_NUMBER("dropped", (int64_t)gap->lines)));
    memcpy(bytes, line.bytes, line.used);
    return line.used;
}

static void write_message(enum log_level level, const char *component,
    const struct log_field *fields, const char *message)
{
    struct line line = {.used = 0};
    build_line(&line, level, component, message, fields);
    log_stream_write(
        level >= LOG_LEVEL_WARN ? LOG_STREAM_ERR : LOG_STREAM_OUT, line.bytes, line.used, word_gap);
}

static void write_repeats_of(const struct log_fold_item *item)
{
    char message[MESSAGE_BYTES];
    int64_t passed_ms = clock_monotonic_ms() - item->since_ms;
    if (passed_ms > LOG_FOLD_WINDOW_MS)
        passed_ms = LOG_FOLD_WINDOW_MS;
    snprintf(message, sizeof message, "Repeated %u time%s in %d s: %s", item->repeats,
        item->repeats == 1 ? "" : "s", (int)(passed_ms + 999) / 1000, item->message);
    write_message(
        item->level, item->component, LOG_FIELDS(LOG_NUMBER("repeats", item->repeats)), message);
}

/* Whether the message says something new, or repeats what may come again only as a number. */
static bool is_new(enum log_level level, const char *component, const char *message)
{
    struct log_fold_item ended;
    if (level < LOG_LEVEL_WARN)
        return true;
    bool admitted = log_fold_admit(level, component, message, clock_monotonic_ms(), &ended);
    if (ended.repeats > 0)
        write_repeats_of(&ended);
    return admitted;
}

__attribute__((format(printf, 4, 0))) static void write_line(enum log_level level,
    const char *component, const struct log_field *fields, const char *format, va_list arguments)
{
    if (!log_is_on(level))
        return;
    char raw[MESSAGE_BYTES];
    char message[MESSAGE_BYTES];
    vsnprintf(raw, sizeof raw, format, arguments);
    text_quote(message, sizeof message, raw, strlen(raw));
    if (is_new(level, component, message))
        write_message(level, component, fields, message);
}

static void write_repeats_until(int64_t now_ms)
{
    struct log_fold_item item;
    while (log_fold_take(now_ms, &item))
        write_repeats_of(&item);
}

int64_t log_write_repeats(void)
{
    int64_t now_ms = clock_monotonic_ms();
    write_repeats_until(now_ms);
    int64_t max_ms = log_stream_flush_gaps(word_gap) ? LOG_FOLD_WINDOW_MS : LOG_STREAM_WAIT_MS;
    int64_t due_ms = log_fold_due_ms();
    if (due_ms == INT64_MAX || due_ms - now_ms > max_ms)
        return max_ms;
    return due_ms > now_ms ? due_ms - now_ms : 0;
}

void log_flush(void)
{
    write_repeats_until(INT64_MAX);
    log_stream_flush_gaps(word_gap);
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

enum { ID_BITS = 128, SPAN_BITS = 64, HIGHEST_BYTES = ID_BITS / 8, STOCK_BYTES = 256 };

/* Random bytes for the next requests of a thread, so that not each of them costs a system call. */
static _Thread_local struct {
    uint8_t bytes[STOCK_BYTES];
    size_t left;
} stock;

/* count is at most STOCK_BYTES. */
static bool take_random(uint8_t *bytes, size_t count)
{
    if (stock.left < count) {
        if (getrandom(stock.bytes, STOCK_BYTES, 0) != STOCK_BYTES)
            return false;
        stock.left = STOCK_BYTES;
    }
    stock.left -= count;
    memcpy(bytes, stock.bytes + stock.left, count);
    return true;
}

/* So many random bits as digits; "" when there are none. All zero means "invalid" to readers. */
static void random_digits(char *digits, size_t bits)
{
    static const char hexadecimal[] = "0123456789abcdef";
    uint8_t bytes[HIGHEST_BYTES];
    size_t count = bits / 8;
    uint8_t any = 0;
    digits[0] = '\0';
    if (!take_random(bytes, count))
        return;
    for (size_t i = 0; i < count; i++) {
        digits[2 * i] = hexadecimal[bytes[i] >> 4];
        digits[2 * i + 1] = hexadecimal[bytes[i] & 15];
        any |= bytes[i];
    }
    digits[any != 0 ? 2 * count : 0] = '\0';
}

void trace_begin(struct trace *trace)
{
    random_digits(trace->id, ID_BITS);
}

bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES])
{
    char span[SPAN_BITS / 4 + 1];
    header[0] = '\0';
    if (trace == NULL || trace->id[0] == '\0')
        return false;
    random_digits(span, SPAN_BITS);
    if (span[0] == '\0')
        return false;
    snprintf(header, TRACE_HEADER_BYTES, "traceparent: 00-%s-%s-01", trace->id, span);
    return true;
}
