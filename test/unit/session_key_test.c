/* Session keys on the wire, and the slugs under which agents would share one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../lib/alloc_fault.h"
#include "delivery/session_key.h"

static void expect_key(
    const char *backend_key, const char *slug, const char *fallback, const char *expected)
{
    struct text wire = {0};
    session_key_append(&wire, backend_key, slug, fallback);
    assert_false(wire.failed);
    if (strcmp(wire.data, expected) != 0)
        fail_msg("%s gave %s instead of %s", backend_key, wire.data, expected);
    text_fini(&wire);
}

static void test_agent_comes_first(void **state)
{
    (void)state;
    expect_key("task:t1:agent:jarvis:acc:v1", "jarvis", NULL, "agent:jarvis:task:t1:acc:v1");
    expect_key("task:t1:agent:jarvis:acc:v12", "jarvis", NULL, "agent:jarvis:task:t1:acc:v12");
    expect_key("system:agent:jarvis:acc:v3", "jarvis", NULL, "agent:jarvis:system:acc:v3");
}

static void test_fallback_agent_comes_before_it(void **state)
{
    (void)state;
    expect_key("task:t1:agent:jarvis:acc:v1", "jarvis", "main", "agent:main:jarvis:task:t1:acc:v1");
    expect_key("system:agent:jarvis:acc:v1", "jarvis", "main", "agent:main:jarvis:system:acc:v1");
    expect_key("plain", "jarvis", "Main", "agent:main:jarvis:plain");
}

static void test_current_slug_replaces_the_one_of_the_session(void **state)
{
    (void)state;
    expect_key("task:t1:agent:jarvis:acc:v1", "vision", NULL, "agent:vision:task:t1:acc:v1");
    expect_key("system:agent:a:b:acc:v1", "vision", NULL, "agent:vision:system:acc:v1");
}

static void test_keys_are_in_lower_case(void **state)
{
    (void)state;
    expect_key("task:T1:agent:Jarvis:Acc:v1", "JARVIS", "Main", "agent:main:jarvis:task:t1:acc:v1");
    expect_key("Some Key", "Jarvis", NULL, "agent:jarvis:some key");
}

static void test_other_forms_are_kept_whole(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "",
        "plain",
        "agent:jarvis:acc",
        "task:",
        "task::agent:jarvis:acc:v1",
        "task:t1",
        "task:t1:agent:",
        "task:t1:agent:jarvis",
        "task:t1:agent:jarvis:v1",
        "task:t1:agent::acc:v1",
        "task:t1:agent:jarvis::v1",
        "task:t1:agent:jarvis:acc:1",
        "task:t1:agent:jarvis:acc:v",
        "task:t1:agent:jarvis:acc:v1x",
        "task:t1:agent:jarvis:acc:v1:",
        "task:t1:jarvis:acc:v1",
        "task:t1:x:agent:jarvis:acc:v1",
        "system:jarvis:acc:v1",
        "systems:agent:jarvis:acc:v1",
        "xsystem:agent:jarvis:acc:v1",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char expected[128] = "agent:friday:";
        text_copy(expected + strlen(expected), sizeof expected - strlen(expected), keys[i]);
        expect_key(keys[i], "friday", NULL, expected);
    }
}

static void test_lack_of_memory_is_reported(void **state)
{
    (void)state;
    struct text wire = {0};
    alloc_fault_arm(1);
    session_key_append(&wire, "task:t1:agent:jarvis:acc:v1", "jarvis", NULL);
    alloc_fault_disarm();
    assert_true(wire.failed);
    text_fini(&wire);
}

static void test_slugs_that_keys_use_are_reserved(void **state)
{
    (void)state;
    static const struct {
        const char *slug;
        const char *fallback;
        enum slug_problem problem;
    } cases[] = {
        {"jarvis", NULL, SLUG_USABLE},
        {"jarvis", "main", SLUG_USABLE},
        {"task-force", NULL, SLUG_USABLE},
        {"v1", NULL, SLUG_USABLE},
        {"r2.d2_x-1", NULL, SLUG_USABLE},
        {"task", NULL, SLUG_RESERVED},
        {"Task", "main", SLUG_RESERVED},
        {"system", NULL, SLUG_RESERVED},
        {"SYSTEM", NULL, SLUG_RESERVED},
        {"subagent", NULL, SLUG_RESERVED},
        {"cron", NULL, SLUG_RESERVED},
        {"acp", NULL, SLUG_RESERVED},
        {"main", NULL, SLUG_USABLE},
        {"main", "helper", SLUG_USABLE},
        {"helper", "helper", SLUG_USABLE},
        {"main", "main", SLUG_RESERVED},
        {"Main", "MAIN", SLUG_RESERVED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum slug_problem problem = slug_check(cases[i].slug, cases[i].fallback);
        if (problem != cases[i].problem)
            fail_msg("%s with %s is %d", cases[i].slug, cases[i].fallback, (int)problem);
    }
}

static void test_slugs_that_break_keys_are_malformed(void **state)
{
    (void)state;
    static const char *const slugs[] = {"", "a:b", ":", "a~b", "a b", "a\tb", "a\nb", "\x7F",
        "j\xC3\xA4rvis", "jarvis\xE2\x80\x8B"};
    for (size_t i = 0; i < sizeof slugs / sizeof slugs[0]; i++)
        if (slug_check(slugs[i], NULL) != SLUG_MALFORMED)
            fail_msg("\"%s\" is not malformed", slugs[i]);
}

static void test_slugs_that_differ_in_case_are_shared(void **state)
{
    (void)state;
    struct agent agents[] = {{.id = "a1", .slug = "jarvis"}, {.id = "a2", .slug = "friday"},
        {.id = "a3", .slug = "Jarvis"}, {.id = "a4", .slug = "task"}, {.id = "a5", .slug = "task"},
        {.id = "a2", .slug = "friday"}};
    const struct agent_list list = {.agents = agents, .count = sizeof agents / sizeof agents[0]};
    /* The last is the second one, listed again. */
    static const enum slug_problem expected[] = {
        SLUG_SHARED, SLUG_USABLE, SLUG_SHARED, SLUG_RESERVED, SLUG_RESERVED, SLUG_USABLE};
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(slug_check_among(&list, i, NULL), expected[i]);
    assert_true(slugs_are_same("A-b_1", "a-B_1"));
    assert_false(slugs_are_same("a", "ab"));
}

