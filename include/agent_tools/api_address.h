/* Where agents find the HTTP API. */
#ifndef AGENT_TOOLS_API_ADDRESS_H
#define AGENT_TOOLS_API_ADDRESS_H

#include "base/text.h"
#include "config/config.h"

/*
 * Appends the URL under which agents are told to reach the API, without '/' at its end:
 * TASK_STATUS_BASE_URL, or else the address that the HTTP server listens on, 127.0.0.1 if that is
 * all of them. port is the one that it listens on. Pure.
 */
void agent_api_base_url(const struct config *config, unsigned port, struct text *text);

#endif
