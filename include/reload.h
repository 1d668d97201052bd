/* Reads the settings again while the runtime runs, for what can change without a restart. */
#ifndef RELOAD_H
#define RELOAD_H

#include "config/config.h"
#include "runtime.h"

/*
 * Reads source as at the start and, if nothing is wrong with any setting, takes over LOG_LEVEL,
 * SERVICE_TOKEN and OPENCLAW_GATEWAY_TOKEN; else all stay as they are. Logs what is wrong, what has
 * changed, and what would need a restart since it differs from config, the settings of the start.
 * Requests that are under way end with the token that they began with. Reads files, so it blocks as
 * they do. Only the main thread.
 */
void reload_settings(
    struct runtime *runtime, const struct config *config, const struct config_source *source);

#endif
