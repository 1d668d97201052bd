/* Logging: one line per event, as text or JSON, redacted, with repeats folded; and trace ids. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* A key and its value: text, or number if text is NULL. */
struct log_field {
    const char *key; /* NULL terminates a list */
    const char *text;
    int64_t number;
};

#define LOG_TEXT(key_, text_) ((struct log_field){(key_), (text_), 0})
#define LOG_NUMBER(key_, number_) ((struct log_field){(key_), (void *)0, (number_)})
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {(void *)0, (void *)0, 0}})

/*
 * Sets the least level that is logged and the format: JSON or text. Debug and info go to standard
 * output, warn and error to standard error. The default is info, as text. Any thread.
 */
void log_configure(enum log_level level, bool as_json);
bool log_is_on(enum log_level level);

/* Reads or changes the level alone, while other threads log. Any thread. */
enum log_level log_level_now(void);
void log_set_level(enum log_level level);

/*
 * A warning or error whose message repeats one of the last minute is counted and not written,
 * whatever its fields; "repeated N times in 60 s: ..." follows when the minute has passed, or as
 * soon as 64 other messages have been logged since. This writes the summaries that are due, and
 * reports dropped lines; it returns after how many milliseconds to call it again. Any thread; may
 * block like log_warn.
 */
int64_t log_write_repeats(void);

/* Writes all such summaries, due or not, as far as the streams accept them. For shutdown. */
void log_flush(void);

/*
 * Logs one line "{time} {level} [{component}] {message}", e.g. "2026-01-31T12:00:00.123Z info
 * [Delivery] ...", or JSON with the keys ts, level, component and msg; truncated to 4 KiB, redacted
 * (base/secret.h), control characters replaced. Any thread, but never with a lock held: it waits
 * up to a second for a stream that accepts no bytes. After that, lines are dropped and counted
 * until it does, which "dropped N lines in 34 s: ..." then reports.
 */
void log_debug(const char *component, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *component, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *component, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_error(const char *component, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same with key=value pairs after the message, or as keys of the JSON object. */
void log_event(enum log_level level, const char *component, const struct log_field *fields,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Writes an error without taking any lock, for a thread that ends the process because others hang,
 * maybe in the middle of a line. The text has at most 511 bytes and nothing from outside: it is
 * neither quoted nor redacted. Waits LOG_STREAM_WAIT_MS at most.
 */
void log_last_words(const char *component, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Trace ids: the requests of one delivery, correlated across programs (W3C Trace Context). */

enum {
    TRACE_ID_BYTES = 32 + 1,
    TRACE_HEADER_BYTES =
        sizeof "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
};

/* One chain of requests. Zero-initialized: none. */
struct trace {
    char id[TRACE_ID_BYTES]; /* 32 lower-case hexadecimal digits; "" for none */
};

/* Assigns a random id, or none if the kernel has no random bytes. Any thread. */
void trace_begin(struct trace *trace);

/*
 * Writes the header "traceparent: ..." that makes one request part of trace, with a new span id.
 * False, with an empty header, if trace is NULL or none. Any thread.
 */
bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES]);

#endif
