/* The policy for v1, one row for each rule and each way around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../lib/context_fixture.h"
#include "delivery/policy.h"

struct verdict {
    const char *changes; /* to the fixture: a user's thread update to a1, an assignee */
    const char *agent_id;
    enum end_reason reason;
};

static void check_verdicts(const struct verdict *verdicts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct delivery_context context = context_fixture_read(verdicts[i].changes);
        enum end_reason reason = policy_judge(&context, verdicts[i].agent_id);
        if (reason != verdicts[i].reason)
            fail_msg("%s for %s is %s instead of %s", verdicts[i].changes, verdicts[i].agent_id,
                end_reason_words[reason], end_reason_words[verdicts[i].reason]);
        delivery_context_fini(&context);
    }
}

#define CHECK_VERDICTS(...)                               \
    check_verdicts((const struct verdict[]){__VA_ARGS__}, \
        sizeof((const struct verdict[]){__VA_ARGS__}) / sizeof(struct verdict))

/* A member of the changes; braces are added where they are used. */
#define TYPE(word) "\"notification\":{\"type\":\"" word "\"}"
#define STATUS(word) "\"task\":{\"status\":\"" word "\"}"
#define BY_AGENT(id) "\"message\":{\"authorType\":\"agent\",\"authorId\":\"" id "\"}"
#define ANSWERS(type) "\"sourceNotificationType\":\"" type "\""
#define REVIEWER "\"effectiveBehaviorFlags\":{\"canReviewTasks\":true}"

static void test_gone_agent_and_task_are_skipped(void **state)
{
    (void)state;
    CHECK_VERDICTS({"{\"agent\":null}", "a1", REASON_AGENT_GONE},
        {"{\"agent\":null,\"task\":null}", "a1", REASON_AGENT_GONE},
        {"{\"task\":null}", "a1", REASON_TASK_GONE},
        {"{\"task\":null,\"notification\":{\"taskId\":null}}", "a1", REASON_REPLIED});
}

/* Rule 1: whatever the type, and before all other rules. */
static void test_orchestrator_chat_is_for_the_orchestrator(void **state)
{
    (void)state;
#define CHAT "\"task\":{\"labels\":[\"system:orchestrator-chat\"]}"
    CHECK_VERDICTS({"{" CHAT "}", "a9", REASON_REPLIED},
        {"{" CHAT "}", "a1", REASON_NOT_ORCHESTRATOR},
        {"{" CHAT "," TYPE("mention") "}", "a1", REASON_NOT_ORCHESTRATOR},
        {"{" CHAT "," TYPE("assignment") "}", "a1", REASON_NOT_ORCHESTRATOR},
        {"{" CHAT ",\"orchestratorAgentId\":null}", "a9", REASON_NOT_ORCHESTRATOR},
        {"{" CHAT "," TYPE("status_change") "}", "a9", REASON_REPLIED});
    CHECK_VERDICTS({"{\"task\":{\"labels\":[\"system:orchestrator-chat\"],\"status\":\"done\"}}",
                       "a1", REASON_NOT_ORCHESTRATOR},
        {"{\"task\":{\"labels\":[\"system:orchestrator-chat\"],\"status\":\"done\"}}", "a9",
            REASON_TASK_AT_REST},
        {"{\"task\":{\"labels\":[\"System:Orchestrator-Chat\"]}}", "a1", REASON_REPLIED});
}

/* Rule 2: also for the orchestrator, and for a person's message. */
static void test_thread_of_a_task_at_rest_is_skipped(void **state)
{
    (void)state;
    CHECK_VERDICTS({"{" STATUS("done") "}", "a1", REASON_TASK_AT_REST},
        {"{" STATUS("blocked") "}", "a1", REASON_TASK_AT_REST},
        {"{" STATUS("blocked") "," BY_AGENT("a2") "}", "a9", REASON_TASK_AT_REST},
        {"{" STATUS("archived") "}", "a1", REASON_REPLIED},
        {"{" STATUS("inbox") "}", "a1", REASON_REPLIED},
        {"{" STATUS("done") "," TYPE("mention") "}", "a1", REASON_REPLIED},
        {"{" STATUS("blocked") "," TYPE("response_request") "}", "a1", REASON_REPLIED});
}

