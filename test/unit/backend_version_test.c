/* Which version of the backend answers show, and what the process makes of a series of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../lib/json_fixture.h"
#include "backend/backend_version.h"

struct answer {
    const char *json;
    enum backend_version version;
};

static void check_answers(
    const struct answer *answers, size_t count, enum backend_version (*read)(const json_t *))
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_fixture_must_load(answers[i].json);
        enum backend_version found = read(value);
        if (found != answers[i].version)
            fail_msg("%s is %s", answers[i].json, backend_version_words[found]);
        json_decref(value);
    }
}

static void test_agents_tell_by_their_session_keys(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"[{\"_id\":\"a\",\"sessionKey\":\"agent:a:acc\"}]", BACKEND_V0},
        {"[{\"_id\":\"a\",\"systemSessionKey\":\"system:agent:a:acc:v1\"}]", BACKEND_V1},
        {"[{\"sessionKey\":\"k\"},{\"sessionKey\":\"k\",\"systemSessionKey\":\"s\"}]", BACKEND_V1},
        {"[{},{\"sessionKey\":\"k\"},7]", BACKEND_V0},
        {"[{\"systemSessionKey\":null,\"sessionKey\":5}]", BACKEND_UNKNOWN},
        {"[]", BACKEND_UNKNOWN},
        {"[null,\"sessionKey\",[]]", BACKEND_UNKNOWN},
        {"{\"sessionKey\":\"k\"}", BACKEND_UNKNOWN},
        {"null", BACKEND_UNKNOWN},
    };
    check_answers(answers, sizeof answers / sizeof answers[0], backend_version_of_agents);
    assert_int_equal(backend_version_of_agents(NULL), BACKEND_UNKNOWN);
}

static void test_contexts_tell_by_key_and_flags(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"{\"notification\":{},\"agent\":null}", BACKEND_V0},
        {"{\"notification\":{},\"deliverySessionKey\":\"k\"}", BACKEND_V1},
        {"{\"notification\":{},\"effectiveBehaviorFlags\":{}}", BACKEND_V1},
        {"{\"effectiveBehaviorFlags\":7}", BACKEND_V1},
        {"{\"agent\":{}}", BACKEND_UNKNOWN},
        {"null", BACKEND_UNKNOWN},
        {"[]", BACKEND_UNKNOWN},
    };
    check_answers(answers, sizeof answers / sizeof answers[0], backend_version_of_context);
    assert_int_equal(backend_version_of_context(NULL), BACKEND_UNKNOWN);
}

static void test_orchestrator_tells_without_agents(void **state)
{
    (void)state;
    json_t *none = json_fixture_must_load("{\"orchestratorAgentId\":null}");
    json_t *other = json_fixture_must_load("{}");
    assert_int_equal(backend_version_of_orchestrator(CONVEX_SUCCESS, none), BACKEND_V1);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_SUCCESS, other), BACKEND_UNKNOWN);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_SUCCESS, NULL), BACKEND_UNKNOWN);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_FUNCTION_ERROR, NULL), BACKEND_V0);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_UNAVAILABLE, NULL), BACKEND_UNKNOWN);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_REJECTED, NULL), BACKEND_UNKNOWN);
    assert_int_equal(backend_version_of_orchestrator(CONVEX_ABORTED, NULL), BACKEND_UNKNOWN);
    json_decref(none);
    json_decref(other);
}

static void test_each_change_is_reported_once(void **state)
{
    (void)state;
    struct backend_version_state version;
    backend_version_init(&version, BACKEND_UNKNOWN);
    assert_int_equal(backend_version_get(&version), BACKEND_UNKNOWN);
    assert_false(backend_version_see(&version, BACKEND_UNKNOWN));
    assert_true(backend_version_see(&version, BACKEND_V0));
    assert_false(backend_version_see(&version, BACKEND_V0));
    assert_false(backend_version_see(&version, BACKEND_UNKNOWN));
    assert_int_equal(backend_version_get(&version), BACKEND_V0);
    assert_true(backend_version_see(&version, BACKEND_V1));
    assert_int_equal(backend_version_get(&version), BACKEND_V1);
    assert_true(backend_version_see(&version, BACKEND_V0));
}

/* A refused call of v1 stops further ones until an answer confirms v1; that is no change. */
static void test_doubt_lasts_until_the_next_answer(void **state)
{
    (void)state;
    struct backend_version_state version;
    backend_version_init(&version, BACKEND_UNKNOWN);
    backend_version_doubt(&version);
    assert_int_equal(backend_version_get(&version), BACKEND_UNKNOWN);
    assert_true(backend_version_see(&version, BACKEND_V1));
    backend_version_doubt(&version);
    backend_version_doubt(&version);
    assert_int_equal(backend_version_get(&version), BACKEND_UNKNOWN);
    assert_int_equal(backend_version_last_seen(&version), BACKEND_V1);
    assert_false(backend_version_see(&version, BACKEND_UNKNOWN));
    assert_int_equal(backend_version_get(&version), BACKEND_UNKNOWN);
    assert_false(backend_version_see(&version, BACKEND_V1));
    assert_int_equal(backend_version_get(&version), BACKEND_V1);
    backend_version_doubt(&version);
    assert_true(backend_version_see(&version, BACKEND_V0));
}

