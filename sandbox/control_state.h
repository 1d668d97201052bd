/* What the control API tells: statistics, documents, recorded gateway requests. */
#ifndef SANDBOX_CONTROL_STATE_H
#define SANDBOX_CONTROL_STATE_H

#include <jansson.h>

#include "sandbox.h"

/* The cheap numbers, as a new object. */
json_t *control_stats(const struct sandbox *sandbox);

/* Answers GET /sandbox/state, /sandbox/gateway and /sandbox/info. */
void control_answer_state(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_gateway(struct sandbox *sandbox, struct exchange *exchange);
void control_answer_info(struct sandbox *sandbox, struct exchange *exchange);

#endif
