/* The metrics that every program under Prometheus has: process_*. */
#ifndef SERVE_PROCESS_METRICS_H
#define SERVE_PROCESS_METRICS_H

#include "base/metrics.h"

/* Reads what the kernel says of this process. What it does not say stays as it was. */
void process_metrics_update(struct metrics *metrics);

#endif
