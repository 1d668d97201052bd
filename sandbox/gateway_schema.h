/* The gateway's strict validation of responses requests, and the message in them. */
#ifndef SANDBOX_GATEWAY_SCHEMA_H
#define SANDBOX_GATEWAY_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "gateway_tools.h"

/* Whether body matches the schema. If not, appends the gateway's error text to problem. Pure. */
bool gateway_schema_check(const json_t *body, enum tool_dialect dialect, struct text *problem);

/*
 * Returns the last user message of a valid body with the results of calls that follow it, for the
 * caller to free, or NULL without either. Pure.
 */
char *gateway_schema_message(const json_t *body, enum tool_dialect dialect);

/* Whether a valid body brings nothing but results of calls. Pure. */
bool gateway_schema_is_results(const json_t *body);

#endif
