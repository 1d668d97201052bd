/* What becomes of answers without words, by the notification, the answer and those before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/context_fixture.h"
#include "delivery/policy.h"

#define ASSIGNMENT "{\"notification\":{\"type\":\"assignment\"},\"message\":null}"
#define MENTION_BY_AGENT \
    "{\"notification\":{\"type\":\"mention\"},\"message\":{\"authorType\":\"agent\"}}"
#define RESPONSE_REQUEST "{\"notification\":{\"type\":\"response_request\"},\"message\":null}"
#define UPDATE_BY_USER ""
#define UPDATE_BY_AGENT "{\"message\":{\"authorType\":\"agent\",\"authorId\":\"a2\"}}"
#define STATUS_CHANGE "{\"notification\":{\"type\":\"status_change\"},\"message\":null}"

static enum answer_fate judge(const char *changes, const struct answer *answer)
{
    struct delivery_context context = context_fixture_read(changes);
    enum answer_fate fate = no_response_judge(&context, answer);
    delivery_context_fini(&context);
    return fate;
}

static void test_words_are_owed_by_type_and_author(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        bool owed;
    } cases[] = {
        {ASSIGNMENT, true},
        {MENTION_BY_AGENT, true},
        {RESPONSE_REQUEST, true},
        {UPDATE_BY_USER, true},
        {"{\"message\":null}", true},
        {UPDATE_BY_AGENT, false},
        {STATUS_CHANGE, false},
        {"{\"notification\":{\"type\":\"a_new_one\"}}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct delivery_context context = context_fixture_read(cases[i].changes);
        if (no_response_is_owed(&context) != cases[i].owed)
            fail_msg("%s", cases[i].changes);
        delivery_context_fini(&context);
    }
}

static void test_words_are_posted_and_silence_is_final(void **state)
{
    (void)state;
    static const char *const all[] = {ASSIGNMENT, MENTION_BY_AGENT, RESPONSE_REQUEST,
        UPDATE_BY_USER, UPDATE_BY_AGENT, STATUS_CHANGE};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (unsigned before = 0; before < 4; before++) {
            struct answer answer = {.kind = REPLY_TEXT, .empty_before = before, .runs_left = 3};
            assert_int_equal(judge(all[i], &answer), ANSWER_POST);
            answer.kind = REPLY_SILENT;
            assert_int_equal(judge(all[i], &answer), ANSWER_SILENCE);
            answer.kind = REPLY_PROVIDER_ERROR;
            assert_int_equal(judge(all[i], &answer), ANSWER_FAILED_RUN);
        }
}

/* Two further runs, then it is delivered without a message. */
static void test_owed_answer_that_is_empty_is_asked_for_again(void **state)
{
    (void)state;
    static const char *const owed[] = {
        ASSIGNMENT, MENTION_BY_AGENT, RESPONSE_REQUEST, UPDATE_BY_USER};
    static const enum reply_kind kinds[] = {REPLY_BLANK, REPLY_PLACEHOLDER};
    for (size_t i = 0; i < sizeof owed / sizeof owed[0]; i++)
        for (size_t k = 0; k < 2; k++) {
            struct answer answer = {.kind = kinds[k], .runs_left = 9};
            assert_int_equal(judge(owed[i], &answer), ANSWER_ASK_AGAIN);
            answer.empty_before = 1;
            assert_int_equal(judge(owed[i], &answer), ANSWER_ASK_AGAIN);
            answer.empty_before = 2;
            assert_int_equal(judge(owed[i], &answer), ANSWER_UNANSWERED);
        }
}

static void test_budget_of_runs_ends_the_asking(void **state)
{
    (void)state;
    const struct answer answer = {.kind = REPLY_BLANK, .runs_left = 0};
    assert_int_equal(judge(ASSIGNMENT, &answer), ANSWER_UNANSWERED);
}

static void test_empty_answer_that_nobody_is_owed_is_final(void **state)
{
    (void)state;
    static const char *const others[] = {UPDATE_BY_AGENT, STATUS_CHANGE};
    static const enum reply_kind kinds[] = {REPLY_BLANK, REPLY_PLACEHOLDER};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            const struct answer answer = {.kind = kinds[k], .runs_left = 3};
            assert_int_equal(judge(others[i], &answer), ANSWER_SILENCE);
        }
}

/* It has acted already; asked again, it would do so twice. */
static void test_agent_that_used_tools_is_not_asked_again(void **state)
{
    (void)state;
    struct answer answer = {.kind = REPLY_BLANK, .used_tools = true, .runs_left = 3};
    assert_int_equal(judge(ASSIGNMENT, &answer), ANSWER_SILENCE);
    answer.kind = REPLY_PLACEHOLDER;
    assert_int_equal(judge(ASSIGNMENT, &answer), ANSWER_SILENCE);
}

static void test_cut_run_without_words_is_a_failed_run(void **state)
{
    (void)state;
    struct answer answer = {.kind = REPLY_BLANK, .incomplete = true, .runs_left = 3};
    assert_int_equal(judge(ASSIGNMENT, &answer), ANSWER_FAILED_RUN);
    assert_int_equal(judge(UPDATE_BY_AGENT, &answer), ANSWER_FAILED_RUN);
    answer.kind = REPLY_TEXT;
    assert_int_equal(judge(ASSIGNMENT, &answer), ANSWER_POST);
}

/* From the gateway's body to the fate, as a delivery takes it. */
static void test_words_of_the_gateway_lead_to_their_fates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum answer_fate fate;
    } cases[] = {
        {"Done.", ANSWER_POST},
        {"NO", ANSWER_POST},
        {"No.", ANSWER_POST},
        {"NO_", ANSWER_SILENCE},
        {"NO_REPLY", ANSWER_SILENCE},
        {" HEARTBEAT_OK\n", ANSWER_SILENCE},
        {"Loading context for heartbeat...\nHEARTBEAT_OK", ANSWER_SILENCE},
        {"No response from OpenClaw.", ANSWER_ASK_AGAIN},
        {"@ada @bob No reply from agent.", ANSWER_ASK_AGAIN},
        {"No response from Clawdbot.", ANSWER_ASK_AGAIN},
        {"\xC2\xA0", ANSWER_ASK_AGAIN},
        {"", ANSWER_ASK_AGAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct reply_context reading = {.generation = GATEWAY_CURRENT};
        json_t *body = json_pack("{s:s}", "output_text", cases[i].text);
        struct reply reply;
        assert_int_equal(reply_read(body, &reading, &reply, NULL), 0);
        const struct answer answer = {.kind = reply.kind, .runs_left = 3};
        if (judge(MENTION_BY_AGENT, &answer) != cases[i].fate)
            fail_msg("\"%s\"", cases[i].text);
        free(reply.text);
        json_decref(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_owed_by_type_and_author),
        cmocka_unit_test(test_words_are_posted_and_silence_is_final),
        cmocka_unit_test(test_owed_answer_that_is_empty_is_asked_for_again),
        cmocka_unit_test(test_budget_of_runs_ends_the_asking),
        cmocka_unit_test(test_empty_answer_that_nobody_is_owed_is_final),
        cmocka_unit_test(test_agent_that_used_tools_is_not_asked_again),
        cmocka_unit_test(test_cut_run_without_words_is_a_failed_run),
        cmocka_unit_test(test_words_of_the_gateway_lead_to_their_fates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
