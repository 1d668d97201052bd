/* Exponential backoff with full jitter. */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

/*
 * The wait before try number failures + 1, in milliseconds: base_ms when failures is 0, else
 * floor(min(max_ms, base_ms * 2^failures) * unit) + 1, for unit in [0, 1).
 * (Contract runtime-behaviour-v0, section 3.11.) Pure; base_ms and max_ms are at least 1.
 */
int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit);

/* A random number in [0, 1), good enough for jitter. Any thread; does not block. */
double backoff_random_unit(void);

#endif
