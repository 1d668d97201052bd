/* Names that look like a setting of ours with a slip of the finger. */
#ifndef CONFIG_SPELLING_H
#define CONFIG_SPELLING_H

#include <stddef.h>

#include "config/problems.h"
#include "config/values.h"

/*
 * Warns about each variable of the environment and the env file whose name is no setting but
 * nearly one. Other names are nobody's business: a .env file serves the gateway, too.
 */
void spelling_check(const struct values *values, struct problems *problems);

/*
 * The setting that name probably was to be, or NULL when name is a setting or nowhere near one:
 * up to two letters wrong, missing, too many or exchanged with a neighbour, one in a short name.
 * Capitals do not matter. Pure; the result is static.
 */
const char *spelling_suggest(const char *name, size_t length_bytes);

#endif
