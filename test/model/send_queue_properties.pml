/*
 * What has to hold. A state that must not occur is found by the process "guard", so that one run
 * checks all of them, or with -DCHECK=NAME the one of that name. What has to happen at last are
 * formulas, checked with weak fairness.
 */

#define no_deadlock 0 /* Spin finds one by itself: the guard has nothing to do */
#define one_per_lane 1
#define wakes_limited 2
#define asked_once 3
#define no_forbidden_send 4
#define no_take_after_deadline 5
#define reply_kept 6
#define write_backs_finish 7
#define no_missed_wakeup 8
#define no_early_send 9
#define runs_recorded 10
#define activities_are_true 11
#define no_needless_mark 12
#define no_late_trip 13
#define no_overtaking 14

#define HAS_TURN(entry) (place[entry] == RUNNING && !IS_AHEAD(entry))
#define BOTH_AT_WORK \
    ((LANES == 2 && HAS_TURN(0) && HAS_TURN(1)) || (LANES == 1 && COUNT(HAS_TURN) > 1))
#define AWAKE_AT_WORK(lane, work) (wake_state[lane] == WAKE_RUNNING && (work))
#define WAKE_AT_WORK \
    (WAKES > 0 && (AWAKE_AT_WORK(0, place[0] == RUNNING || place[1] == RUNNING) || \
        AWAKE_AT_WORK(1, place[2] == RUNNING)))

#define ASKED_ONCE(entry) (runs[entry] <= 1)

/* A reply that the backend does not have yet is in a place where it will be found. */
#define REPLY_KEPT(entry) \
    (stage[entry] != REPLIED || gone[entry] || \
        (place[entry] != UNKNOWN && place[entry] != LEFT_OVER))

/* A shutdown with enough time leaves no write-back that was due within that time. */
#define HAS_ENDED(worker) ((worker) >= WORKERS || worker_state[worker] == ENDED)
#define ALL_ENDED ALL(HAS_ENDED)
#define WRITTEN_BACK(entry) \
    (stage[entry] != REPLIED || place[entry] == SETTLED || place[entry] == UNKNOWN || \
        (WAITS(entry) && due_in[entry] >= deadline_in))

/*
 * If a worker sleeps and none is about to take, then there is nothing to take, a worker will wake
 * at the next due time and at the end of the next pause, and the shutdown is not waiting for one.
 */
#define ON_THE_WAY(worker) \
    ((worker) < WORKERS && (worker_state[worker] == TAKING || wake_in[worker] == 0))
#define TAKEABLE \
    (!EXPIRED && (ANY(MAY_WRITE_BACK) || ANY(MAY_BE_SENT) || ANY(MAY_BE_LOOKED_AT) || \
        (WAKES > 0 && (MAY_BE_WOKEN(0) || MAY_BE_WOKEN(1)))))
#define WAKES_BY(worker, time) ((worker) < WORKERS && wake_in[worker] <= time)
#define WATCHED(time) (WAKES_BY(0, time) || WAKES_BY(1, time) || WAKES_BY(2, time))
#define MISSED_WAKEUP \
    (ANY(SLEEPS) && !ANY(ON_THE_WAY) && \
        (TAKEABLE || !WATCHED(NEXT_DUE) || !WATCHED(NEXT_RESUME) || (closed && !ANY(STILL_DUE))))

/* Whatever no worker has is as its record says; a request is recorded before it goes out. */
#define RECORD_IS_TRUE(entry) \
    (place[entry] == UNKNOWN || place[entry] == SETTLED || \
        recorded[entry] == (runs[entry] > 0) || (place[entry] == RUNNING && recorded[entry]))

#define SHOWS_WORK(worker) \
    ((worker) >= WORKERS || (activity[worker] != NO_ENTRY) == (worker_state[worker] == WORKING))

#ifdef CHECK
#define CHECKS(property) (CHECK == property)
#else
#define CHECKS(property) true
#endif
#define VIOLATES(property, violation) \
    CHECKS(property) && (violation) -> assert(!property)

active proctype guard()
{
end:
    if
    :: VIOLATES(one_per_lane, BOTH_AT_WORK || WAKE_AT_WORK)
    :: VIOLATES(wakes_limited, wakes_running > MAX_WAKES)
    :: VIOLATES(asked_once, !ALL(ASKED_ONCE))
    :: VIOLATES(no_forbidden_send, forbidden_send)
    :: VIOLATES(no_take_after_deadline, late_take)
    :: VIOLATES(reply_kept, !ALL(REPLY_KEPT))
    :: VIOLATES(write_backs_finish, ALL_ENDED && !EXPIRED && !ALL(WRITTEN_BACK))
    :: VIOLATES(no_missed_wakeup, MISSED_WAKEUP)
    :: VIOLATES(no_early_send, early_send)
    :: VIOLATES(runs_recorded, !ALL(RECORD_IS_TRUE))
    :: VIOLATES(activities_are_true, !ALL(SHOWS_WORK))
    :: VIOLATES(no_needless_mark, needless_mark)
    :: VIOLATES(no_late_trip, late_trip)
    :: VIOLATES(no_overtaking, overtaken)
    fi
}

/* Without a shutdown every notification ends, even while another one's agent hangs. */
#define ENDS(entry) (gone[entry] || (entry == 2 && hangs))
ltl every_notification_ends { <> (closed || ALL(ENDS)) }

/* While the first lane is paused for good, the other one flows. */
ltl other_lanes_flow { <> (closed || ENDS(2)) }

ltl shutdown_ends { [] (closed -> <> ALL_ENDED) }
