/* Collecting, checking and storing the values of options; rules between them; misspelled names. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stddef.h>

#include "base/text.h"
#include "config/config.h"
#include "config/env_file.h"
#include "config/options.h"

/* Settings as they were written, before they are interpreted. */

struct value {
    enum {
        VALUE_ABSENT,  /* not set, or set to an empty value that counts as not set */
        VALUE_PRESENT, /* text is the value, without the blanks and quotes that do not count */
        VALUE_WRONG,   /* set to something unusable, which has been reported */
    } state;
    char *text; /* NULL unless present */
    enum config_origin origin;
};

/* Zero-initialize it and free it with values_fini. Used by one thread at a time. */
struct values {
    char *const *environment; /* borrowed */
    struct env_file env_file;
    struct value by_option[CONFIG_OPTIONS];
    char *exposed_file; /* see struct config */
};

/*
 * Collects the value of every option: from the environment, then the env file (NULL: none), each
 * directly or through the file that NAME_FILE names. Registers every secret with redact()
 * (base/secret.h). Returns 0 or ERROR_NO_MEMORY; other problems are reported and leave the value
 * VALUE_WRONG. If the env file cannot be read, so are all values that it might contain. Reads
 * files.
 */
int values_read(struct values *values, char *const *environment, const char *env_file,
    struct problems *problems);

/* Warns that the file at path holds a secret and every user can read it, and remembers the path. */
void values_note_exposed(struct values *values, const char *path, struct problems *problems);

/*
 * The variable called name as it was written, or NULL if it is not set. The environment takes
 * precedence over the env file. Borrowed from values.
 */
const char *values_variable(const struct values *values, const char *name);

void values_fini(struct values *values);

/* One value of one option. */

enum { OPTION_SHOWN_BYTES = 128 };

/* The range of DELIVERY_STREAM_TIMEOUT_MS, which its computed default keeps to as well. */
enum { STREAM_TIMEOUT_MIN_MS = 5000, STREAM_TIMEOUT_MAX_MS = 3600000 };

/*
 * Checks value against the option's row and stores it in the option's field, freeing a string that
 * was there. Returns 0, ERROR_INVALID (reported, the field unchanged) or ERROR_NO_MEMORY.
 */
int option_store(const struct option *option, const char *value, struct config *config,
    struct problems *problems);

/*
 * Writes value, quoted and truncated for display. A secret, or a URL that may contain one, is
 * replaced by a remark.
 */
void option_show(
    const struct option *option, const char *value, char shown[static OPTION_SHOWN_BYTES]);

/* Adds the error "NAME value text" with the value as option_show has it. Returns ERROR_INVALID. */
int option_report(const struct option *option, const char *value, struct problems *problems,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Appends the option's field as a user would write it: nothing for NULL, secrets in plain text. */
void option_append_value(
    const struct option *option, const struct config *config, struct text *text);

/* The option's field; only for an option whose kind is stored as a string. */
char **option_string(const struct option *option, struct config *config);
bool option_is_string(const struct option *option);

/* Names that look like a misspelled setting. */

/*
 * Warns about each variable of the environment and the env file whose name is nearly that of a
 * setting. Other names are ignored: a .env file may serve the gateway as well.
 */
void option_suggest(const struct values *values, struct problems *problems);

/*
 * The setting that was probably meant by name, or NULL if name is a setting or not close to one: up
 * to two letters wrong, missing, added or transposed, one in a short name. Ignores case. Pure; the
 * result is static.
 */
const char *option_closest(const char *name, size_t length_bytes);

/* Rules between options, and defaults that depend on other settings. */

/*
 * Registers value, of the option id, with redact(), as a whole and its secret part. Returns false
 * when out of memory.
 */
bool rules_register_secret(enum option_id id, const char *value);

/*
 * Registers with redact() the user and password in the value of a proxy variable
 * ([scheme://][user:password@]host...). Returns false when out of memory.
 */
bool rules_register_proxy(const char *proxy);

/*
 * Checks *config, as stored from *values, and fills in computed defaults. Rules skip values that
 * are wrong by themselves. Returns 0 or ERROR_NO_MEMORY; problems are reported.
 */
int rules_apply(struct config *config, const struct values *values, struct problems *problems);

/* The part of it that concerns agents' workspaces; after STATE_DIR is known. */
int rules_apply_workspaces(struct config *config, struct problems *problems);

#endif
