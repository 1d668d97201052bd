/* Prometheus' text format, version 0.0.4. */
#ifndef SERVE_EXPOSITION_H
#define SERVE_EXPOSITION_H

#include "base/metrics.h"
#include "base/text.h"

/*
 * Appends every family with its help, its type and all its series. Takes no lock. Out of memory
 * sets text->failed. Any thread.
 */
void exposition_append(struct text *text, const struct metrics *metrics);

/* Appends the help, or the label value, with what the format reserves escaped. */
void exposition_append_help(struct text *text, const char *help);
void exposition_append_label_value(struct text *text, const char *value);

#endif
