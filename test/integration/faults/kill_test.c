/*
 * The runtime is killed at random moments while new work keeps coming; started again each time, it
 * carries everything to its end. MISSION_CONTROL_ROUNDS says how many times (50), and
 * MISSION_CONTROL_SEED makes the moments those of an earlier try.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/sync.h"
#include "fault_env.h"

/*
 * A kill may cost each notification one run, so after KILLS_UNTIL_CHECK kills all of them must end
 * within the default budget of KILLS_UNTIL_CHECK + 1 runs, by a reply and not by a note.
 */
enum {
    ROUNDS = 50,
    ROUNDS_SANITIZED = 20,
    KILLS_UNTIL_CHECK = FAULT_ENV_MAX_RUNS - 1,
    STOPS_SHARE = 5, /* there is one stop in order for so many kills */
    NOTIFICATIONS = 80,
    AGENTS = 8,
    LATENCY_MS = 5, /* of an agent */
    LATEST_KILL_US = 150000,
    HEADER_BYTES = 115, /* of the backend's answers, and a few more */
    MAX_FAILED_CALLS = 6,
};

struct rounds {
    unsigned count;
    unsigned seed;
    unsigned short random[3];
    unsigned with_records; /* kills that found records in the spool */
    size_t replies;        /* in the spool after a kill */
};

static unsigned number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void begin(struct rounds *rounds)
{
    unsigned usual = process_timeout_scale() > 1 ? ROUNDS_SANITIZED : ROUNDS;
    *rounds = (struct rounds){
        .count = number_from("MISSION_CONTROL_ROUNDS", usual),
        .seed = number_from("MISSION_CONTROL_SEED", (unsigned)clock_wall_ms()),
    };
    rounds->random[0] = (unsigned short)rounds->seed;
    rounds->random[1] = (unsigned short)(rounds->seed >> 16);
    fprintf(stderr, "%u rounds with MISSION_CONTROL_SEED=%u\n", rounds->count, rounds->seed);
}

/* The moment of the kill is no condition to be waited for: any may come. */
static void let_a_moment_pass(struct rounds *rounds)
{
    int64_t moment_us = (int64_t)nrand48(rounds->random) % LATEST_KILL_US * process_timeout_scale();
    const struct timespec moment = {
        .tv_sec = moment_us / 1000000, .tv_nsec = moment_us % 1000000 * 1000};
    nanosleep(&moment, NULL);
}

static const char *const settings[] = {
    "DELIVERY_INTERVAL=20", "DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=20", NULL};

/* Calls of the backend fail now and then, too; that costs no run. */
static void fail_some_calls(struct fault_env *faults, struct rounds *rounds)
{
    static const enum fault_kind kinds[] = {FAULT_NONE, FAULT_RESET, FAULT_RESET_REQUEST,
        FAULT_RESET_ANSWER, FAULT_CUT_ANSWER, FAULT_CORRUPT_ANSWER};
    const struct fault fault = {
        .kind = kinds[(size_t)nrand48(rounds->random) % (sizeof kinds / sizeof kinds[0])],
        .after_bytes = HEADER_BYTES,
        .times = 1 + (unsigned)nrand48(rounds->random) % MAX_FAILED_CALLS,
    };
    fault_proxy_set(faults->backend, &fault);
}

static void kill_once(struct fault_env *faults, struct rounds *rounds)
{
    json_decref(board_load(faults->env, NOTIFICATIONS, AGENTS));
    fail_some_calls(faults, rounds);
    fault_env_launch(faults, settings);
    let_a_moment_pass(rounds);
    size_t replies = json_object_size(faults->history.spooled);
    rounds->with_records += fault_env_kill_runtime(faults) > 0;
    rounds->replies += json_object_size(faults->history.spooled) - replies;
}

/* A new board, so that a thousand rounds do not make it ever slower. */
static void clear(struct fault_env *faults)
{
    json_decref(test_env_post(faults->env, "/sandbox/reset", json_object()));
    json_object_clear(faults->history.spooled);
    fault_env_prepare(faults);
    board_set(faults->env,
        json_pack("{s:i}", "gateway_latency_ms", LATENCY_MS * process_timeout_scale()));
}

static void test_history_holds_after_kills_at_any_moment(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    begin(&rounds);
    for (unsigned round = 0; round < rounds.count;) {
        clear(faults);
        for (unsigned i = 0; i < KILLS_UNTIL_CHECK && round < rounds.count; i++, round++)
            kill_once(faults, &rounds);
        FAULT(faults->backend, .kind = FAULT_NONE);
        fault_env_start(faults, settings);
        fault_env_settle(faults, &fault_env_lossy);
    }
    fprintf(stderr, "%u kills met agents at work; %zu replies lay in the spool\n",
        rounds.with_records, rounds.replies);
    assert_true(rounds.with_records > 0);
}

/* A stop in order lets agents end: it costs no run and loses no answer. */
static void test_history_holds_after_stops_at_any_moment(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    begin(&rounds);
    clear(faults);
    for (unsigned round = 0; round < rounds.count / STOPS_SHARE; round++) {
        json_decref(board_load(faults->env, NOTIFICATIONS, AGENTS));
        fault_env_start(faults, settings);
        let_a_moment_pass(&rounds);
        test_env_stop_runtime(faults->env);
    }
    fault_env_start(faults, settings);
    fault_env_settle(faults, &fault_env_strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_history_holds_after_kills_at_any_moment),
        TEST_IN_FAULT_ENV(test_history_holds_after_stops_at_any_moment),
    };
    return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
