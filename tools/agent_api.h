/* The documents that are made from the table of tools. */
#ifndef TOOLS_AGENT_API_H
#define TOOLS_AGENT_API_H

#include "agent_tools/catalog.h"
#include "base/text.h"

/*
 * Appends docs/agent-api.yaml, the OpenAPI description of the endpoints. text->failed tells that
 * memory ran out. Pure.
 */
void agent_api_append_openapi(struct text *text, const struct tool_catalog *catalog);

/* Appends the sections of docs/agent-tools.md that are about each tool. Likewise. */
void agent_api_append_tools(struct text *text, const struct tool_catalog *catalog);

#endif
