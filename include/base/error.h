/* Error codes, and the one structure that carries an error's text up the call chain. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* Every fallible function returns 0 or one of these negative codes; bugs are asserted instead. */
enum error_code {
    ERROR_NO_MEMORY = -1,
    ERROR_SYSTEM = -2, /* a system call failed */
    ERROR_INVALID = -3,
    ERROR_TOO_LARGE = -4,
    ERROR_TIMEOUT = -5,
    ERROR_UNREACHABLE = -6,
    ERROR_INTERRUPTED = -7, /* by the stop */
    ERROR_REMOTE = -8,      /* refused by the other side */
    ERROR_CLOSED = -9,      /* not there, or no longer */
    ERROR_LOCKED = -10,     /* held by another process */
};

enum { ERROR_TEXT_BYTES = 640 };

/* A failure on its way up. Embedded in the caller's frame; needs no freeing. text is NUL-ended. */
struct error {
    enum error_code code;
    char text[ERROR_TEXT_BYTES];
};

/*
 * Stores code and a formatted text in *error, unless error is NULL, and returns code. A text that
 * does not fit is cut. Neither blocks nor allocates; any thread may call it on its own error.
 */
int error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": " and the text of errno_value behind. */
int error_set_errno(struct error *error, enum error_code code, int errno_value, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

/* Puts a formatted text and ": " before the text that *error holds; returns its code. */
int error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
