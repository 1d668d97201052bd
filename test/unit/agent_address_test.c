/* Addressing of agents: slug and session key, with and without a fallback agent, and the roster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "base/json.h"
#include "gateway/roster.h"

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

/* Updates the roster as if the gateway listed these models; takes the reference. */
static void list_models(struct gateway_roster *roster, json_t *names)
{
    struct gateway_models models = {.known = true, .list = names};
    assert_non_null(names);
    gateway_roster_update(roster, &models);
    assert_null(models.list);
}

static void expect_address(const struct config *config, struct gateway_roster *roster,
    const char *slug, const char *session_key, const char *expected_slug, const char *expected_key)
{
    struct agent_address address;
    assert_true(agent_address_make(&address, config, roster, slug, session_key));
    assert_string_equal(address.agent_slug, expected_slug);
    assert_string_equal(address.session_key.data, expected_key);
    text_fini(&address.session_key);
}

static void test_known_agent_keeps_its_session(void **state)
{
    const struct config config = {.account_id = "acc"};
    expect_address(&config, *state, "jarvis", "agent:jarvis:own", "jarvis", "agent:jarvis:own");
    expect_address(&config, *state, "jarvis", "", "jarvis", "agent:jarvis:acc");
    expect_address(&config, *state, "jarvis", NULL, "jarvis", "agent:jarvis:acc");
}

static void test_unknown_agent_without_fallback_is_addressed_itself(void **state)
{
    const struct config config = {.account_id = "acc"};
    list_models(*state, json_pack("[s]", "openclaw/main"));
    expect_address(&config, *state, "jarvis", "agent:jarvis:own", "jarvis", "agent:jarvis:own");
}

/*
 * Each unknown agent has a session of its own under the fallback, independent of its slug's case.
 */
static void test_unknown_agent_uses_the_fallback(void **state)
{
    const struct config config = {.account_id = "Acc", .fallback_agent = "main"};
    expect_address(&config, *state, "jarvis", "", "jarvis", "agent:jarvis:Acc");
    list_models(*state, json_pack("[s, s]", "openclaw/main", "openclaw/friday"));
    expect_address(&config, *state, "jarvis", "agent:jarvis:own", "main", "agent:main:jarvis:acc");
    expect_address(&config, *state, "JARVIS", "", "main", "agent:main:jarvis:acc");
    expect_address(&config, *state, "friday", "agent:friday:own", "friday", "agent:friday:own");
    expect_address(&config, *state, "FRIDAY", "agent:friday:own", "FRIDAY", "agent:friday:own");
    expect_address(&config, *state, "", "", "main", "agent:main::acc");
}

static void test_address_without_memory_fails(void **state)
{
    const struct config config = {.account_id = "acc", .fallback_agent = "main"};
    struct agent_address address;
    list_models(*state, json_array());
    const char *const keys[] = {"", "own"};
    for (size_t i = 0; i < 2; i++) {
        alloc_fault_arm(1);
        assert_false(agent_address_make(&address, &config, *state, "jarvis", keys[i]));
        alloc_fault_disarm();
        text_fini(&address.session_key);
    }
}

static void test_every_agent_is_known_without_a_roster(void **state)
{
    assert_true(gateway_roster_has(*state, "anybody"));
    list_models(*state, json_array());
    assert_false(gateway_roster_has(*state, "anybody"));
    struct gateway_models unsupported = {.unsupported = true};
    gateway_roster_update(*state, &unsupported);
    assert_true(gateway_roster_has(*state, "anybody"));
}

static void test_roster_names_match_whole_and_ignore_case(void **state)
{
    list_models(*state, json_pack("[s, s, s, s, s, s]", "openclaw", "openclaw/Jarvis",
                            "openclaw/jarvis", "openclaw/jarvis", "openai/friday", "openclaw/"));
    assert_true(gateway_roster_has(*state, "jarvis"));
    assert_true(gateway_roster_has(*state, "JARVIS"));
    assert_false(gateway_roster_has(*state, "jarvi"));
    assert_false(gateway_roster_has(*state, "jarvis2"));
    assert_false(gateway_roster_has(*state, "friday"));
    assert_false(gateway_roster_has(*state, "openclaw"));
}

static void test_missing_agents_are_copied(void **state)
{
    json_t *none = gateway_roster_missing(*state);
    assert_int_equal(json_array_size(none), 0);
    json_decref(none);
    gateway_roster_set_missing(*state, json_pack("[s, s]", "a", "b"));
    gateway_roster_set_missing(*state, json_pack("[s]", "c"));
    json_t *copy = gateway_roster_missing(*state);
    gateway_roster_set_missing(*state, NULL);
    assert_int_equal(json_array_size(copy), 1);
    assert_string_equal(json_string_value(json_array_get(copy, 0)), "c");
    json_decref(copy);
}

int main(void)
{
    json_guard_start();
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_known_agent_keeps_its_session),
        TEST(test_unknown_agent_without_fallback_is_addressed_itself),
        TEST(test_unknown_agent_uses_the_fallback),
        TEST(test_address_without_memory_fails),
        TEST(test_every_agent_is_known_without_a_roster),
        TEST(test_roster_names_match_whole_and_ignore_case),
        TEST(test_missing_agents_are_copied),
    };
    return cmocka_run_group_tests_name("agent_address", tests, NULL, NULL);
}
