/* Prometheus' text format, version 0.0.4. */
#ifndef TELEMETRY_EXPOSITION_H
#define TELEMETRY_EXPOSITION_H

#include "base/text.h"
#include "telemetry/metrics.h"

/*
 * Appends every family with its help, its type and all its series. Takes no lock. Out of memory
 * sets text->failed. Any thread.
 */
void exposition_append(struct text *text, const struct metrics *metrics);

/* Appends the help, or the label value, with what the format reserves escaped. */
void exposition_append_help(struct text *text, const char *help);
void exposition_append_label_value(struct text *text, const char *value);

/* The metrics that every program under Prometheus has: process_*. */

/* Reads what the kernel says of this process. What it does not say stays as it was. */
void process_metrics_update(struct metrics *metrics);

#endif
