/* Which version of the backend answers show, and what the process makes of a series of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../lib/json_fixture.h"
#include "backend/service.h"

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
    static const struct {
        const char *json;
        enum backend_version version; /* BACKEND_UNKNOWN: the context is malformed */
    } answers[] = {
        {"{\"notification\":{},\"agent\":null}", BACKEND_V0},
        {"{\"notification\":{\"type\":\"mention\"},\"agent\":null,\"message\":null,\"thread\":[],"
         "\"sourceNotificationType\":null,\"orchestratorAgentId\":null,"
         "\"effectiveBehaviorFlags\":{}}",
            BACKEND_V1},
        {"{\"notification\":{},\"agent\":null,\"deliverySessionKey\":\"k\"}", BACKEND_UNKNOWN},
        {"{\"effectiveBehaviorFlags\":7}", BACKEND_UNKNOWN},
        {"{\"agent\":{}}", BACKEND_UNKNOWN},
        {"[]", BACKEND_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct delivery_context context = {0};
        enum convex_outcome outcome =
            delivery_context_read(json_fixture_must_load(answers[i].json), &context, NULL);
        bool is_read = answers[i].version != BACKEND_UNKNOWN;
        if (outcome != (is_read ? CONVEX_SUCCESS : CONVEX_UNAVAILABLE) ||
            context.version != answers[i].version)
            fail_msg("%s is %s", answers[i].json, backend_version_words[context.version]);
        if (is_read)
            delivery_context_fini(&context);
    }
    struct delivery_context gone;
    assert_int_equal(delivery_context_read(json_null(), &gone, NULL), CONVEX_SUCCESS);
    assert_int_equal(gone.version, BACKEND_UNKNOWN);
    delivery_context_fini(&gone);
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

static int make_convex(void **state)
{
    struct convex *convex;
    assert_int_equal(convex_create(&convex, "http://127.0.0.1:9", "k57a", "token", NULL), 0);
    *state = convex;
    return 0;
}

static int free_convex(void **state)
{
    convex_destroy(*state);
    return 0;
}

static void test_last_version_seen_counts(void **state)
{
    struct convex *convex = *state;
    assert_int_equal(convex_version(convex), BACKEND_UNKNOWN);
    convex_see_version(convex, BACKEND_UNKNOWN);
    assert_int_equal(convex_version(convex), BACKEND_UNKNOWN);
    convex_see_version(convex, BACKEND_V0);
    convex_see_version(convex, BACKEND_UNKNOWN);
    assert_int_equal(convex_version(convex), BACKEND_V0);
    convex_see_version(convex, BACKEND_V1);
    assert_int_equal(convex_version(convex), BACKEND_V1);
}

/* A refused call of v1 stops further ones until an answer confirms v1; that is no change. */
static void test_doubt_lasts_until_the_next_answer(void **state)
{
    struct convex *convex = *state;
    convex_doubt_version(convex);
    assert_int_equal(convex_version(convex), BACKEND_UNKNOWN);
    convex_see_version(convex, BACKEND_V1);
    convex_doubt_version(convex);
    convex_doubt_version(convex);
    assert_int_equal(convex_version(convex), BACKEND_UNKNOWN);
    assert_int_equal(convex_seen_version(convex), BACKEND_V1);
    convex_see_version(convex, BACKEND_UNKNOWN);
    assert_int_equal(convex_version(convex), BACKEND_UNKNOWN);
    convex_see_version(convex, BACKEND_V1);
    assert_int_equal(convex_version(convex), BACKEND_V1);
    convex_doubt_version(convex);
    convex_see_version(convex, BACKEND_V0);
    assert_int_equal(convex_version(convex), BACKEND_V0);
}

static bool mismatches(const struct convex *convex)
{
    return backend_version_mismatches(convex_pinned_version(convex), convex_seen_version(convex));
}

static void test_pinned_version_wins_over_what_is_seen(void **state)
{
    struct convex *convex = *state;
    convex_pin_version(convex, BACKEND_PIN_V0);
    assert_int_equal(convex_version(convex), BACKEND_V0);
    assert_false(mismatches(convex));
    convex_see_version(convex, BACKEND_V1);
    assert_int_equal(convex_version(convex), BACKEND_V0);
    assert_true(mismatches(convex));
    convex_doubt_version(convex);
    assert_int_equal(convex_version(convex), BACKEND_V0);
    assert_true(mismatches(convex));
    convex_see_version(convex, BACKEND_V0);
    assert_false(mismatches(convex));
}

/* What is only likely survives a doubt, and a pin overrides it. */
static void test_likely_version_survives_a_doubt(void **state)
{
    struct convex *convex = *state;
    assert_int_equal(convex_likely_version(convex), BACKEND_UNKNOWN);
    convex_see_version(convex, BACKEND_V1);
    convex_doubt_version(convex);
    assert_int_equal(convex_likely_version(convex), BACKEND_V1);
    convex_pin_version(convex, BACKEND_PIN_V0);
    convex_see_version(convex, BACKEND_V1);
    assert_int_equal(convex_likely_version(convex), BACKEND_V0);
}

static bool pokes(struct convex *convex, struct loop *loop, enum backend_version version)
{
    loop->poked = false;
    convex_see_version(convex, version);
    return loop->poked;
}

/* The loop's thread is not started: what counts is which changes set its flag. */
static void test_each_change_pokes_the_loop_once(void **state)
{
    struct convex *convex = *state;
    struct loop loop;
    loop_init(&loop, "mc-test", NULL, NULL);
    convex_on_version(convex, &loop);
    assert_false(pokes(convex, &loop, BACKEND_UNKNOWN));
    assert_true(pokes(convex, &loop, BACKEND_V0));
    assert_false(pokes(convex, &loop, BACKEND_V0));
    assert_true(pokes(convex, &loop, BACKEND_V1));
    convex_doubt_version(convex);
    assert_false(pokes(convex, &loop, BACKEND_V1));
    convex_doubt_version(convex);
    assert_true(pokes(convex, &loop, BACKEND_V0));
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
        cmocka_unit_test_setup_teardown(test_last_version_seen_counts, make_convex, free_convex),
        cmocka_unit_test_setup_teardown(
            test_doubt_lasts_until_the_next_answer, make_convex, free_convex),
        cmocka_unit_test_setup_teardown(
            test_pinned_version_wins_over_what_is_seen, make_convex, free_convex),
        cmocka_unit_test_setup_teardown(
            test_likely_version_survives_a_doubt, make_convex, free_convex),
        cmocka_unit_test_setup_teardown(
            test_each_change_pokes_the_loop_once, make_convex, free_convex),
        cmocka_unit_test(test_each_version_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
