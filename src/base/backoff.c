#include "base/backoff.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit)
{
    assert(unit >= 0 && unit < 1);
    if (failures == 0)
        return base_ms;
    int64_t ceiling = base_ms < max_ms ? base_ms : max_ms;
    for (unsigned i = 0; i < failures && ceiling < max_ms; i++)
        ceiling = ceiling > max_ms / 2 ? max_ms : ceiling * 2;
    return (int64_t)((double)ceiling * unit) + 1;
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
