#include "base/fd_wait.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/sync.h"

/* What poll is to wait; INT_MAX may stand for more. */
static int wait_until_ms(int64_t deadline_ms)
{
    if (deadline_ms == SYNC_NO_DEADLINE)
        return -1;
    int64_t left_ms = deadline_ms - clock_monotonic_ms();
    if (left_ms > INT_MAX)
        return INT_MAX;
    return left_ms < 0 ? 0 : (int)left_ms;
}

int fd_wait(struct pollfd *fds, nfds_t count, int64_t deadline_ms)
{
    for (;;) {
        int wait_ms = wait_until_ms(deadline_ms);
        int ready = poll(fds, count, wait_ms);
        assert(ready >= 0 || errno == EINTR);
        if (ready > 0 || (ready == 0 && wait_ms < INT_MAX))
            return ready;
    }
}

bool fd_wait_readable(int fd, int64_t wait_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return fd_wait(&readable, 1, clock_monotonic_ms() + wait_ms) > 0;
}