static void test_each_problem_has_a_word(void **state)
{
    (void)state;
    assert_null(slug_problem_words[SLUG_USABLE]);
    assert_string_equal(slug_problem_words[SLUG_MALFORMED], "malformed");
    assert_string_equal(slug_problem_words[SLUG_RESERVED], "reserved");
    assert_string_equal(slug_problem_words[SLUG_SHARED], "shared");
}

static bool parses(const char *wire, const char *fallback, const char *slug, const char *account)
{
    struct session_key key;
    enum session_key_reading reading = fallback != NULL ? KEY_OF_FALLBACK : KEY_OF_AGENT;
    if (!session_key_parse(wire, strlen(wire), reading, fallback, &key))
        return false;
    if (key.slug.length_bytes != strlen(slug) ||
        memcmp(key.slug.bytes, slug, key.slug.length_bytes) != 0)
        fail_msg("%s: %.*s instead of %s", wire, (int)key.slug.length_bytes, key.slug.bytes, slug);
    if (account == NULL)
        assert_null(key.account.bytes);
    else if (key.account.length_bytes != strlen(account) ||
             memcmp(key.account.bytes, account, strlen(account)) != 0)
        fail_msg("%s: another account than %s", wire, account);
    return true;
}

static void test_wire_keys_are_taken_apart(void **state)
{
    (void)state;
    assert_true(parses("agent:jarvis:task:t1:acc:v1", NULL, "jarvis", "acc"));
    assert_true(parses("agent:jarvis:system:acc:v23", NULL, "jarvis", "acc"));
    assert_true(parses("agent:main:jarvis:task:t1:acc:v1", "Main", "jarvis", "acc"));
    assert_true(parses("agent:main:jarvis:system:acc:v1", "main", "jarvis", "acc"));
    /* Not of the backend's form: no account. */
    assert_true(parses("agent:jarvis:plain", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task:t1:acc:v", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task:t1:acc:v1x", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task:t1:acc:1", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task:t1::v1", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task::acc:v1", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:task:t1:acc", NULL, "jarvis", NULL));
    assert_true(parses("agent:jarvis:system:acc:more:v1", NULL, "jarvis", NULL));
    assert_true(parses("agent:main:jarvis:task:t1:acc:v1", NULL, "main", NULL));
}

static void test_other_texts_are_no_wire_keys(void **state)
{
    (void)state;
    static const char *const others[] = {"", ":", "::", "agent", "agent:", "agent:jarvis",
        "agent:jarvis:", "agent::key", "task:t1:agent:jarvis:acc:v1", "agents:jarvis:key"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(parses(others[i], NULL, "", NULL));
        assert_false(parses(others[i], "jarvis", "", NULL));
    }
    assert_false(parses("agent:other:jarvis:key", "main", "", NULL));
    assert_false(parses("agent:main:jarvis", "main", "", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_comes_first),
        cmocka_unit_test(test_fallback_agent_comes_before_it),
        cmocka_unit_test(test_current_slug_replaces_the_one_of_the_session),
        cmocka_unit_test(test_keys_are_in_lower_case),
        cmocka_unit_test(test_other_forms_are_kept_whole),
        cmocka_unit_test(test_lack_of_memory_is_reported),
        cmocka_unit_test(test_slugs_that_keys_use_are_reserved),
        cmocka_unit_test(test_slugs_that_break_keys_are_malformed),
        cmocka_unit_test(test_slugs_that_differ_in_case_are_shared),
        cmocka_unit_test(test_each_problem_has_a_word),
        cmocka_unit_test(test_wire_keys_are_taken_apart),
        cmocka_unit_test(test_other_texts_are_no_wire_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
