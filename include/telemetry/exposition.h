/* The body of /metrics: the Prometheus text format, version 0.0.4. */
#ifndef TELEMETRY_EXPOSITION_H
#define TELEMETRY_EXPOSITION_H

#include "base/text.h"
#include "telemetry/metrics.h"

/*
 * Appends every family with its help, its type and all its series. Takes no lock. text->failed is
 * set when out of memory. Any thread.
 */
void exposition_append(struct text *text, const struct metrics *metrics);

/* Append a help text or a label value, with the reserved characters of the format escaped. */
void exposition_append_help(struct text *text, const char *help);
void exposition_append_label_value(struct text *text, const char *value);

/*
 * Updates the standard process_* metrics from the kernel. Values that cannot be read keep their
 * last value. Called by one thread at a time; reads /proc.
 */
void process_metrics_update(struct metrics *metrics);

#endif