static bool mismatches(const struct backend_version_state *version)
{
    return backend_version_mismatches(version->pinned, backend_version_last_seen(version));
}

static void test_pinned_version_wins_over_what_is_seen(void **state)
{
    (void)state;
    struct backend_version_state version;
    backend_version_init(&version, BACKEND_V0);
    assert_int_equal(backend_version_get(&version), BACKEND_V0);
    assert_false(mismatches(&version));
    assert_true(backend_version_see(&version, BACKEND_V1));
    assert_int_equal(backend_version_get(&version), BACKEND_V0);
    assert_true(mismatches(&version));
    backend_version_doubt(&version);
    assert_int_equal(backend_version_get(&version), BACKEND_V0);
    assert_true(mismatches(&version));
    assert_true(backend_version_see(&version, BACKEND_V0));
    assert_false(mismatches(&version));
}

/* What is only likely survives a doubt, and a pin overrides it. */
static void test_likely_version_survives_a_doubt(void **state)
{
    (void)state;
    struct backend_version_state version;
    backend_version_init(&version, BACKEND_UNKNOWN);
    assert_int_equal(backend_version_likely(&version), BACKEND_UNKNOWN);
    backend_version_see(&version, BACKEND_V1);
    backend_version_doubt(&version);
    assert_int_equal(backend_version_likely(&version), BACKEND_V1);
    backend_version_init(&version, BACKEND_V0);
    backend_version_see(&version, BACKEND_V1);
    assert_int_equal(backend_version_likely(&version), BACKEND_V0);
}

/* The loop's thread is not started: what counts is which changes set its flag. */
static void test_each_change_pokes_the_loop(void **state)
{
    (void)state;
    struct loop loop;
    struct backend_version_state version;
    loop_init(&loop, "mc-test", NULL, NULL);
    backend_version_init(&version, BACKEND_UNKNOWN);
    backend_version_on_change(&version, &loop);
    backend_version_see(&version, BACKEND_UNKNOWN);
    assert_false(loop.poked);
    backend_version_see(&version, BACKEND_V0);
    assert_true(loop.poked);
    loop.poked = false;
    backend_version_see(&version, BACKEND_V0);
    assert_false(loop.poked);
    backend_version_see(&version, BACKEND_V1);
    assert_true(loop.poked);
    loop_fini(&loop);
}

static void test_each_version_has_a_word(void **state)
{
    (void)state;
    assert_string_equal(backend_version_words[BACKEND_UNKNOWN], "unknown");
    assert_string_equal(backend_version_words[BACKEND_V0], "v0");
    assert_string_equal(backend_version_words[BACKEND_V1], "v1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agents_tell_by_their_session_keys),
        cmocka_unit_test(test_contexts_tell_by_key_and_flags),
        cmocka_unit_test(test_orchestrator_tells_without_agents),
        cmocka_unit_test(test_each_change_is_reported_once),
        cmocka_unit_test(test_doubt_lasts_until_the_next_answer),
        cmocka_unit_test(test_pinned_version_wins_over_what_is_seen),
        cmocka_unit_test(test_likely_version_survives_a_doubt),
        cmocka_unit_test(test_each_change_pokes_the_loop),
        cmocka_unit_test(test_each_version_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
