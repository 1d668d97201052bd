/*
 * Whether the gateway takes tools: the question, the answers that releases give to it, and what the
 * roster makes of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "base/json.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"

#define COMPLAINT(message) \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"invalid_request_error\"}}"
#define RESOURCE(status, rest) \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"" status "\"" rest "}"

struct row {
    int status;
    const char *body;
    enum tool_dialect dialect;
};

static enum tool_dialect read_answer(int status, const char *body)
{
    const struct http_response answer = {
        .failure = HTTP_ANSWERED, .status = status, .sent = true, .body = {body, strlen(body)}};
    return dialect_read(&answer);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (read_answer(rows[i].status, rows[i].body) != rows[i].dialect)
            fail_msg("row %zu, %d %s: not %s", i, rows[i].status, rows[i].body,
                tool_dialect_words[rows[i].dialect]);
}

#define CHECK_ROWS(...)                           \
    check_rows((const struct row[]){__VA_ARGS__}, \
        sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static void test_releases_are_told_apart(void **state)
{
    (void)state;
    CHECK_ROWS(
        /* 2026.9.6 */
        {400, COMPLAINT("Missing user message in `input`."), DIALECT_FLAT},
        {400, COMPLAINT("Unknown agent 'ghost'."), DIALECT_FLAT},
        {400, COMPLAINT("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."), DIALECT_FLAT},
        /* 2026.2.19 and 2026.1.24 */
        {400, COMPLAINT("tools.0.function: Invalid input: expected object, received undefined"),
            DIALECT_NONE});
}

static void test_only_a_complaint_about_tools_means_none(void **state)
{
    (void)state;
    CHECK_ROWS({400, COMPLAINT("tools.0: Unrecognized key: \\\"name\\\""), DIALECT_NONE},
        {400, COMPLAINT("tools: Invalid input"), DIALECT_NONE},
        {400, COMPLAINT("tools[0].function: Required"), DIALECT_NONE},
        {400, COMPLAINT(": Unrecognized key: \\\"tools\\\""), DIALECT_NONE},
        {400, COMPLAINT("toolset.0: odd"), DIALECT_FLAT},
        {400, COMPLAINT("the agent 'tools.0' is unknown"), DIALECT_FLAT},
        {400, COMPLAINT(""), DIALECT_FLAT},
        {400, RESOURCE("failed", ",\"error\":{\"message\":\"invalid tool configuration\"}"),
            DIALECT_FLAT});
}

static void test_other_answers_tell_nothing(void **state)
{
    (void)state;
    CHECK_ROWS({400, "", DIALECT_UNKNOWN}, {400, "<html>Bad Request</html>", DIALECT_UNKNOWN},
        {400, "{}", DIALECT_UNKNOWN}, {400, "[]", DIALECT_UNKNOWN},
        {400, "{\"error\":\"tools.0\"}", DIALECT_UNKNOWN},
        {400, "{\"error\":{\"message\":5}}", DIALECT_UNKNOWN},
        {401, COMPLAINT("Unauthorized"), DIALECT_UNKNOWN}, {404, "Not Found", DIALECT_UNKNOWN},
        {429, COMPLAINT("Too many failed authentication attempts."), DIALECT_UNKNOWN},
        {500, COMPLAINT("tools.0"), DIALECT_UNKNOWN},
        {503, COMPLAINT("Gateway is temporarily unavailable"), DIALECT_UNKNOWN},
        {200, "{\"output_text\":\"hi\"}", DIALECT_UNKNOWN});
    for (int failure = HTTP_NOT_SENT; failure <= HTTP_NO_MEMORY; failure++) {
        const struct http_response answer = {.failure = (enum http_failure)failure, .status = 400};
        assert_int_equal(dialect_read(&answer), DIALECT_UNKNOWN);
    }
}

/* Else an agent would run whenever it is asked again. */
static void test_gateway_that_runs_the_question_has_none(void **state)
{
    (void)state;
    CHECK_ROWS({200, RESOURCE("completed", ",\"output\":[]"), DIALECT_NONE},
        {500, RESOURCE("failed", ",\"error\":{\"message\":\"internal error\"}"), DIALECT_NONE});
}

static void expect_question(const char *agent, const char *expected)
{
    char *question = dialect_question(agent);
    assert_string_equal(question, expected);
    free(question);
}

static void test_question_has_no_message(void **state)
{
    (void)state;
    expect_question("jarvis", "{\"model\":\"openclaw:jarvis\",\"input\":\"\","
                              "\"tools\":[{\"type\":\"function\",\"name\":\"probe\"}]}");
    expect_question("", "{\"model\":\"openclaw\",\"input\":\"\","
                        "\"tools\":[{\"type\":\"function\",\"name\":\"probe\"}]}");
    alloc_fault_arm(1);
    assert_null(dialect_question("jarvis"));
    alloc_fault_disarm();
}

static void test_disabled_gateway_is_not_asked(void **state)
{
    (void)state;
    struct gateway *gateway;
    assert_int_equal(gateway_create(&gateway, "", NULL, NULL), 0);
    int status = 400;
    assert_int_equal(gateway_dialect_fetch(gateway, NULL, "", 1, NULL, &status), DIALECT_UNKNOWN);
    assert_int_equal(status, 0);
    gateway_destroy(gateway);
}

static int setup(void **state)
{
    struct gateway_roster *roster;
    assert_int_equal(gateway_roster_create(&roster, NULL), 0);
    *state = roster;
    return 0;
}

