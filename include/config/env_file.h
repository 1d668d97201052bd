/* A .env file: variables for those who have no service manager to set them. */
#ifndef CONFIG_ENV_FILE_H
#define CONFIG_ENV_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum { ENV_FILE_BYTES_MAX = 1024 * 1024 };

/* One variable. value is NULL when its line was wrong, which was said then. */
struct env_entry {
    char *name;
    char *value;
    unsigned line;
};

/* Zero-initialise it and free it with env_file_fini; owns its entries. Names occur once. */
struct env_file {
    struct env_entry *entries;
    size_t count;
    bool world_readable; /* every user of the machine may read the file */
};

/*
 * Reads the file at path, at most ENV_FILE_BYTES_MAX long, and adds its variables to *file. What
 * is wrong with a line goes to *problems with path and line number, never with the line's content.
 * Returns 0, also when lines were wrong. When the file cannot be used, which *problems then says:
 * ERROR_SYSTEM, ERROR_TOO_LARGE (also: 4,096 variables), ERROR_INVALID (NUL bytes, or 20 wrong
 * lines), ERROR_NO_MEMORY.
 */
int env_file_load(struct env_file *file, const char *path, struct problems *problems);

/*
 * As env_file_load, from length_bytes of memory; name stands for the path. The form:
 *   - NAME=value, with blanks around both, a name of letters, digits and '_', and an optional
 *     "export" in front; the last of several lines for one name counts (and is warned about)
 *   - empty lines, and lines that begin with '#', are skipped
 *   - a plain value ends at a '#' that follows a blank, or at the end of the line
 *   - 'single quotes' take everything literally; "double quotes" know \n \t \r \" \\ \$; a
 *     backslash before anything else stays. Quotes end on their line; only a comment may follow
 *   - nothing is expanded; CR before the line end and a UTF-8 byte order mark are dropped
 */
int env_file_parse(struct env_file *file, const char *name, const char *bytes, size_t length_bytes,
    struct problems *problems);

/* The entry called name, or NULL. Borrowed from file. */
const struct env_entry *env_file_find(const struct env_file *file, const char *name);

void env_file_fini(struct env_file *file);

#endif
