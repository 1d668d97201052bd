/* Parsing .env files: variables for a runtime that no service manager sets up. */
#ifndef CONFIG_ENV_FILE_H
#define CONFIG_ENV_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum { ENV_FILE_BYTES_MAX = 1024 * 1024 };

/* One variable. value is NULL if its line was invalid, which was reported if it is a setting. */
struct env_entry {
    char *name;
    char *value;
    unsigned line;
};

/* Zero-initialize it and free it with env_file_fini. Owns its entries; names are unique. */
struct env_file {
    struct env_entry *entries;
    size_t count;
    bool world_readable; /* every user of the machine can read the file */
};

/*
 * Reads the file at path, at most ENV_FILE_BYTES_MAX long, and adds its variables to *file. Invalid
 * lines that concern a setting are reported with path and line number, but never with their
 * content, which may be a misplaced secret; other invalid lines are skipped. Returns 0, even if
 * lines were invalid. If the file cannot be used, which is also reported: ERROR_SYSTEM,
 * ERROR_TOO_LARGE (also for 4,096 variables), ERROR_INVALID (missing, not a regular file, NUL
 * bytes, UTF-16, 20 reported lines, or nothing but skipped ones) or ERROR_NO_MEMORY.
 */
int env_file_load(struct env_file *file, const char *path, struct problems *problems);

/*
 * As env_file_load, from length_bytes of memory; name is reported as the path. The format:
 *   - NAME=value, with optional blanks around both, a name of letters, digits and '_', and an
 *     optional "export" before it; the last line for a name wins, with a warning for a setting
 *   - empty lines and lines that begin with '#' are skipped
 *   - an unquoted value ends at a '#' that follows a blank, or at the end of the line
 *   - 'single quotes' are literal; "double quotes" know the escapes \n \t \r \" \\ \$, and keep a
 *     backslash before anything else. Quotes end on the same line; only a comment may follow
 *   - nothing is expanded; a CR before the line end and a UTF-8 byte order mark are dropped
 */
int env_file_parse(struct env_file *file, const char *name, const char *bytes, size_t length_bytes,
    struct problems *problems);

/* The entry called name, or NULL. Borrowed from file. */
const struct env_entry *env_file_find(const struct env_file *file, const char *name);

void env_file_fini(struct env_file *file);

#endif
