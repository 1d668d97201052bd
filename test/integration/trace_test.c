/* The traceparent header: one trace for all requests of a delivery, a span for each request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../lib/board.h"
#include "base/log.h"

static const char version_prefix[] = "00-";

enum {
    PARENT_BYTES = 64,
    PREFIX_BYTES = sizeof version_prefix - 1,
    ID_DIGITS = TRACE_ID_BYTES - 1
};

/* Copies traceparent of the function's last call; fails the test if it is missing or malformed. */
static void get_last_call(
    struct test_env *env, const char *action, char parent[static PARENT_BYTES])
{
    json_t *stats = test_env_get(env, "/sandbox/stats");
    const json_t *backend = json_object_get(stats, "backend");
    const json_t *function = json_object_get(backend, action);
    assert_non_null(function);
    text_copy(parent, PARENT_BYTES, board_string(function, "lastTrace"));
    json_decref(stats);
    assert_int_equal(strlen(parent), TRACE_HEADER_BYTES - sizeof "traceparent: ");
    assert_memory_equal(parent, version_prefix, PREFIX_BYTES);
    assert_string_equal(parent + strlen(parent) - 3, "-01");
}

static void get_last_run(struct test_env *env, char parent[static PARENT_BYTES])
{
    json_t *record = test_env_get(env, "/sandbox/gateway");
    const json_t *requests = json_object_get(record, "requests");
    const json_t *last = json_array_get(requests, json_array_size(requests) - 1);
    text_copy(parent, PARENT_BYTES, board_string(last, "traceparent"));
    json_decref(record);
}

/* Whether two headers share a trace; fails the test if they share a span. */
static bool share_a_trace(const char *first, const char *second)
{
    assert_string_not_equal(first + PREFIX_BYTES + ID_DIGITS, second + PREFIX_BYTES + ID_DIGITS);
    return memcmp(first, second, PREFIX_BYTES + ID_DIGITS) == 0;
}

static void expect_log_with_trace(struct test_env *env, const char *words, const char *parent)
{
    char line[512];
    char field[64];
    assert_true(process_wait_output(&env->runtime, words, TEST_WAIT_MS, line, sizeof line));
    snprintf(field, sizeof field, " trace=%.*s", ID_DIGITS, parent + PREFIX_BYTES);
    if (strstr(line, field) == NULL)
        fail_msg("expected%s in %s%s", field, words, line);
}

/* Even when one attempt fails and another resumes at its stage. */
static void test_delivery_is_one_trace(void **state)
{
    struct test_env *env = *state;
    char run[PARENT_BYTES];
    char context[PARENT_BYTES];
    char written[PARENT_BYTES];
    char acked[PARENT_BYTES];
    board_backend_fault(env, json_pack("{s:s, s:i, s:s, s:i}", "action", "createMessageFromAgent",
                                 "times", 1, "behaviour", "status", "status", 503));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    get_last_run(env, run);
    get_last_call(env, "getNotificationForDelivery", context);
    get_last_call(env, "createMessageFromAgent", written);
    get_last_call(env, "markNotificationDelivered", acked);
    assert_true(share_a_trace(context, run));
    assert_true(share_a_trace(run, written));
    assert_true(share_a_trace(written, acked));
    expect_log_with_trace(env, "warn [Delivery] Failed to deliver ", run);
    expect_log_with_trace(env, "info [Delivery] Delivered ", run);
    test_env_stop_runtime(env);
}

static void test_polls_syncs_and_reports_have_their_own_traces(void **state)
{
    struct test_env *env = *state;
    char first_run[PARENT_BYTES];
    char run[PARENT_BYTES];
    char poll[PARENT_BYTES];
    char later_poll[PARENT_BYTES];
    char sync[PARENT_BYTES];
    char report[PARENT_BYTES];
    char online[PARENT_BYTES];
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    test_env_wait(env, "action=updateRuntimeStatus&calls=1");
    test_env_wait(env, "action=listAgents&calls=1");
    get_last_run(env, first_run);
    get_last_call(env, "listUndeliveredNotifications", poll);
    get_last_call(env, "listAgents", sync);
    get_last_call(env, "updateRuntimeStatus", report);
    assert_false(share_a_trace(poll, first_run));
    assert_false(share_a_trace(poll, sync));
    assert_false(share_a_trace(poll, report));
    assert_false(share_a_trace(sync, report));
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=2");
    get_last_run(env, run);
    get_last_call(env, "listUndeliveredNotifications", later_poll);
    assert_false(share_a_trace(first_run, run));
    assert_false(share_a_trace(poll, later_poll));
    test_env_stop_runtime(env);
    /* A heartbeat: the agent's run and the report that it is online share a trace. */
    test_env_list_agents(env, true);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "requests=3");
    test_env_wait(env, "action=updateAgentHeartbeat&calls=1");
    get_last_run(env, run);
    get_last_call(env, "updateAgentHeartbeat", online);
    assert_true(share_a_trace(run, online));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_delivery_is_one_trace),
        TEST_IN_ENV(test_polls_syncs_and_reports_have_their_own_traces),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
