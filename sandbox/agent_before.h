/* What a simulated agent reads about its own earlier work, which was cut short. */
#ifndef SANDBOX_AGENT_BEFORE_H
#define SANDBOX_AGENT_BEFORE_H

#include <jansson.h>

/*
 * Moves the wishes (agent_words.h) that an input says were carried out in an earlier run, or may
 * have been, to ended (agent_report.h), with the output that the input has.
 */
void agent_before_leave_out(const char *input, json_t *wishes, json_t *ended);

#endif
