/* One line per event, as text for people or JSON for machines, without secrets. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* A key and its value; text is used unless it is NULL, else number. */
struct log_field {
    const char *key; /* NULL ends a list */
    const char *text;
    int64_t number;
};

#define LOG_TEXT(key_, text_) ((struct log_field){(key_), (text_), 0})
#define LOG_NUMBER(key_, number_) ((struct log_field){(key_), (void *)0, (number_)})
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {(void *)0, (void *)0, 0}})

/*
 * Sets what is written and how. Debug and info go to standard output, warn and error to standard
 * error. Until it is called: info and up, as text. Any thread.
 */
void log_configure(enum log_level level, enum log_format format);
bool log_is_on(enum log_level level);

/* The level, and a change of the level alone while others log. Any thread. */
enum log_level log_level_now(void);
void log_set_level(enum log_level level);

/*
 * A warning or error that says, within a minute, the same as one before it is counted and not
 * written, whatever its fields; "Repeated N times in 60 s: ..." follows when the minute is over,
 * or at once when 64 other messages have come since (base/log_fold.h). This writes those lines that
 * are due, and those about dropped lines; it returns after how many milliseconds to call it again.
 * Any thread; blocks as a line does.
 */
int64_t log_write_repeats(void);

/* Writes all such lines, due or not, as far as the streams take them. For the end of the process.
 * Any thread. */
void log_flush(void);

/*
 * Writes one line "{time} {level} [{component}] {message}", e.g. "2026-01-31T12:00:00.123Z info
 * [Delivery] ...", or as JSON with the keys ts, level, component and msg; cut at 4 KiB, redacted
 * (base/redact.h), control characters replaced. Any thread; one write(2) call a line. A stream that
 * takes no bytes is waited for for a second; then lines are dropped and counted until it does, and
 * "Dropped N lines in 34 s: ..." says so (base/log_stream.h). Never called with a lock held.
 */
void log_debug(const char *component, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *component, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *component, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_error(const char *component, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As above with key=value pairs behind the message, or as keys of the JSON line. */
void log_event(enum log_level level, const char *component, const struct log_field *fields,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Names for what belongs together across programs (W3C Trace Context, level 1). */

enum {
    TRACE_ID_BYTES = 32 + 1,
    TRACE_HEADER_BYTES =
        sizeof "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
};

/* One chain of requests. Zero-initialised: none. */
struct trace {
    char id[TRACE_ID_BYTES]; /* 32 lower-case hexadecimal digits; "" for none */
};

/* Gives *trace a random id; none when the kernel has no random bytes. Any thread. */
void trace_begin(struct trace *trace);

/*
 * Writes the header by which one request belongs to trace, "traceparent: ...", with a span id of
 * its own. False, with an empty header, when trace is NULL or none. Any thread.
 */
bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES]);

#endif
