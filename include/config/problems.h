/* Everything that is wrong with the settings, collected so that it is said at once. */
#ifndef CONFIG_PROBLEMS_H
#define CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum problem_severity { PROBLEM_ERROR, PROBLEM_WARNING };

/* text is one line without its end, and free of secrets. */
struct problem {
    enum problem_severity severity;
    char *text;
};

/* Zero-initialise it and free it with problems_fini. Used by one thread at a time. */
struct problems {
    struct problem *items;
    size_t count;
    bool failed; /* no memory for a problem; counts as an error */
};

/*
 * Adds a line. Whatever came from outside stands in it only after text_quote (base/text.h): the
 * line itself is not redacted, as it may have to name the form that a token should have.
 */
void problems_add(struct problems *problems, enum problem_severity severity, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

/* Whether something stands against starting. */
bool problems_have_error(const struct problems *problems);

/* Writes each as "error: text" or "warning: text", a line each, in the order of adding. */
void problems_write(const struct problems *problems, FILE *stream);

void problems_fini(struct problems *problems);

#endif
