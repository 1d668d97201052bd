/*
 * Kills the runtime at random moments while new work arrives, restarts it each time, and checks
 * that everything completes. MISSION_CONTROL_ROUNDS is the number of kills (50);
 * MISSION_CONTROL_SEED repeats the moments of an earlier run.
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

#include "../../lib/backend_call.h"
#include "base/sync.h"
#include "fault_env.h"

/*
 * A kill may cost each notification one run, so after KILLS_UNTIL_CHECK kills all of them must
 * still end within the default budget of KILLS_UNTIL_CHECK + 1 runs, with a reply and not with a
 * note.
 */
enum {
    ROUNDS = 50,
    ROUNDS_SANITIZED = 20,
    KILLS_UNTIL_CHECK = FAULT_ENV_MAX_RUNS - 1,
    KILLS_PER_SHUTDOWN = 5, /* one clean shutdown per this many kills */
    SHUTDOWNS_UNTIL_CHECK = 10,
    NOTIFICATIONS = 80,
    AGENTS = 8,
    LATENCY_MS = 5, /* of an agent's run */
    MAX_DELAY_US = 150000,
    HEADER_BYTES = 115, /* at least the header of a backend answer */
    MAX_FAILED_CALLS = 6,
};

struct rounds {
    unsigned count;
    unsigned seed;
    unsigned short random[3];
    int64_t max_delay_us;  /* longer while kills come before any run */
    unsigned with_records; /* kills that found records in the spool */
    size_t replies;        /* found in the spool after kills */
};

static unsigned number_from_env(const char *name, unsigned fallback)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 10) : fallback;
}

static void rounds_init(struct rounds *rounds)
{
    unsigned default_rounds = process_timeout_scale() > 1 ? ROUNDS_SANITIZED : ROUNDS;
    *rounds = (struct rounds){
        .count = number_from_env("MISSION_CONTROL_ROUNDS", default_rounds),
        .seed = number_from_env("MISSION_CONTROL_SEED", (unsigned)clock_wall_ms()),
        .max_delay_us = (int64_t)MAX_DELAY_US * process_timeout_scale(),
    };
    rounds->random[0] = (unsigned short)rounds->seed;
    rounds->random[1] = (unsigned short)(rounds->seed >> 16);
    fprintf(stderr, "%u rounds with MISSION_CONTROL_SEED=%u\n", rounds->count, rounds->seed);
}

/* A random moment is the point of this test, so it sleeps instead of waiting for a condition. */
static void sleep_random(struct rounds *rounds)
{
    int64_t delay_us = (int64_t)nrand48(rounds->random) % rounds->max_delay_us;
    const struct timespec delay = {
        .tv_sec = delay_us / 1000000, .tv_nsec = delay_us % 1000000 * 1000};
    nanosleep(&delay, NULL);
}

static const char *const settings[] = {
    "DELIVERY_INTERVAL=20", "DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=20", NULL};

/* Some backend calls fail as well, which costs no run. */
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

static void kill_and_count(struct fault_env *faults, struct rounds *rounds)
{
    bool has_hit = fault_env_kill_runtime(faults) > 0;
    rounds->with_records += has_hit;
    /* On a slow machine a start may take longer than the longest delay. */
    if (!has_hit && rounds->with_records == 0)
        rounds->max_delay_us += (int64_t)MAX_DELAY_US * process_timeout_scale();
}

static void kill_once(struct fault_env *faults, struct rounds *rounds)
{
    json_decref(board_load(faults->env, NOTIFICATIONS, AGENTS));
    fail_some_calls(faults, rounds);
    fault_env_launch(faults, settings);
    sleep_random(rounds);
    size_t replies = json_object_size(faults->history.spooled);
    kill_and_count(faults, rounds);
    rounds->replies += json_object_size(faults->history.spooled) - replies;
}

/* A new board, so that a thousand rounds do not slow it down more and more. */
static void reset_board(struct fault_env *faults)
{
    fault_env_reset(faults);
    board_set(faults->env,
        json_pack("{s:i}", "gateway_latency_ms", LATENCY_MS * process_timeout_scale()));
}

