/* The header traceparent: one trace for all requests of a delivery, each with its own span. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/board.h"
#include "base/log.h"

static const char lead[] = "00-";

enum { PARENT_BYTES = 64, LEAD_BYTES = sizeof lead - 1, ID_DIGITS = TRACE_ID_BYTES - 1 };

/* Copies the header of the last call of a backend function; fails the test if it has none. */
static void last_call(struct test_env *env, const char *action, char parent[static PARENT_BYTES])
{
    json_t *stats = test_env_get(env, "/sandbox/stats");
    const json_t *backend = json_object_get(stats, "backend");
    const json_t *function = json_object_get(backend, action);
    assert_non_null(function);
    text_copy(parent, PARENT_BYTES, board_string(function, "lastTrace"));
    json_decref(stats);
    assert_int_equal(strlen(parent), TRACE_HEADER_BYTES - sizeof "traceparent: ");
    assert_memory_equal(parent, lead, LEAD_BYTES);
    assert_string_equal(parent + strlen(parent) - 3, "-01");
}

static void last_run(struct test_env *env, char parent[static PARENT_BYTES])
{
    json_t *record = test_env_get(env, "/sandbox/gateway");
    const json_t *requests = json_object_get(record, "requests");
    const json_t *last = json_array_get(requests, json_array_size(requests) - 1);
    text_copy(parent, PARENT_BYTES, board_string(last, "traceparent"));
    json_decref(record);
}

/* Whether two headers are of the same trace; in no case are they of the same span. */
static bool belong_together(const char *first, const char *second)
{
    assert_string_not_equal(first + LEAD_BYTES + ID_DIGITS, second + LEAD_BYTES + ID_DIGITS);
    return memcmp(first, second, LEAD_BYTES + ID_DIGITS) == 0;
}

static void must_log(struct test_env *env, const char *words, const char *parent)
{
    char line[512];
    char field[64];
    assert_true(process_wait_output(&env->runtime, words, TEST_WAIT_MS, line, sizeof line));
    snprintf(field, sizeof field, " trace=%.*s", ID_DIGITS, parent + LEAD_BYTES);
    if (strstr(line, field) == NULL)
        fail_msg("no%s in %s%s", field, words, line);
}

/* Also when an attempt fails and another goes on where it stopped. */
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
    last_run(env, run);
    last_call(env, "getNotificationForDelivery", context);
    last_call(env, "createMessageFromAgent", written);
    last_call(env, "markNotificationDelivered", acked);
    assert_true(belong_together(context, run));
    assert_true(belong_together(run, written));
    assert_true(belong_together(written, acked));
    must_log(env, "warn [Delivery] Failed to deliver ", run);
    must_log(env, "info [Delivery] Delivered ", run);
    test_env_stop_runtime(env);
}

static void test_other_rounds_have_their_own(void **state)
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
    last_run(env, first_run);
    last_call(env, "listUndeliveredNotifications", poll);
    last_call(env, "listAgents", sync);
    last_call(env, "updateRuntimeStatus", report);
    assert_false(belong_together(poll, first_run));
    assert_false(belong_together(poll, sync));
    assert_false(belong_together(poll, report));
    assert_false(belong_together(sync, report));
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=2");
    last_run(env, run);
    last_call(env, "listUndeliveredNotifications", later_poll);
    assert_false(belong_together(first_run, run));
    assert_false(belong_together(poll, later_poll));
    test_env_stop_runtime(env);
    /* An agent that is woken: the run and the report of the agent belong together. */
    test_env_list_agents(env, true);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "requests=3");
    test_env_wait(env, "action=updateAgentHeartbeat&calls=1");
    last_run(env, run);
    last_call(env, "updateAgentHeartbeat", online);
    assert_true(belong_together(run, online));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_delivery_is_one_trace),
        TEST_IN_ENV(test_other_rounds_have_their_own),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
