#include "base/backoff.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

int64_t backoff_doubled_ms(int64_t first_ms, unsigned doublings, int64_t most_ms)
{
    enum { VALUE_BITS = 63 };
    assert(first_ms >= 1 && most_ms >= 1);
    /* The limit is halved instead of the time doubled, as that cannot overflow. */
    if (doublings >= VALUE_BITS || first_ms > most_ms >> doublings)
        return most_ms;
    return first_ms << doublings;
}

int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit)
{
    assert(unit >= 0 && unit < 1);
    if (failures == 0)
        return base_ms;
    int64_t ceiling_ms = backoff_doubled_ms(base_ms, failures, max_ms);
    return (int64_t)((double)ceiling_ms * unit) + 1;
}

double backoff_random_unit(void)
{
    static _Thread_local unsigned short state[3];
    static _Thread_local int seeded;
    if (!seeded) {
        if (getrandom(state, sizeof state, GRND_NONBLOCK) != sizeof state)
            state[0] = (unsigned short)(uintptr_t)&seeded;
        seeded = 1;
    }
    return erand48(state);
}