static int teardown(void **state)
{
    gateway_roster_destroy(*state);
    return 0;
}

static void test_unclear_answer_keeps_what_was_known(void **state)
{
    struct gateway_roster *roster = *state;
    assert_int_equal(gateway_roster_dialect(roster), DIALECT_UNKNOWN);
    assert_false(gateway_roster_takes_tools(roster));
    assert_true(gateway_roster_set_dialect(roster, DIALECT_FLAT));
    assert_false(gateway_roster_set_dialect(roster, DIALECT_FLAT));
    assert_true(gateway_roster_takes_tools(roster));
    assert_false(gateway_roster_set_dialect(roster, DIALECT_UNKNOWN));
    assert_true(gateway_roster_takes_tools(roster));
    assert_true(gateway_roster_set_dialect(roster, DIALECT_NONE));
    assert_int_equal(gateway_roster_dialect(roster), DIALECT_NONE);
    assert_false(gateway_roster_takes_tools(roster));
}

/* Set once the circuit is about to close, and until an answer comes, whatever it says. */
static void test_new_circuit_makes_the_answer_stale(void **state)
{
    struct gateway_roster *roster = *state;
    assert_false(gateway_roster_dialect_is_stale(roster));
    gateway_roster_begin_circuit(roster);
    assert_true(gateway_roster_dialect_is_stale(roster));
    assert_true(gateway_roster_asks_dialect(roster));
    assert_true(gateway_roster_asks_dialect(roster));
    gateway_roster_set_dialect(roster, DIALECT_UNKNOWN);
    assert_false(gateway_roster_dialect_is_stale(roster));
}

static unsigned count_retries(struct gateway_roster *roster)
{
    unsigned retries = 0;
    while (gateway_roster_asks_dialect(roster) && retries < 100)
        retries++;
    return retries;
}

static void test_unclear_answer_is_asked_again_a_few_times(void **state)
{
    struct gateway_roster *roster = *state;
    assert_false(gateway_roster_asks_dialect(roster));
    gateway_roster_set_dialect(roster, DIALECT_UNKNOWN);
    assert_int_equal(count_retries(roster), 5);
    gateway_roster_set_dialect(roster, DIALECT_UNKNOWN);
    assert_int_equal(count_retries(roster), 0);
    gateway_roster_begin_circuit(roster);
    gateway_roster_set_dialect(roster, DIALECT_UNKNOWN);
    gateway_roster_ask_no_more(roster);
    assert_int_equal(count_retries(roster), 0);
    gateway_roster_begin_circuit(roster);
    gateway_roster_set_dialect(roster, DIALECT_UNKNOWN);
    assert_int_equal(count_retries(roster), 5);
    gateway_roster_set_dialect(roster, DIALECT_FLAT);
    assert_false(gateway_roster_asks_dialect(roster));
}

static void test_collision_leaves_tools_out_until_the_circuit_closes(void **state)
{
    struct gateway_roster *roster = *state;
    gateway_roster_set_dialect(roster, DIALECT_FLAT);
    assert_false(gateway_roster_has_collision(roster));
    gateway_roster_note_collision(roster);
    gateway_roster_note_collision(roster);
    assert_true(gateway_roster_has_collision(roster));
    gateway_roster_set_dialect(roster, DIALECT_FLAT);
    assert_false(gateway_roster_takes_tools(roster));
    assert_int_equal(gateway_roster_dialect(roster), DIALECT_FLAT);
    gateway_roster_begin_circuit(roster);
    assert_false(gateway_roster_has_collision(roster));
    assert_true(gateway_roster_takes_tools(roster));
}

static void expect_first_agent(struct gateway_roster *roster, json_t *list, const char *expected)
{
    char slug[ID_BYTES] = "stale";
    struct gateway_models models = {.known = true, .list = list};
    gateway_roster_update(roster, &models);
    gateway_roster_first_agent(roster, slug);
    assert_string_equal(slug, expected);
}

static void test_first_agent_is_a_real_one(void **state)
{
    char slug[ID_BYTES] = "stale";
    char too_long[128] = "openclaw/";
    gateway_roster_first_agent(*state, slug);
    assert_string_equal(slug, "");
    memset(too_long + strlen(too_long), 'x', ID_BYTES);
    expect_first_agent(*state,
        json_pack("[s, s, s, s, s, s]", "openclaw", "openclaw/", "openclaw/default", too_long,
            "openclaw/Jarvis", "openclaw/friday"),
        "Jarvis");
    expect_first_agent(*state, json_pack("[s, i]", "openclaw", 5), "");
}

int main(void)
{
    json_guard_start();
#define TEST_ROSTER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_releases_are_told_apart),
        cmocka_unit_test(test_only_a_complaint_about_tools_means_none),
        cmocka_unit_test(test_other_answers_tell_nothing),
        cmocka_unit_test(test_gateway_that_runs_the_question_has_none),
        cmocka_unit_test(test_question_has_no_message),
        cmocka_unit_test(test_disabled_gateway_is_not_asked),
        TEST_ROSTER(test_unclear_answer_keeps_what_was_known),
        TEST_ROSTER(test_new_circuit_makes_the_answer_stale),
        TEST_ROSTER(test_unclear_answer_is_asked_again_a_few_times),
        TEST_ROSTER(test_collision_leaves_tools_out_until_the_circuit_closes),
        TEST_ROSTER(test_first_agent_is_a_real_one),
    };
    return cmocka_run_group_tests_name("gateway_dialect", tests, NULL, NULL);
}
