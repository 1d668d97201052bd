/* Reads the settings again while the runtime runs, for what can change without a restart. */
#ifndef RELOAD_H
#define RELOAD_H

#include "config/config.h"
#include "runtime.h"

/*
 * Reads source as at the start and, if nothing is wrong with any setting, takes over LOG_LEVEL,
 * SERVICE_TOKEN and OPENCLAW_GATEWAY_TOKEN; else all stay as they are. A token stays, too, when the
 * account or the URL that it belongs to differs from that of config, the settings of the start:
 * those need a restart. Logs what is wrong, what has changed, and what needs that restart.
 * Requests that are under way end with the token that they began with. Reads files, so it blocks as
 * they do. Only the main thread.
 */
void reload_settings(
    struct runtime *runtime, const struct config *config, const struct config_source *source);

#endif
