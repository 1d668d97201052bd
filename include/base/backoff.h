/* Waits that double up to a limit, with full jitter or without any. */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

/*
 * min(most_ms, first_ms * 2^doublings), in milliseconds, also where the product is no int64_t; so
 * most_ms for a first_ms above it. Both are at least 1. Pure.
 */
int64_t backoff_doubled_ms(int64_t first_ms, unsigned doublings, int64_t most_ms);

/*
 * The wait before try number failures + 1, in milliseconds: base_ms when failures is 0, else
 * floor(min(max_ms, base_ms * 2^failures) * unit) + 1, for unit in [0, 1).
 * (Contract runtime-behaviour-v0, section 3.11.) Pure; base_ms and max_ms are at least 1.
 */
int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit);

/* A random number in [0, 1), good enough for jitter. Any thread; does not block. */
double backoff_random_unit(void);

#endif