static void test_history_holds_after_random_kills(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    rounds_init(&rounds);
    for (unsigned round = 0; round < rounds.count;) {
        reset_board(faults);
        for (unsigned i = 0; i < KILLS_UNTIL_CHECK && round < rounds.count; i++, round++)
            kill_once(faults, &rounds);
        FAULT(faults->backend, .kind = FAULT_NONE);
        fault_env_start(faults, settings);
        fault_env_settle(faults, &fault_env_lossy);
    }
    fprintf(stderr, "%u kills hit runs in flight; %zu replies were in the spool\n",
        rounds.with_records, rounds.replies);
    assert_true(rounds.with_records > 0);
}

/* A clean shutdown waits for runs in flight: it costs no run and loses no answer. */
static void test_history_holds_after_random_shutdowns(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    rounds_init(&rounds);
    for (unsigned round = 0; round < rounds.count / KILLS_PER_SHUTDOWN;) {
        reset_board(faults);
        for (unsigned i = 0; i < SHUTDOWNS_UNTIL_CHECK; i++, round++) {
            json_decref(board_load(faults->env, NOTIFICATIONS, AGENTS));
            fault_env_start(faults, settings);
            sleep_random(&rounds);
            test_env_stop_runtime(faults->env);
        }
        fault_env_start(faults, settings);
        fault_env_settle(faults, &fault_env_strict);
    }
}

/* People write in the threads of these tasks, each of which has an agent. */
enum {
    THREADS = 6,
    WRITES_PER_KILL = 3,
    LONG_LATENCY_MS = 80, /* so that most words come while an agent is at work */
};

static void seed_threads(struct fault_env *faults)
{
    for (int i = 0; i < THREADS; i++)
        backend_set_up(faults->env, "seed",
            "{'agents':[{'slug':'agent%d'}],"
            "'tasks':[{'title':'thread%d','status':'in_progress','assign':['agent%d']}]}",
            i, i, i);
}

static void write_in_threads(struct fault_env *faults, unsigned number)
{
    for (int i = 0; i < THREADS; i++)
        backend_set_up(
            faults->env, "message", "{'task':'thread%d','content':'word %u-%d.'}", i, number, i);
}

/* How many messages of agents end with the reply of that run. */
static int count_replies_of(const json_t *messages, double run)
{
    char ending[32];
    int count = 0;
    size_t index;
    const json_t *message;
    snprintf(ending, sizeof ending, "\nRun %.0f", run);
    json_array_foreach (messages, index, message) {
        const char *content = board_string(message, "content");
        size_t bytes = strlen(content);
        count += bytes >= strlen(ending) && strcmp(content + bytes - strlen(ending), ending) == 0;
    }
    return count;
}

/* Fails the test unless a run saw the words and its reply is in the thread; none is there twice. */
static void must_be_answered(const json_t *messages, const json_t *runs, const char *words)
{
    bool answered = false;
    size_t index;
    const json_t *run;
    json_array_foreach (runs, index, run) {
        double number = json_number_value(json_object_get(run, "number"));
        int replies = count_replies_of(messages, number);
        if (replies > 1)
            fail_msg("the reply of run %.0f was posted %d times", number, replies);
        if (strstr(board_string(run, "input"), words) != NULL && replies == 1)
            answered = true;
    }
    if (!answered)
        fail_msg("\"%s\" is not answered", words);
}

static void must_answer_last_words(struct fault_env *faults, unsigned number)
{
    json_t *messages = board_documents(faults->env, "messages");
    json_t *gateway = test_env_get(faults->env, "/sandbox/gateway");
    for (int i = 0; i < THREADS; i++) {
        char words[48];
        snprintf(words, sizeof words, "word %u-%d.", number, i);
        must_be_answered(messages, json_object_get(gateway, "requests"), words);
    }
    json_decref(gateway);
    json_decref(messages);
}

