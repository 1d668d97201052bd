/* One value of one option: checked on its own, and kept in its field of struct config. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stddef.h>

#include "base/text.h"
#include "config/config.h"
#include "config/env_file.h"
#include "config/options.h"

enum { OPTION_SHOWN_BYTES = 128 };

/*
 * Checks value by the option's row and stores it in the option's field; a string there is freed
 * first. Returns 0, ERROR_INVALID (said in *problems, the field unchanged) or ERROR_NO_MEMORY.
 */
int option_store(const struct option *option, const char *value, struct config *config,
    struct problems *problems);

/*
 * Writes value in quotes and fit for a problem's line; a secret, and a URL that may hold one,
 * only as words about it.
 */
void option_show(
    const struct option *option, const char *value, char shown[static OPTION_SHOWN_BYTES]);

/* Appends the option's field as one would write it: nothing for NULL, secrets as they are. */
void option_append_value(
    const struct option *option, const struct config *config, struct text *text);

/* The option's field, of an option whose kind has a string. */
char **option_string(const struct option *option, struct config *config);
bool option_is_string(const struct option *option);

/* The settings as they were written down, before anybody asks what they mean. */

enum value_state {
    VALUE_ABSENT,  /* not set, or set to nothing where nothing is no value */
    VALUE_PRESENT, /* text is it, without the blanks and quotes that do not count */
    VALUE_WRONG,   /* set to something unusable, which was said */
};

struct value {
    enum value_state state;
    char *text; /* NULL unless present */
    enum config_origin origin;
};

/* Zero-initialise it and free it with values_fini. Used by one thread at a time. */
struct values {
    char *const *environment; /* borrowed */
    struct env_file env_file;
    struct value by_option[CONFIG_OPTIONS];
};

/*
 * Collects the value of every option from source: the environment, then the env file, each
 * directly or through the file that NAME_FILE names. Every secret is registered with redact
 * (base/redact.h) here. Returns 0 or ERROR_NO_MEMORY; other problems are said and leave the value
 * VALUE_WRONG. When the env file cannot be read, so does every value that could have stood there.
 */
int values_read(
    struct values *values, const struct config_source *source, struct problems *problems);

/*
 * The variable called name as it was written, or NULL when nobody set it. The environment wins
 * over the env file. Borrowed from values.
 */
const char *values_variable(const struct values *values, const char *name);

void values_fini(struct values *values);

/* Names that look like a setting of ours with a slip of the finger. */

/*
 * Warns about each variable of the environment and the env file whose name is no setting but
 * nearly one. Other names are nobody's business: a .env file serves the gateway, too.
 */
void option_suggest(const struct values *values, struct problems *problems);

/*
 * The setting that name probably was to be, or NULL when name is a setting or nowhere near one:
 * up to two letters wrong, missing, too many or exchanged with a neighbour, one in a short name.
 * Capitals do not matter. Pure; the result is static.
 */
const char *option_closest(const char *name, size_t length_bytes);

/* What the settings must be together, and the defaults that follow from other settings. */

/*
 * Registers value, of the option id, with redact, in whole and in its secret part. Returns false
 * without memory.
 */
bool rules_register_secret(enum option_id id, const char *value);

/*
 * Checks *config, as stored from *values, and fills what has a computed default. A rule about a
 * value that is wrong by itself says nothing more. Returns 0 or ERROR_NO_MEMORY.
 * (Contract runtime-behaviour-v0, section 1, checks 2 to 7.)
 */
int rules_apply(struct config *config, const struct values *values, struct problems *problems);

#endif
