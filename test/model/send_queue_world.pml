/*
 * Everybody but the workers: the poller, the heartbeat scheduler, the people of the board, what
 * stops and starts sends, the shutdown and the clock.
 */

#if LOST_MARKS > 0
/* What the backend lists in spite of its end, once a page that began later does. */
inline acknowledge_again_locked()
{
    if
    :: listed[index] && place[index] == SETTLED && (settled[index] || !KEEPS(PAGE_AFTER_END)) &&
            KEEPS(ACKNOWLEDGE_AGAIN) ->
        place[index] = READY;
        stage[index] = (KEEPS(ACKNOWLEDGE_ONLY) -> WRITTEN : KNOWN);
        needless_mark = !lost[index];
        lost[index] = false;
        if
        :: KEEPS(SIGNAL_ON_ACKNOWLEDGE) -> cond_signal()
        :: else
        fi
    :: else
    fi
}
#endif

inline add_row_locked()
{
    if
    :: listed[index] && place[index] == UNKNOWN && !closed && COUNT(IS_READY) < CAPACITY ->
        place[index] = READY;
        stage[index] = KNOWN;
        if
        :: KEEPS(SIGNAL_ON_OFFER) -> cond_signal()
        :: else
        fi
    :: else
    fi
}

#define UNUSED(entry) \
    ((IS_READY(entry) || WAITS(entry)) && stage[entry] == KNOWN && !recorded[entry])

inline drop_unlisted_locked()
{
    if
    :: !listed[index] && (UNUSED(index) || place[index] == SETTLED) ->
        place[index] = UNKNOWN;
#if AHEAD
        looked[index] = false;
#endif
        due_in[index] = 0;
        lane = LANE_OF(index);
        leave_lane_locked(lane);
        lane = 0
    :: else
    fi
}

inline send_queue_offer()
{
    for (index : 0 .. ENTRIES - 1) {
#if LOST_MARKS > 0
        acknowledge_again_locked();
        settled[index] = false;
#endif
        add_row_locked()
    }
    for (index : 0 .. ENTRIES - 1) {
        drop_unlisted_locked();
        listed[index] = false
    }
    index = 0;
    favourite = 0
}

active proctype poller()
{
    bool listed[ENTRIES];
#if LOST_MARKS > 0
    bool settled[ENTRIES]; /* before the page was requested */
#endif
    byte index;
    byte lane;
    byte favourite;
    do
    :: closed -> break
    :: !closed ->
        d_step { /* The backend composes its response, which is in flight from here on. */
            for (index : 0 .. ENTRIES - 1) {
                listed[index] = index < created && !gone[index];
#if LOST_MARKS > 0
                settled[index] = listed[index] && place[index] == SETTLED
#endif
            }
            index = 0
        }
        atomic {
            choose_favourite();
            d_step { send_queue_offer() }
        }
    od
}

#if WAKES > 0
/* send_queue_wake, called by the heartbeat thread */
inline send_queue_wake(agent)
{
    atomic {
        choose_favourite();
        d_step {
            if
            :: !closed && !sends_held && wake_state[agent] == NO_WAKE ->
                wake_state[agent] = WAKE_READY;
                if
                :: KEEPS(SIGNAL_ON_WAKE) -> cond_signal()
                :: else
                fi
            :: else
            fi;
            favourite = 0
        }
    }
}

active proctype scheduler()
{
    byte woken[LANES];
    byte favourite;
    do
    :: woken[0] < WAKES -> woken[0]++; send_queue_wake(0)
    :: woken[1] < WAKES -> woken[1]++; send_queue_wake(1)
    :: woken[0] == WAKES && woken[1] == WAKES -> break
    od
}
#endif

/* The users of the board. */
active proctype people()
{
    byte withdrawn;
    do
    :: created < NOTIFICATIONS -> created++
    :: created > 1 && withdrawn < WITHDRAWALS -> d_step { withdrawn++; gone[1] = true }
    :: created == NOTIFICATIONS -> break
    od
}

#if WAKES > 0
#define WITHDRAW(agent) \
    if \
    :: wake_state[agent] == WAKE_READY -> wake_state[agent] = NO_WAKE; leave_lane_locked(agent) \
    :: else \
    fi

/* send_queue_withdraw_wake for all, by the heartbeat thread, unless the breaker closes at once. */
inline withdraw_wakes()
{
    if
    :: d_step { WITHDRAW(0); WITHDRAW(1) }
    :: skip
    fi
}
#endif

#if HOLDS > 0
/* The operator: send_queue_hold. */
active proctype holder()
{
    byte held;
    byte favourite;
    do
    :: held < HOLDS ->
        d_step { held++; sends_held = true; cond_broadcast() }
#if WAKES > 0
        withdraw_wakes();
#endif
        d_step {
            sends_held = false;
            if
            :: KEEPS(BROADCAST_ON_RESUME) -> cond_broadcast()
            :: else
            fi
        }
    :: held == HOLDS -> break
    od
}
#endif

#if TRIPS > 0
/* mc-probe: the gateway is back. */
active proctype prober()
{
    byte view;
    byte favourite;
end:
    do
    :: d_step { breaker_version % 2 == 1 -> breaker_version++; view = breaker_version }
        d_step { send_queue_set_policy(view); view = 0 }
    od
}
#endif

#if CLOSES > 0
/* Makes all waiting entries ready: queue_wake_due_locked. */
inline send_queue_close()
{
    closed = true;
    for (index : 0 .. ENTRIES - 1) {
        if
        :: WAITS(index) -> place[index] = READY; due_in[index] = 0
        :: else
        fi
    }
    index = 0;
    if
    :: KEEPS(BROADCAST_ON_CLOSE) -> cond_broadcast()
    :: else -> cond_signal()
    fi
}

/* The main thread, which shuts down at any moment, or never. */
active proctype shutdown()
{
    byte index;
    byte favourite;
    if
    :: goto done
    :: skip
    fi;
    atomic {
        if
        :: deadline_in = 0
        :: deadline_in = 2
        fi;
        choose_favourite();
        d_step { send_queue_close() }
    }
done:
    skip
}
#endif

#define RUNS_DOWN(time) (time > 0 && time != NEVER)
#define SLEEPS_UNTIL(worker) (SLEEPS(worker) && RUNS_DOWN(wake_in[worker]))
#if PAUSES > 0
#define PAUSE_RUNS_DOWN(lane) ((lane) < LANES && RUNS_DOWN(paused_for[lane]))
#else
#define PAUSE_RUNS_DOWN(lane) false
#endif

inline tick(time)
{
    if
    :: RUNS_DOWN(time) -> time--
    :: else
    fi
}

/* Time may pass at any moment, as long as anything depends on it. */
active proctype clock()
{
    byte index;
end:
    do
    :: d_step {
        RUNS_DOWN(due_in[0]) || RUNS_DOWN(due_in[1]) || RUNS_DOWN(due_in[2]) ||
            ANY(PAUSE_RUNS_DOWN) || ANY(SLEEPS_UNTIL) || RUNS_DOWN(deadline_in) ->
        for (index : 0 .. ENTRIES - 1) {
            tick(due_in[index])
        }
        for (index : 0 .. WORKERS - 1) {
            tick(wake_in[index])
        }
#if PAUSES > 0
        for (index : 0 .. LANES - 1) {
            tick(paused_for[index])
        }
#endif
        index = 0;
        tick(deadline_in)
    }
    od
}
