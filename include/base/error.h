/* Error codes, and the structure that carries an error's text up the call chain. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* Functions that can fail return 0 or one of these codes; violated preconditions are asserted. */
enum error_code {
    ERROR_NO_MEMORY = -1,
    ERROR_SYSTEM = -2, /* a system call failed */
    ERROR_INVALID = -3,
    ERROR_TOO_LARGE = -4,
    ERROR_TIMEOUT = -5,
    ERROR_UNREACHABLE = -6,
    ERROR_INTERRUPTED = -7, /* by shutdown */
    ERROR_REMOTE = -8,      /* rejected by the peer */
    ERROR_CLOSED = -9,      /* does not exist, or has been closed */
    ERROR_LOCKED = -10,     /* held by another process */
    ERROR_NEWER = -11,      /* in a format that only a newer release reads */
};

enum { ERROR_TEXT_BYTES = 640 };

/* A failure on its way up. Lives in the caller's frame; needs no freeing. text is NUL-terminated.
 */
struct error {
    enum error_code code;
    char text[ERROR_TEXT_BYTES];
};

/*
 * Stores code and a formatted text in *error, unless error is NULL, and returns code. A text that
 * does not fit is truncated. Does not block or allocate. Any thread, on its own error.
 */
int error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, followed by ": " and the message for errno_value. */
int error_set_errno(struct error *error, enum error_code code, int errno_value, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

/*
 * The code for a system call that failed on a path which a person has chosen: ERROR_INVALID where
 * the path itself is wrong and only a person can change that, such as ENOENT or ENOTDIR;
 * ERROR_SYSTEM for every refusal of the system, which may pass: no space, a read-only file system,
 * no permission, no descriptors. Pure.
 */
enum error_code error_code_of_path(int errno_value);

/*
 * Copies the text of an error without the ids of requests in it ("[Request ID: 0123abcd] "), so
 * that the same error has the same text each time. Truncates what does not fit. Pure.
 */
void error_copy_stable(char *destination, unsigned long destination_bytes, const char *text);

/* Prefixes the text in *error with a formatted text and ": "; returns its code. */
int error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
