/* The command healthcheck: asks a running runtime how it is, for images that have no curl. */
#ifndef COMMAND_HEALTHCHECK_H
#define COMMAND_HEALTHCHECK_H

#include "base/text.h"
#include "config/config.h"

/*
 * Asks /health at the address of these settings, whatever proxy is set, and says on standard output
 * whether the runtime is healthy or degraded, or on standard error what was asked and what came of
 * it. Returns the exit status: 0 when the answer was a 200, else 1. Blocks up to 5 seconds.
 */
int command_healthcheck(const struct config *config);

/*
 * Appends the URL of /health as one asks it on the same machine: the loopback address stands for
 * those that mean "all", and IPv6 addresses are in brackets. port is not 0. Pure.
 */
void healthcheck_append_url(struct text *url, const char *host, unsigned port);

#endif
