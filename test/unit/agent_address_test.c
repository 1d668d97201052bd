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
#include "delivery/session_key.h"
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

static void expect_session(const struct config *config, struct gateway_roster *roster,
    enum backend_version version, const char *session_key, const char *expected_slug,
    const char *expected_key)
{
    struct agent_address address;
    assert_true(session_address_make(&address, config, roster, version, "Jarvis", session_key));
    assert_string_equal(address.agent_slug, expected_slug);
    assert_string_equal(address.session_key.data, expected_key);
    assert_false(address.unusable);
    text_fini(&address.session_key);
}

/* On v0, and without a key, nothing is different from agent_address_make. */
static void test_sessions_follow_the_backends_version(void **state)
{
    static const char system_key[] = "system:agent:jarvis:Acc:v1";
    static const char task_key[] = "task:jd1:agent:old:Acc:v2";
    const struct config config = {.account_id = "Acc", .fallback_agent = "main"};
    expect_session(&config, *state, BACKEND_V0, system_key, "Jarvis", system_key);
    expect_session(&config, *state, BACKEND_UNKNOWN, "own", "Jarvis", "own");
    expect_session(&config, *state, BACKEND_V1, "", "Jarvis", "agent:Jarvis:Acc");
    expect_session(&config, *state, BACKEND_V1, NULL, "Jarvis", "agent:Jarvis:Acc");
    expect_session(&config, *state, BACKEND_V1, system_key, "Jarvis", "agent:jarvis:system:acc:v1");
    expect_session(&config, *state, BACKEND_V1, task_key, "Jarvis", "agent:jarvis:task:jd1:acc:v2");
    list_models(*state, json_pack("[s]", "openclaw/main"));
    expect_session(&config, *state, BACKEND_V0, system_key, "main", "agent:main:jarvis:acc");
    expect_session(
        &config, *state, BACKEND_V1, system_key, "main", "agent:main:jarvis:system:acc:v1");
}

static bool is_unusable(
    struct gateway_roster *roster, enum backend_version version, const char *slug)
{
    static const struct config config = {.account_id = "acc", .fallback_agent = "main"};
    struct agent_address address;
    assert_true(
        session_address_make(&address, &config, roster, version, slug, "system:agent:x:acc:v1"));
    text_fini(&address.session_key);
    return address.unusable;
}

static void test_alike_slugs_are_unusable_on_v1(void **state)
{
    assert_false(is_unusable(*state, BACKEND_V1, "jarvis"));
    assert_true(is_unusable(*state, BACKEND_V1, "Task"));
    assert_true(is_unusable(*state, BACKEND_V1, "main"));
    assert_false(is_unusable(*state, BACKEND_V0, "main"));
    gateway_roster_set_unusable(
        *state, json_pack("[{s:s, s:s}, {s:s, s:s}]", "slug", "Jarvis", "problem", "shared", "slug",
                    "jarvis", "problem", "shared"));
    assert_true(is_unusable(*state, BACKEND_V1, "JARVIS"));
    assert_false(is_unusable(*state, BACKEND_V1, "friday"));
    assert_false(is_unusable(*state, BACKEND_V0, "jarvis"));
    json_t *copy = gateway_roster_unusable(*state);
    gateway_roster_set_unusable(*state, NULL);
    assert_int_equal(json_array_size(copy), 2);
    json_decref(copy);
    assert_false(is_unusable(*state, BACKEND_V1, "jarvis"));
}

static void test_session_without_memory_fails(void **state)
{
    const struct config config = {.account_id = "acc"};
    struct agent_address address;
    alloc_fault_arm(1);
    assert_false(session_address_make(
        &address, &config, *state, BACKEND_V1, "jarvis", "system:agent:jarvis:acc:v1"));
    alloc_fault_disarm();
    text_fini(&address.session_key);
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
        TEST(test_sessions_follow_the_backends_version),
        TEST(test_alike_slugs_are_unusable_on_v1),
        TEST(test_session_without_memory_fails),
    };
    return cmocka_run_group_tests_name("agent_address", tests, NULL, NULL);
}
