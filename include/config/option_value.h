/* One value of one option: checked on its own, and kept in its field of struct config. */
#ifndef CONFIG_OPTION_VALUE_H
#define CONFIG_OPTION_VALUE_H

#include "base/text.h"
#include "config/config.h"
#include "config/options.h"
#include "config/problems.h"

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

#endif
