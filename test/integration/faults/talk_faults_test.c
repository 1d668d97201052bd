/* Agents that answer each other while gateway and backend fail: the limits of their runs hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/talk.h"
#include "fault_env.h"

enum { MAX_AGENT_RUNS = 6, MAX_RUNS = 4 };

static const struct history_rules talking = {
    .max_runs = MAX_RUNS, .max_agent_runs = MAX_AGENT_RUNS, .lost_answers = true, .notes = true};

/* Breaks the next requests for an agent: a proxy's page, which may hide a run, or a refusal. */
static void break_requests(
    struct fault_env *faults, const char *agent, int status, const char *body, int times)
{
    board_gateway_fault(
        faults->env, json_pack("{s:{s:s}, s:b, s:s, s:i, s:s, s:i, s:s}", "match", "agent", agent,
                         "before_checks", true, "action", "status", "status", status, "body", body,
                         "times", times, "name", agent));
}

static void start_talking(struct fault_env *faults, const char *max_agent_runs)
{
    fault_env_start(faults, STRINGS("DELIVERY_INTERVAL=20", "DELIVERY_BACKOFF_BASE_MS=1",
                                "DELIVERY_BACKOFF_MAX_MS=10", max_agent_runs));
}

/*
 * Three agents mention both others in every reply. Some of their runs hide behind a proxy's page
 * and count, some are refused and do not; marks and messages are lost on the way.
 */
static void test_limit_holds_despite_faults(void **state)
{
    struct fault_env *faults = *state;
    struct test_env *env = faults->env;
    talk_seed(env);
    break_requests(faults, "two", 504, "<html>Gateway Time-out</html>", 2);
    break_requests(faults, "three", 400, "{\"error\":{\"message\":\"made to fail\"}}", 3);
    talk_set_mutual_replies(env);
    start_talking(faults, "DELIVERY_MAX_AGENT_RUNS=6");
    FAULT(faults->backend, .kind = FAULT_RESET_ANSWER, .times = 4,
        .match = "markNotificationDelivered");
    talk_post(env, "@one begin");
    talk_wait_until_quiet(env);
    assert_int_equal(board_fault_hits(env, "two"), 2);
    assert_int_equal(board_fault_hits(env, "three"), 3);
    assert_int_equal(fault_proxy_hits(faults->backend, FAULT_RESET_ANSWER), 4);
    assert_int_equal(talk_count_limit_notes(env), 1);
    FAULT(faults->backend, .kind = FAULT_CUT_ANSWER, .times = 4, .match = "createMessageFromAgent");
    talk_post(env, "@two @three go on");
    talk_wait_until_quiet(env);
    assert_int_equal(fault_proxy_hits(faults->backend, FAULT_CUT_ANSWER), 4);
    assert_int_equal(talk_count_limit_notes(env), 2);
    fault_env_settle(faults, &talking);
    test_env_wait_log(env, "reason=too_many_agent_runs");
}

/* With a limit of one run all that agents cause is skipped, and nothing that a person does. */
static void test_people_are_heard_despite_faults(void **state)
{
    struct fault_env *faults = *state;
    struct test_env *env = faults->env;
    struct history_rules rules = talking;
    rules.max_agent_runs = 1;
    talk_seed(env);
    break_requests(faults, "one", 502, "<html>Bad Gateway</html>", 2);
    talk_set_mutual_replies(env);
    start_talking(faults, "DELIVERY_MAX_AGENT_RUNS=1");
    FAULT(faults->gateway, .kind = FAULT_CUT_ANSWER, .times = 1, .match = "## Notification");
    for (int i = 0; i < 3; i++) {
        talk_post(env, "@one @two @three what do you think?");
        talk_wait_until_quiet(env);
    }
    assert_int_equal(board_fault_hits(env, "one"), 2);
    assert_int_equal(fault_proxy_hits(faults->gateway, FAULT_CUT_ANSWER), 1);
    assert_true(talk_count_limit_notes(env) >= 1);
    fault_env_settle(faults, &rules);
}

/* Each first run is lost: the notification that has it tries again, and its twin stays skipped. */
static void test_two_spellings_run_an_agent_once_despite_faults(void **state)
{
    enum { MESSAGES = 3 };
    struct fault_env *faults = *state;
    struct test_env *env = faults->env;
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:s}], s:[{s:s}]}", "agents", "slug", "fri", "name", "Friday Two",
            "tasks", "title", "talk")));
    start_talking(faults, NULL);
    for (unsigned i = 1; i <= MESSAGES; i++) {
        FAULT(faults->gateway, .kind = FAULT_CUT_ANSWER, .times = 1, .match = "## Notification");
        talk_post(env, "@fri @\"Friday Two\" hello");
        fault_proxy_wait_hits(faults->gateway, FAULT_CUT_ANSWER, i);
        talk_wait_until_quiet(env);
    }
    fault_env_settle(faults, &fault_env_lossy);
    assert_int_equal(json_array_size(faults->history.requests), 2 * MESSAGES);
    assert_int_equal(test_env_stat(env, NULL, "replies"), MESSAGES);
    /* v1 makes one notification of both. */
    assert_int_equal(
        process_has_output(&env->runtime, "reason=same_message"), !test_env_is_v1(env));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_limit_holds_despite_faults),
        TEST_IN_FAULT_ENV(test_people_are_heard_despite_faults),
        TEST_IN_FAULT_ENV(test_two_spellings_run_an_agent_once_despite_faults),
    };
    return cmocka_run_group_tests_name("talk_faults", tests, NULL, NULL);
}
