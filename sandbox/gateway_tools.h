/* Client tools of responses requests, in the flat form of release 2026.9.6 or as older ones. */
#ifndef SANDBOX_GATEWAY_TOOLS_H
#define SANDBOX_GATEWAY_TOOLS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

/* Which tools the gateway takes. */
enum tool_dialect {
    TOOLS_FLAT, /* as release 2026.9.6 */
    TOOLS_NONE, /* as older ones: nested tools, which never reach the model */
};

/* Whether tools, or the results among input, pass the schema; if not, appends what is wrong. */
bool gateway_tools_check(const json_t *tools, enum tool_dialect dialect, struct text *problem);
bool gateway_tools_check_results(const json_t *input, struct text *problem);

/* Whether a tool has the name of one of the gateway's own, or two have the same. */
bool gateway_tools_collide(const json_t *tools);

/* The names of the tools, as a new array; NULL if there is no list of tools. */
json_t *gateway_tools_names(const json_t *tools);

/* Whether an item of the input is the result of a call. */
bool gateway_tools_is_result(const json_t *item);

/* The results in the input as a new array of {call_id, output}; NULL if there are none. */
json_t *gateway_tools_results(const json_t *input);

/* The calls {name, arguments} with ids of their own, as a new array of {call_id, name, arguments}.
 */
json_t *gateway_tools_issue(const json_t *calls);

/*
 * Appends to output, of a response, an item for each of the issued calls; NULL: none. Their
 * arguments are an object, or a string to be sent as it is.
 */
void gateway_tools_append_calls(json_t *output, const json_t *calls);

#endif
