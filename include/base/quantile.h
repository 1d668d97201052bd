/* Quantiles of what a histogram has counted. */
#ifndef BASE_QUANTILE_H
#define BASE_QUANTILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * The duration that share (0 to 1) of the observations do not exceed, taken as spread evenly over
 * their bucket. counts has bound_count + 1 places, each counting what no lower one does; bounds_us
 * ascend. What lies above the last bound is taken to be that bound. -1 when nothing was counted.
 * Pure.
 */
int64_t quantile_us(
    const int64_t *bounds_us, size_t bound_count, const int64_t *counts, double share);

#endif
