/* What the control API reports: statistics, documents, recorded gateway requests. */
#ifndef SANDBOX_CONTROL_STATE_H
#define SANDBOX_CONTROL_STATE_H

#include <jansson.h>

#include "sandbox.h"

/* The statistics as a new object. Constant cost, whatever the board holds. */
json_t *control_stats(const struct sandbox *sandbox);

/* Answer GET /sandbox/state, /sandbox/calls and so on. */
void control_answer_state(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_calls(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_effects(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_tools(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_gateway(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_info(struct sandbox *sandbox, struct exchange *exchange);

#endif