/* Rule 3. */
static void test_status_changes_are_for_those_who_act_on_them(void **state)
{
    (void)state;
#define CHANGE TYPE("status_change") ",\"message\":null,"
    CHECK_VERDICTS({"{" CHANGE STATUS("done") "}", "a1", REASON_STATUS_AT_REST},
        {"{" CHANGE STATUS("blocked") "}", "a9", REASON_STATUS_AT_REST},
        {"{" CHANGE STATUS("review") "}", "a9", REASON_REPLIED},
        {"{" CHANGE STATUS("review") "," REVIEWER "}", "a1", REASON_REPLIED},
        {"{" CHANGE STATUS("review") "}", "a1", REASON_NOT_REVIEWER},
        {"{" CHANGE STATUS("review") ",\"orchestratorAgentId\":null}", "a9", REASON_NOT_REVIEWER},
        {"{" CHANGE STATUS("in_progress") "}", "a1", REASON_REPLIED},
        {"{" CHANGE STATUS("assigned") "}", "a1", REASON_REPLIED},
        {"{" CHANGE STATUS("new") "}", "a1", REASON_REPLIED},
        {"{" CHANGE "\"task\":null,\"notification\":{\"type\":\"status_change\",\"taskId\":null}}",
            "a1", REASON_REPLIED});
}

/* Rule 4a: the orchestrator sees what agents write, unless it wrote it itself. */
static void test_agents_message_reaches_the_orchestrator(void **state)
{
    (void)state;
    CHECK_VERDICTS({"{" BY_AGENT("a2") "}", "a9", REASON_REPLIED},
        {"{" BY_AGENT("a2") "," ANSWERS("thread_update") "}", "a9", REASON_REPLIED},
        {"{" BY_AGENT("a9") "}", "a9", REASON_NOT_ASSIGNED},
        {"{" BY_AGENT("a9") "," ANSWERS("thread_update") "}", "a9", REASON_ANSWERS_UPDATE});
}

/* Rule 4b. */
static void test_answer_to_an_update_ends_the_exchange(void **state)
{
    (void)state;
#define ANSWER ANSWERS("thread_update") ","
    CHECK_VERDICTS({"{" ANSWER BY_AGENT("a2") "}", "a1", REASON_ANSWERS_UPDATE},
        {"{" ANSWER BY_AGENT("a9") "}", "a1", REASON_REPLIED},
        {"{" ANSWER BY_AGENT("a9") "}", "a3", REASON_ANSWERS_UPDATE},
        {"{" ANSWER BY_AGENT("a9") ",\"orchestratorAgentId\":null}", "a1", REASON_ANSWERS_UPDATE},
        {"{" ANSWER BY_AGENT("a2") "," STATUS("review") "," REVIEWER "}", "a3", REASON_REPLIED},
        {"{" ANSWER BY_AGENT("a2") "," STATUS("review") "}", "a1", REASON_ANSWERS_UPDATE},
        {"{" ANSWER BY_AGENT("a2") "," REVIEWER "}", "a3", REASON_ANSWERS_UPDATE});
}

/* Rules 4c and 4d. */
static void test_agents_message_is_for_assignees_and_reviewers(void **state)
{
    (void)state;
    CHECK_VERDICTS({"{" BY_AGENT("a2") "}", "a1", REASON_REPLIED},
        {"{" BY_AGENT("a2") "}", "a3", REASON_NOT_ASSIGNED},
        {"{" BY_AGENT("a2") "," ANSWERS("mention") "}", "a1", REASON_REPLIED},
        {"{" BY_AGENT("a2") "," ANSWERS("mention") "}", "a3", REASON_NOT_ASSIGNED},
        {"{" BY_AGENT("a2") "," STATUS("review") "," REVIEWER "}", "a3", REASON_REPLIED},
        {"{" BY_AGENT("a2") "," STATUS("review") "}", "a3", REASON_NOT_ASSIGNED},
        {"{" BY_AGENT("a2") "," REVIEWER "}", "a3", REASON_NOT_ASSIGNED});
}

