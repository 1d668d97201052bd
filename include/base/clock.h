/* Time: a monotonic clock for every deadline and a wall clock for what people and servers read. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_ISO_BYTES = sizeof "2026-01-31T12:00:00.123Z" };

/* Milliseconds since some fixed point, never going back. Any thread; does not block. */
int64_t clock_monotonic_ms(void);

/* Microseconds on the same scale, for durations shorter than a millisecond. */
int64_t clock_monotonic_us(void);

/* Milliseconds since 1970 (UTC). May jump; never used for a deadline. */
int64_t clock_wall_ms(void);

/* Writes wall_ms as ISO 8601 in UTC with milliseconds, at least CLOCK_ISO_BYTES bytes long. */
void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES]);

#endif
