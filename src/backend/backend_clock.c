/*
 * The backend compares the time in our reports with its own, so a wrong clock of this machine would
 * make the runtime look offline. Each answer has the backend's time in its Date header; the control
 * loops' calls read it, a few of them a minute.
 *
 * A Date is truncated to seconds, and the answer was some time on its way. What is kept is the part
 * of the difference that is certain, which is 0 for clocks that agree. The warning ends only when
 * the clock needs no correction any more, so that a clock at the limit is not reported over and
 * over. All fields are atomics of their own: a reader may see the old difference with a new mark,
 * which is right within the next call.
 */
#include "backend/backend_clock.h"

#include "base/sync.h"

enum {
    DATE_STEP_MS = 1000,
    MAX_TRIP_MS = 2000, /* the difference is uncertain by as much */
};

/* In 2020: a Date before that is a default of something, not a time. */
static const int64_t FIRST_DATE_MS = 1577836800000;

int64_t clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms)
{
    /* The server's clock read date_ms to latest_ms at some time between before_ms and after_ms. */
    int64_t latest_ms = date_ms + DATE_STEP_MS - 1;
    if (before_ms > latest_ms)
        return before_ms - latest_ms;
    return after_ms < date_ms ? after_ms - date_ms : 0;
}

static bool is_off_by(int64_t ahead_ms, int64_t limit_ms)
{
    return ahead_ms > limit_ms || ahead_ms < -limit_ms;
}

bool backend_clock_see(
    struct backend_clock *clock, int64_t date_ms, int64_t before_ms, int64_t after_ms)
{
    /* Also negative when our clock was set meanwhile. */
    int64_t trip_ms = after_ms - before_ms;
    if (date_ms < FIRST_DATE_MS || trip_ms < 0 || trip_ms > MAX_TRIP_MS)
        return false;
    int64_t ahead_ms = clock_ahead_ms(date_ms, before_ms, after_ms);
    atomic_store(&clock->ahead_ms, ahead_ms);
    atomic_store(&clock->is_known, true);
    if (is_off_by(ahead_ms, CLOCK_WARN_MS))
        return !atomic_exchange(&clock->is_off, true);
    return !is_off_by(ahead_ms, CLOCK_CORRECT_MS) && atomic_exchange(&clock->is_off, false);
}

int64_t backend_clock_exact_ms(const struct backend_clock *clock)
{
    return clock_wall_ms() - atomic_load(&clock->ahead_ms);
}

int64_t backend_clock_now_ms(const struct backend_clock *clock)
{
    int64_t ahead_ms = atomic_load(&clock->ahead_ms);
    return clock_wall_ms() - (is_off_by(ahead_ms, CLOCK_CORRECT_MS) ? ahead_ms : 0);
}
