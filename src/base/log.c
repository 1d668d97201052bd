/*
 * From a call of log_warn() to bytes on a stream, all on the caller's stack and in its thread:
 *
 *   format -> text_quote (control characters, redaction) -> folding of repeated warnings
 *          -> one line of text or JSON -> log_stream_write
 *
 * There is no logger thread and no queue: a line that was logged is in the pipe when the call
 * returns, also right before a crash. The price is that the caller may wait for a slow reader, for
 * LOG_STREAM_WAIT_MS at most (base/log_output.h), so nothing is logged with a lock held.
 *
 * Lines have a fixed maximum length, PIPE_BUF, so that one write(2) is atomic on a pipe. Whatever
 * does not fit is truncated at a character boundary; JSON lines stay valid JSON.
 *
 * Level and format are atomics that SIGHUP may change at any time. The main thread calls
 * log_write_repeats() when it is due, which reports folded repeats and dropped lines.
 *
 * The file also creates the trace ids by which a request can be found in the logs of the backend
 * and the gateway.
 */
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
static atomic_bool current_json;

/* A line being built. What does not fit is left out, with room kept for closing it. */
struct line {
    char bytes[LINE_BYTES];
    size_t used;
};

void log_configure(enum log_level level, bool as_json)
{
    atomic_store(&current_level, (int)level);
    atomic_store(&current_json, as_json);
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
    /* The reserve is for a closing quote, brace and line end. */
    size_t room = sizeof line->bytes - 8 - line->used;
    size_t length = text_utf8_cut(string, strlen(string), room);
    memcpy(line->bytes + line->used, string, length);
    line->used += length;
}

/* Appends whole characters and always the closing quote, so a truncated line is still JSON. */
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

/* Quotes the value if it could be read as more than one word. */
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

