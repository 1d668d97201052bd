/* As whom an agent of the board is asked, and what the gateway's list of agents says about it. */
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

/* The gateway lists what is in the array, taken over. */
static void list(struct gateway_roster *roster, json_t *names)
{
    struct gateway_models models = {.known = true, .list = names};
    assert_non_null(names);
    gateway_roster_update(roster, &models);
    assert_null(models.list);
}

static void must_be(const struct agent_router *router, const char *slug, const char *session_key,
    const char *expected_slug, const char *expected_key)
{
    struct agent_address address;
    assert_true(agent_address_make(&address, router, slug, session_key));
    assert_string_equal(address.agent_slug, expected_slug);
    assert_string_equal(address.session_key.data, expected_key);
    agent_address_fini(&address);
}

static void test_agent_of_the_gateway(void **state)
{
    const struct agent_router router = {.account_id = "acc", .roster = *state};
    must_be(&router, "jarvis", "agent:jarvis:own", "jarvis", "agent:jarvis:own");
    must_be(&router, "jarvis", "", "jarvis", "agent:jarvis:acc");
}

static void test_unknown_agent_without_a_fallback_is_asked_itself(void **state)
{
    const struct agent_router router = {.account_id = "acc", .roster = *state};
    list(*state, json_pack("[s]", "openclaw/main"));
    must_be(&router, "jarvis", "agent:jarvis:own", "jarvis", "agent:jarvis:own");
}

/* Each keeps a session of its own, whatever the case of its slug. */
static void test_fallback_agent(void **state)
{
    const struct agent_router router = {
        .account_id = "Acc", .fallback_agent = "main", .roster = *state};
    must_be(&router, "jarvis", "", "jarvis", "agent:jarvis:Acc");
    list(*state, json_pack("[s, s]", "openclaw/main", "openclaw/friday"));
    must_be(&router, "jarvis", "agent:jarvis:own", "main", "agent:main:jarvis:acc");
    must_be(&router, "JARVIS", "", "main", "agent:main:jarvis:acc");
    must_be(&router, "friday", "agent:friday:own", "friday", "agent:friday:own");
    must_be(&router, "FRIDAY", "agent:friday:own", "FRIDAY", "agent:friday:own");
    must_be(&router, "", "", "main", "agent:main::acc");
}

static void test_documents_of_agents(void **state)
{
    const struct agent_router router = {.account_id = "acc", .roster = *state};
    static const struct {
        const char *json;
        const char *slug;
        const char *key;
    } cases[] = {
        {"{\"slug\":\"a\",\"sessionKey\":\"k\"}", "a", "k"},
        {"{\"slug\":\"a\"}", "a", "agent:a:acc"},
        {"{\"slug\":\"a\",\"sessionKey\":\"\"}", "a", "agent:a:acc"},
        {"{\"slug\":\"a\",\"sessionKey\":7}", "a", "agent:a:acc"},
        {"{\"slug\":[],\"sessionKey\":\"k\"}", "", "k"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_address address;
        json_t *agent = json_loads(cases[i].json, 0, NULL);
        assert_true(agent_address_from_json(&address, &router, agent));
        assert_string_equal(address.agent_slug, cases[i].slug);
        assert_string_equal(address.session_key.data, cases[i].key);
        agent_address_fini(&address);
        json_decref(agent);
    }
}

static void test_no_memory_for_an_address(void **state)
{
    const struct agent_router router = {
        .account_id = "acc", .fallback_agent = "main", .roster = *state};
    struct agent_address address;
    list(*state, json_array());
    const char *const keys[] = {"", "own"};
    for (size_t i = 0; i < 2; i++) {
        alloc_fault_arm(1);
        assert_false(agent_address_make(&address, &router, "jarvis", keys[i]));
        alloc_fault_disarm();
        agent_address_fini(&address);
    }
}

static void test_every_agent_is_known_until_the_gateway_says_otherwise(void **state)
{
    assert_true(gateway_roster_has(*state, "anybody"));
    list(*state, json_array());
    assert_false(gateway_roster_has(*state, "anybody"));
    struct gateway_models unsupported = {.unsupported = true};
    gateway_roster_update(*state, &unsupported);
    assert_true(gateway_roster_has(*state, "anybody"));
}

static void test_names_are_compared_without_case_and_only_as_a_whole(void **state)
{
    list(*state, json_pack("[s, s, s, s, s, s]", "openclaw", "openclaw/Jarvis", "openclaw/jarvis",
                     "openclaw/jarvis", "openai/friday", "openclaw/"));
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
        TEST(test_agent_of_the_gateway),
        TEST(test_unknown_agent_without_a_fallback_is_asked_itself),
        TEST(test_fallback_agent),
        TEST(test_documents_of_agents),
        TEST(test_no_memory_for_an_address),
        TEST(test_every_agent_is_known_until_the_gateway_says_otherwise),
        TEST(test_names_are_compared_without_case_and_only_as_a_whole),
        TEST(test_missing_agents_are_copied),
    };
    return cmocka_run_group_tests_name("agent_address", tests, NULL, NULL);
}