/* Rule 5. */
static void test_everything_else_is_delivered(void **state)
{
    (void)state;
    CHECK_VERDICTS({"", "a1", REASON_REPLIED}, {"", "a3", REASON_REPLIED},
        {"{" TYPE("assignment") ",\"message\":null}", "a1", REASON_REPLIED},
        {"{" TYPE("mention") "," BY_AGENT("a2") "}", "a3", REASON_REPLIED},
        {"{" TYPE("response_request") ",\"message\":null}", "a3", REASON_REPLIED},
        {"{" TYPE("a_new_one") "}", "a3", REASON_REPLIED},
        {"{\"message\":null}", "a3", REASON_REPLIED},
        {"{\"message\":{\"authorType\":\"robot\"}}", "a3", REASON_REPLIED});
}

static void test_update_is_stale_once_the_person_has_written_again(void **state)
{
    (void)state;
#define ITEM(id, type) "{\"messageId\":\"" id "\",\"authorType\":\"" type "\"}"
#define M2_THEN(...) "\"thread\":[" ITEM("m1", "user") "," ITEM("m2", "user") "," __VA_ARGS__ "]"
    CHECK_VERDICTS({"{" M2_THEN(ITEM("m3", "user")) "}", "a1", REASON_STALE_UPDATE},
        {"{" M2_THEN(ITEM("m3", "agent") "," ITEM("m4", "user")) "}", "a1", REASON_STALE_UPDATE},
        {"{" M2_THEN(ITEM("m3", "agent")) "}", "a1", REASON_REPLIED},
        {"{" M2_THEN("7,null,{}") "}", "a1", REASON_REPLIED},
        {"{\"thread\":[" ITEM("m1", "user") "," ITEM("m3", "user") "]}", "a1", REASON_REPLIED},
        {"{\"thread\":[]}", "a1", REASON_REPLIED},
        {"{" M2_THEN(ITEM("m3", "user")) "," BY_AGENT("a2") "}", "a1", REASON_REPLIED},
        {"{" M2_THEN(ITEM("m3", "user")) "," TYPE("mention") "}", "a1", REASON_REPLIED},
        {"{" M2_THEN(ITEM("m3", "user")) ",\"message\":null}", "a1", REASON_REPLIED});
    struct delivery_context context;
    json_t *value = context_fixture_json("{" M2_THEN(ITEM("m3", "user")) "}");
    json_object_del(json_object_get(value, "notification"), "messageId");
    assert_int_equal(delivery_context_read(value, &context, NULL), CONVEX_SUCCESS);
    assert_int_equal(policy_judge(&context, "a1"), REASON_REPLIED);
    delivery_context_fini(&context);
}

/* The reasons before it are the more telling ones. */
static void test_missing_session_key_is_judged_last(void **state)
{
    (void)state;
    CHECK_VERDICTS({"{\"deliverySessionKey\":\"\"}", "a1", REASON_NO_SESSION_KEY},
        {"{\"deliverySessionKey\":\"\",\"agent\":null}", "a1", REASON_AGENT_GONE},
        {"{\"deliverySessionKey\":\"\"," STATUS("done") "}", "a1", REASON_TASK_AT_REST},
        {"{\"deliverySessionKey\":\"\"," M2_THEN(ITEM("m3", "user")) "}", "a1",
            REASON_STALE_UPDATE});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gone_agent_and_task_are_skipped),
        cmocka_unit_test(test_orchestrator_chat_is_for_the_orchestrator),
        cmocka_unit_test(test_thread_of_a_task_at_rest_is_skipped),
        cmocka_unit_test(test_status_changes_are_for_those_who_act_on_them),
        cmocka_unit_test(test_agents_message_reaches_the_orchestrator),
        cmocka_unit_test(test_answer_to_an_update_ends_the_exchange),
        cmocka_unit_test(test_agents_message_is_for_assignees_and_reviewers),
        cmocka_unit_test(test_everything_else_is_delivered),
        cmocka_unit_test(test_update_is_stale_once_the_person_has_written_again),
        cmocka_unit_test(test_missing_session_key_is_judged_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