/* On v1, where what a person writes may take the place of what is being answered. */
static void test_no_message_is_swallowed_by_random_kills(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    unsigned writes = 0;
    rounds_init(&rounds);
    for (unsigned round = 0; round < rounds.count;) {
        reset_board(faults);
        seed_threads(faults);
        board_set(faults->env,
            json_pack("{s:i}", "gateway_latency_ms", LONG_LATENCY_MS * process_timeout_scale()));
        for (unsigned i = 0; i < KILLS_UNTIL_CHECK && round < rounds.count; i++, round++) {
            fault_env_launch(faults, settings);
            for (int j = 0; j < WRITES_PER_KILL; j++) {
                sleep_random(&rounds);
                write_in_threads(faults, ++writes);
                /* Now and then the gateway takes no requests. */
                board_set_flag(faults->env, "gateway_draining", nrand48(rounds.random) % 3 == 0);
            }
            sleep_random(&rounds);
            fault_env_kill_runtime(faults);
        }
        board_set_flag(faults->env, "gateway_draining", false);
        fault_env_start(faults, settings);
        test_env_wait(faults->env, "undelivered=0&typing=0");
        /* What was changed is marked already, but waits for its second answer. */
        while (!test_env_health_has(
            faults->env, "/metrics", "mission_control_notifications_undelivered 0\n"))
            test_env_wait_calls(faults->env, "listUndeliveredNotifications", 1);
        test_env_stop_runtime(faults->env);
        must_answer_last_words(faults, writes);
    }
}

/* Agents that do what people tell them with their tools, two rounds of calls a message. */
enum { WISHES_PER_KILL = 20, CALL_LATENCY_MS = 10 };

/* A task of its own for each message, so that each has a session of its own. */
static void ask_for_changes(struct fault_env *faults, unsigned round)
{
    for (int i = 0; i < WISHES_PER_KILL; i++) {
        backend_set_up(faults->env, "seed", "{'tasks':[{'title':'wish%u-%d'}]}", round, i);
        backend_set_up(faults->env, "message",
            "{'task':'wish%u-%d','content':'@agent%d please write a note about matter %u-%d, write "
            "a template about case %u-%d then write a reference about point %u-%d'}",
            round, i, i % AGENTS, round, i, round, i, round, i);
    }
}

static void seed_agents(struct fault_env *faults)
{
    for (int i = 0; i < AGENTS; i++)
        backend_set_up(faults->env, "seed", "{'agents':[{'slug':'agent%d'}]}", i);
    board_set(faults->env,
        json_pack("{s:i}", "gateway_latency_ms", CALL_LATENCY_MS * process_timeout_scale()));
}

/* No change is made twice, whatever is killed and lost, and each agent has its last word. */
static void test_no_change_is_made_twice_by_random_kills(void **state)
{
    struct fault_env *faults = *state;
    struct rounds rounds;
    rounds_init(&rounds);
    long effects = 0;
    for (unsigned round = 0; round < rounds.count;) {
        reset_board(faults);
        seed_agents(faults);
        for (unsigned i = 0; i < KILLS_UNTIL_CHECK && round < rounds.count; i++, round++) {
            ask_for_changes(faults, round);
            fail_some_calls(faults, &rounds);
            fault_env_launch(faults, settings);
            sleep_random(&rounds);
            kill_and_count(faults, &rounds);
        }
        FAULT(faults->backend, .kind = FAULT_NONE);
        fault_env_start(faults, settings);
        fault_env_settle(faults, &fault_env_lossy);
        effects += test_env_stat(faults->env, NULL, "effects");
    }
    fprintf(stderr, "%u kills hit runs in flight; agents made %ld changes\n", rounds.with_records,
        effects);
    assert_true(rounds.with_records > 0 && effects > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_history_holds_after_random_kills),
        TEST_IN_FAULT_ENV(test_history_holds_after_random_shutdowns),
        TEST_ON(test_no_message_is_swallowed_by_random_kills,
            "test_no_message_is_swallowed_by_random_kills (v1)", fault_env_setup,
            fault_env_teardown, "v1"),
        TEST_ON(test_no_change_is_made_twice_by_random_kills,
            "test_no_change_is_made_twice_by_random_kills (v1)", fault_env_setup,
            fault_env_teardown, "v1"),
    };
    return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
