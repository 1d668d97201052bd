/* The settings as they were written down, before anybody asks what they mean. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "config/config.h"
#include "config/env_file.h"
#include "config/options.h"
#include "config/problems.h"

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

#endif
