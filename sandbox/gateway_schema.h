/* The gateway's strict check of a responses request, and what it reads out of one. */
#ifndef SANDBOX_GATEWAY_SCHEMA_H
#define SANDBOX_GATEWAY_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

/* Whether body fits the schema. If not, what a gateway says is appended to problem. Pure. */
bool gateway_schema_check(const json_t *body, struct text *problem);

/* The last user message of a body that fits, the caller's to free; NULL when it has none. */
char *gateway_schema_message(const json_t *body);

#endif
