#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES])
{
    int64_t milliseconds = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (milliseconds < 0) {
        milliseconds += 1000;
        seconds--;
    }
    struct tm parts;
    char date[CLOCK_ISO_BYTES];
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
        snprintf(text, CLOCK_ISO_BYTES, "1970-01-01T00:00:00.000Z");
        return;
    }
    snprintf(text, CLOCK_ISO_BYTES, "%.19s.%03dZ", date, (int)milliseconds);
}
