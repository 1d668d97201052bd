/* What /status says of the runtime as a whole, in a word and in sentences. */
#ifndef SERVE_STATUS_STATE_H
#define SERVE_STATUS_STATE_H

#include <jansson.h>

#include "serve/health.h"

/*
 * held_by_hand is the caller's, who says it, too: what one answer says of it must agree.
 * "starting", "stopping", "degraded" whenever /health says so, "held" while an operator holds the
 * sends, else "healthy". Short locks.
 */
const char *status_state_word(const struct health_sources *health, bool held_by_hand);

/* Whatever keeps notifications from being delivered as they should, a sentence each; a new array.
 */
json_t *status_state_reasons(const struct health_sources *health, bool held_by_hand);

#endif
