/* Reads what an HTTP client would rather have. */
#ifndef SERVE_ACCEPT_H
#define SERVE_ACCEPT_H

#include <stdbool.h>

/*
 * Whether an Accept header prefers metrics to JSON, as Prometheus' does: it names
 * text/plain;version=0.0.4 or OpenMetrics, with more weight than it gives JSON by name or by a
 * wildcard. Wildcards alone (curl, browsers) do not ask for metrics. Anything that cannot be read
 * counts as not said. Pure.
 */
bool accept_prefers_metrics(const char *accept);

#endif
