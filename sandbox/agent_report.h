/* What a simulated agent says about the calls of tools that it has made. */
#ifndef SANDBOX_AGENT_REPORT_H
#define SANDBOX_AGENT_REPORT_H

#include <jansson.h>

#include "agent.h"

/*
 * Appends lines about calls that have ended, an array of {"name", "arguments", "output"?, "told"?}:
 * output is the text of the result, absent when none came; told is why the gateway did not pass the
 * call on. The caller frees the texts of work. Pure.
 */
void agent_report(const json_t *ended, struct agent_work *work);

/*
 * Returns the object {"success": ...} in the text of a result, wherever it begins, as a new
 * reference, or NULL. Pure.
 */
json_t *agent_report_find_result(const char *output);

#endif