static void line_build_text(struct line *line, enum log_level level, const char *component,
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

/* Continues after the opening brace and the time. Fields that may not fit are left out. */
static void line_build_json(struct line *line, enum log_level level, const char *component,
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

static void line_build(struct line *line, enum log_level level, const char *component,
    const char *message, const struct log_field *fields)
{
    bool json = atomic_load(&current_json);
    char time[CLOCK_ISO_BYTES];
    clock_iso(clock_wall_ms(), time);
    line_put(line, json ? "{\"ts\":\"" : "");
    line_put(line, time);
    if (json)
        line_build_json(line, level, component, message, fields);
    else
        line_build_text(line, level, component, message, fields);
    line->bytes[line->used++] = '\n';
}

/* Implements log_gap_format. */
static size_t log_format_gap(uint64_t lines, int64_t since_ms, char bytes[static LINE_BYTES])
{
    char message[128];
    struct line line = {.used = 0};
    int64_t passed_ms = clock_monotonic_ms() - since_ms;
    snprintf(message, sizeof message,
        "dropped %" PRIu64 " line%s in %" PRId64 " s: the stream did not accept writes", lines,
        lines == 1 ? "" : "s", (passed_ms + 999) / 1000);
    line_build(
        &line, LOG_LEVEL_WARN, "Log", message, LOG_FIELDS(LOG_NUMBER("dropped", (int64_t)lines)));
    memcpy(bytes, line.bytes, line.used);
    return line.used;
}

static void log_write_message(enum log_level level, const char *component,
    const struct log_field *fields, const char *message)
{
    struct line line = {.used = 0};
    line_build(&line, level, component, message, fields);
    log_stream_write(level >= LOG_LEVEL_WARN ? LOG_STREAM_ERR : LOG_STREAM_OUT, line.bytes,
        line.used, log_format_gap);
}

static void log_write_repeat(const struct log_fold_item *item)
{
    char message[MESSAGE_BYTES];
    int64_t passed_ms = clock_monotonic_ms() - item->since_ms;
    if (passed_ms > LOG_FOLD_WINDOW_MS)
        passed_ms = LOG_FOLD_WINDOW_MS;
    snprintf(message, sizeof message, "repeated %u time%s in %d s: %s", item->repeats,
        item->repeats == 1 ? "" : "s", (int)(passed_ms + 999) / 1000, item->message);
    log_write_message(
        item->level, item->component, LOG_FIELDS(LOG_NUMBER("repeats", item->repeats)), message);
}

/* False for a warning or error that repeats a recent one, which is only counted. */
static bool log_is_new(enum log_level level, const char *component, const char *message)
{
    struct log_fold_item ended;
    if (level < LOG_LEVEL_WARN)
        return true;
    bool admitted = log_fold_admit(level, component, message, clock_monotonic_ms(), &ended);
    if (ended.repeats > 0)
        log_write_repeat(&ended);
    return admitted;
}

/* Not inline: its buffer would add to the stack of each thread that writes a line. */
__attribute__((noinline, format(printf, 2, 0))) static void log_format_message(
    char message[static MESSAGE_BYTES], const char *format, va_list arguments)
{
    char raw[MESSAGE_BYTES];
    vsnprintf(raw, sizeof raw, format, arguments);
    text_quote(message, MESSAGE_BYTES, raw, strlen(raw));
}

__attribute__((format(printf, 4, 0))) static void log_vwrite(enum log_level level,
    const char *component, const struct log_field *fields, const char *format, va_list arguments)
{
    if (!log_is_on(level))
        return;
    char message[MESSAGE_BYTES];
    log_format_message(message, format, arguments);
    if (log_is_new(level, component, message))
        log_write_message(level, component, fields, message);
}

static void log_write_repeats_until(int64_t now_ms)
{
    struct log_fold_item item;
    while (log_fold_take(now_ms, &item))
        log_write_repeat(&item);
}

int64_t log_write_repeats(void)
{
    int64_t now_ms = clock_monotonic_ms();
    log_write_repeats_until(now_ms);
    /* While lines have been dropped, look more often whether the stream accepts bytes again. */
    int64_t max_ms =
        log_stream_flush_gaps(log_format_gap) ? LOG_FOLD_WINDOW_MS : LOG_STREAM_WAIT_MS;
    int64_t due_ms = log_fold_due_ms();
    if (due_ms == INT64_MAX || due_ms - now_ms > max_ms)
        return max_ms;
    return due_ms > now_ms ? due_ms - now_ms : 0;
}

void log_flush(void)
{
    log_write_repeats_until(INT64_MAX);
    log_stream_flush_gaps(log_format_gap);
}

#define DEFINE_LOG(name, level)                                \
    void name(const char *component, const char *format, ...)  \
    {                                                          \
        va_list arguments;                                     \
        va_start(arguments, format);                           \
        log_vwrite(level, component, NULL, format, arguments); \
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
    log_vwrite(level, component, fields, format, arguments);
    va_end(arguments);
}

void log_last_words(const char *component, const char *format, ...)
{
    enum { LAST_WORDS_BYTES = 512 };
    char message[LAST_WORDS_BYTES];
    struct line line = {.used = 0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    line_build(&line, LOG_LEVEL_ERROR, component, message, NULL);
    log_stream_write_last(LOG_STREAM_ERR, line.bytes, line.used);
}

enum { ID_BITS = 128, SPAN_BITS = 64, POOL_BYTES = 256 };

/* Random bytes for the next requests of a thread, to save each of them a system call. */
static _Thread_local struct {
    uint8_t bytes[POOL_BYTES];
    size_t left;
} random_pool;

/* count is at most POOL_BYTES. False if the kernel has no random bytes yet. */
static bool trace_take_random(uint8_t *bytes, size_t count)
{
    if (random_pool.left < count) {
        if (getrandom(random_pool.bytes, POOL_BYTES, 0) != POOL_BYTES)
            return false;
        random_pool.left = POOL_BYTES;
    }
    random_pool.left -= count;
    memcpy(bytes, random_pool.bytes + random_pool.left, count);
    return true;
}

/* That many random bits in hexadecimal; "" if there are none, or all are 0, which is invalid. */
static void trace_random_hex(char *digits, size_t bits)
{
    static const char hexadecimal[] = "0123456789abcdef";
    uint8_t bytes[ID_BITS / 8];
    size_t count = bits / 8;
    uint8_t any = 0;
    digits[0] = '\0';
    if (!trace_take_random(bytes, count))
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
    trace_random_hex(trace->id, ID_BITS);
}

bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES])
{
    char span[SPAN_BITS / 4 + 1];
    header[0] = '\0';
    if (trace == NULL || trace->id[0] == '\0')
        return false;
    trace_random_hex(span, SPAN_BITS);
    if (span[0] == '\0')
        return false;
    snprintf(header, TRACE_HEADER_BYTES, "traceparent: 00-%s-%s-01", trace->id, span);
    return true;
}
