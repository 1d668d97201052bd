/* What the settings must be together, and the defaults that follow from other settings. */
#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include "config/config.h"
#include "config/problems.h"
#include "config/values.h"

/*
 * Registers value, of the option id, with redact, in whole and in its secret part. Returns false
 * without memory.
 */
bool rules_remember_secret(enum option_id id, const char *value);

/*
 * Checks *config, as stored from *values, and fills what has a computed default. A rule about a
 * value that is wrong by itself says nothing more. Returns 0 or ERROR_NO_MEMORY.
 * (Contract runtime-behaviour-v0, section 1, checks 2 to 7.)
 */
int rules_apply(struct config *config, const struct values *values, struct problems *problems);

#endif
