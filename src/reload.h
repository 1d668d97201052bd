/* Reloading of the settings that can change without a restart. */
#ifndef RELOAD_H
#define RELOAD_H

#include "config/config.h"
#include "runtime.h"

/*
 * Reads environment and env_file (NULL: none) as at startup and, if all settings are valid, applies
 * LOG_LEVEL, SERVICE_TOKEN and OPENCLAW_GATEWAY_TOKEN. A token is kept if the account or URL that
 * it belongs to differs from config, the settings of the startup. Logs problems, changes, and
 * settings that require a restart. Requests in flight finish with the old token. Blocks for files.
 * Main thread only.
 */
void reload_settings(struct runtime *runtime, const struct config *config, const char *env_file);

#endif
