/* What /status says of the runtime as a whole, in a word and in sentences. */
#ifndef SERVE_STATUS_STATE_H
#define SERVE_STATUS_STATE_H

#include <jansson.h>

#include "serve/health.h"

/*
 * "starting", "stopping", "degraded" whenever /health says so, "held" while an operator holds the
 * sends, else "healthy". Short locks.
 */
const char *status_state_word(const struct health_sources *health);

/* Whatever keeps notifications from being delivered as they should, a sentence each; a new array.
 */
json_t *status_state_reasons(const struct health_sources *health);

#endif
