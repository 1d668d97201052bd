/* The reader of delivery contexts: what it takes apart, what it refuses, what it leaves out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../lib/context_fixture.h"
#include "../lib/json_fixture.h"

static void test_complete_context_is_taken_apart(void **state)
{
    (void)state;
    struct delivery_context context = context_fixture_read("");
    assert_int_equal(context.version, BACKEND_V1);
    assert_int_equal(context.type, NOTIFICATION_THREAD_UPDATE);
    assert_int_equal(context.task_status, TASK_IN_PROGRESS);
    assert_int_equal(context.author, AUTHOR_USER);
    assert_int_equal(context.source_type, NOTIFICATION_NONE);
    assert_string_equal(context.session_key, "task:t1:agent:jarvis:acc:v1");
    assert_string_equal(context.orchestrator_id, "a9");
    assert_int_equal(json_array_size(context.thread), 2);
    assert_int_equal(context.newest_in_thread_ms, 1795229482000);
    assert_int_equal(context.person_wrote_ms, 1795229482000);
    assert_null(context.source_id);
    assert_int_equal(json_array_size(context.mentionable_agents), 3);
    assert_int_equal(json_array_size(context.assigned_agents), 2);
    assert_non_null(context.primary_user);
    assert_null(context.repository_doc);
    assert_null(context.briefing_doc);
    assert_null(context.task_overview);
    assert_true(delivery_context_is_assigned(&context, "a2"));
    assert_false(delivery_context_is_assigned(&context, "a9"));
    assert_true(delivery_context_is_orchestrator(&context, "a9"));
    assert_false(delivery_context_is_orchestrator(&context, "a1"));
    assert_false(delivery_context_is_orchestrator_chat(&context));
    delivery_context_fini(&context);
}

/* An agent's message is not a person's, whose words in the thread are older. */
static void test_agents_message_names_what_it_answered(void **state)
{
    (void)state;
    struct delivery_context context = context_fixture_read(
        "{\"message\":{\"authorType\":\"agent\",\"authorId\":\"a2\",\"createdAt\":9e12,"
        "\"sourceNotificationId\":\"n0\"},"
        "\"thread\":[{\"authorType\":\"user\",\"createdAt\":5},"
        "{\"authorType\":\"user\",\"createdAt\":\"7\"},{\"authorType\":\"agent\",\"createdAt\":6},"
        "{\"authorType\":\"user\",\"createdAt\":4},7]}");
    assert_string_equal(context.source_id, "n0");
    assert_int_equal(context.person_wrote_ms, 5);
    assert_int_equal(context.newest_in_thread_ms, 6);
    delivery_context_fini(&context);
}

/* An assignment begins its task, if that has not begun and the agent may. */
static void test_assignment_begins_a_task_that_is_assigned(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        bool begins_task;
        bool may_be_changed;
    } cases[] = {
        {"", false, true},
        {"{\"task\":{\"status\":\"assigned\"}}", false, true},
        {"{\"notification\":{\"type\":\"assignment\"},\"task\":{\"status\":\"assigned\"}}", true,
            false},
        {"{\"notification\":{\"type\":\"assignment\"}}", false, false},
        {"{\"notification\":{\"type\":\"assignment\"},\"task\":{\"status\":\"assigned\"},"
         "\"effectiveBehaviorFlags\":{\"canModifyTaskStatus\":false}}",
            false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct delivery_context context = context_fixture_read(cases[i].changes);
        if (context.begins_task != cases[i].begins_task ||
            context.may_be_changed != cases[i].may_be_changed)
            fail_msg("%s", cases[i].changes);
        assert_string_equal(context.message_id, "m2");
        delivery_context_fini(&context);
    }
}

/* v0 lets the same parts be absent or malformed as before, and none of the new ones is read. */
static void test_context_of_v0_has_no_parts_of_v1(void **state)
{
    (void)state;
    struct delivery_context context;
    json_t *value = json_fixture_must_load(
        "{\"notification\":{\"_id\":\"n1\",\"type\":\"mention\",\"taskId\":\"t1\","
        "\"messageId\":\"m2\"},\"agent\":null,"
        "\"task\":{\"status\":\"done\"},\"message\":7,\"thread\":7,\"orchestratorAgentId\":"
        "\"a9\"}");
    assert_int_equal(delivery_context_read(value, &context, NULL), CONVEX_SUCCESS);
    assert_int_equal(context.version, BACKEND_V0);
    assert_int_equal(context.type, NOTIFICATION_MENTION);
    assert_int_equal(context.task_status, TASK_DONE);
    assert_int_equal(context.author, AUTHOR_NONE);
    assert_null(context.session_key);
    assert_null(context.thread);
    assert_int_equal(context.newest_in_thread_ms, 0);
    assert_null(context.message_id);
    assert_false(context.may_be_changed);
    assert_false(context.begins_task);
    assert_null(context.orchestrator_id);
    assert_false(context.flags.can_modify_task_status);
    assert_false(delivery_context_is_orchestrator(&context, "a9"));
    delivery_context_fini(&context);
}

static void test_gone_notification_has_no_parts(void **state)
{
    (void)state;
    struct delivery_context context;
    assert_int_equal(delivery_context_read(json_null(), &context, NULL), CONVEX_SUCCESS);
    assert_true(context.has_ended);
    assert_int_equal(context.type, NOTIFICATION_NONE);
    assert_int_equal(context.task_status, TASK_NONE);
    delivery_context_fini(&context);
}

static void test_words_become_values(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        enum notification_type type;
        enum task_status status;
        enum author_type author;
        enum notification_type source_type;
    } cases[] = {
        {"{\"notification\":{\"type\":\"assignment\"},\"task\":{\"status\":\"inbox\"},"
         "\"message\":null}",
            NOTIFICATION_ASSIGNMENT, TASK_INBOX, AUTHOR_NONE, NOTIFICATION_NONE},
        {"{\"notification\":{\"type\":\"mention\"},\"task\":{\"status\":\"assigned\"},"
         "\"message\":{\"authorType\":\"agent\"},\"sourceNotificationType\":\"thread_update\"}",
            NOTIFICATION_MENTION, TASK_ASSIGNED, AUTHOR_AGENT, NOTIFICATION_THREAD_UPDATE},
        {"{\"notification\":{\"type\":\"response_request\"},\"task\":{\"status\":\"review\"},"
         "\"message\":{\"authorType\":\"robot\"},\"sourceNotificationType\":\"mention\"}",
            NOTIFICATION_RESPONSE_REQUEST, TASK_REVIEW, AUTHOR_OTHER, NOTIFICATION_MENTION},
        {"{\"notification\":{\"type\":\"status_change\"},\"task\":{\"status\":\"blocked\"},"
         "\"sourceNotificationType\":\"new\"}",
            NOTIFICATION_STATUS_CHANGE, TASK_BLOCKED, AUTHOR_USER, NOTIFICATION_OTHER},
        {"{\"notification\":{\"type\":\"Mention\"},\"task\":{\"status\":\"archived\"}}",
            NOTIFICATION_OTHER, TASK_ARCHIVED, AUTHOR_USER, NOTIFICATION_NONE},
        {"{\"notification\":{\"type\":\"\"},\"task\":{\"status\":\"\"}}", NOTIFICATION_OTHER,
            TASK_OTHER_STATUS, AUTHOR_USER, NOTIFICATION_NONE},
        {"{\"task\":null}", NOTIFICATION_THREAD_UPDATE, TASK_NONE, AUTHOR_USER, NOTIFICATION_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct delivery_context context = context_fixture_read(cases[i].changes);
        assert_int_equal(context.type, cases[i].type);
        assert_int_equal(context.task_status, cases[i].status);
        assert_int_equal(context.author, cases[i].author);
        assert_int_equal(context.source_type, cases[i].source_type);
        delivery_context_fini(&context);
    }
}

/* Only the permission that agents have by default survives a flag that says nothing. */
static void test_flags_of_the_wrong_type_are_defaults(void **state)
{
    (void)state;
    static const char *const nothing[] = {"null", "\"true\"", "1", "[]"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        char changes[256];
        snprintf(changes, sizeof changes,
            "{\"effectiveBehaviorFlags\":{\"canCreateTasks\":%s,\"canModifyTaskStatus\":%s,"
            "\"canCreateDocuments\":%s,\"canMentionAgents\":%s,\"canReviewTasks\":%s,"
            "\"canMarkDone\":%s}}",
            nothing[i], nothing[i], nothing[i], nothing[i], nothing[i], nothing[i]);
        struct delivery_context context = context_fixture_read(changes);
        const struct behavior_flags flags = context.flags;
        assert_true(flags.can_modify_task_status);
        assert_false(flags.can_create_tasks || flags.can_create_documents ||
                     flags.can_mention_agents || flags.can_review_tasks || flags.can_mark_done);
        delivery_context_fini(&context);
    }
    struct delivery_context context = context_fixture_read(
        "{\"effectiveBehaviorFlags\":{\"canCreateTasks\":true,\"canModifyTaskStatus\":false,"
        "\"canReviewTasks\":true,\"canMarkDone\":true}}");
    assert_true(context.flags.can_create_tasks);
    assert_false(context.flags.can_modify_task_status);
    assert_true(context.flags.can_create_documents && context.flags.can_mention_agents);
    assert_true(context.flags.can_review_tasks && context.flags.can_mark_done);
    delivery_context_fini(&context);
}

static void must_be_refused(json_t *value, const char *part)
{
    struct delivery_context context;
    struct error error;
    char expected[128];
    snprintf(
        expected, sizeof expected, "getNotificationForDelivery: %s is missing or malformed", part);
    assert_int_equal(delivery_context_read(value, &context, &error), CONVEX_UNAVAILABLE);
    assert_string_equal(error.text, expected);
    assert_null(context.value);
}

static void test_malformed_parts_that_decide_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        const char *part;
    } cases[] = {
        {"{\"notification\":7}", "notification"},
        {"{\"agent\":[]}", "agent"},
        {"{\"task\":\"t1\"}", "task"},
        {"{\"message\":[]}", "message"},
        {"{\"thread\":null}", "thread"},
        {"{\"thread\":{}}", "thread"},
        {"{\"sourceNotificationType\":7}", "sourceNotificationType"},
        {"{\"orchestratorAgentId\":false}", "orchestratorAgentId"},
        {"{\"effectiveBehaviorFlags\":null}", "effectiveBehaviorFlags"},
        {"{\"deliverySessionKey\":null}", "deliverySessionKey"},
        {"{\"deliverySessionKey\":{}}", "deliverySessionKey"},
        {"{\"notification\":{\"type\":null}}", "notification.type"},
        {"{\"notification\":{\"messageId\":7}}", "notification.messageId"},
        {"{\"task\":{\"status\":null}}", "task.status"},
        {"{\"task\":{\"labels\":\"system:orchestrator-chat\"}}", "task.labels"},
        {"{\"task\":{\"assignedAgentIds\":null}}", "task.assignedAgentIds"},
        {"{\"message\":{\"authorType\":1}}", "message.authorType"},
        {"{\"message\":{\"authorId\":null}}", "message.authorId"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        must_be_refused(context_fixture_json(cases[i].changes), cases[i].part);
}

static void test_missing_parts_that_decide_are_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {"agent", "task", "message", "thread",
        "sourceNotificationType", "orchestratorAgentId", "effectiveBehaviorFlags"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value = context_fixture_json("");
        assert_int_equal(json_object_del(value, keys[i]), 0);
        must_be_refused(value, keys[i]);
    }
}

static void test_session_key_may_be_absent(void **state)
{
    (void)state;
    json_t *value = context_fixture_json("");
    struct delivery_context context;
    assert_int_equal(json_object_del(value, "deliverySessionKey"), 0);
    assert_int_equal(delivery_context_read(value, &context, NULL), CONVEX_SUCCESS);
    assert_int_equal(context.version, BACKEND_V1);
    assert_null(context.session_key);
    delivery_context_fini(&context);
    context = context_fixture_read("{\"deliverySessionKey\":\"\"}");
    assert_null(context.session_key);
    delivery_context_fini(&context);
}

/* No document, however broken, may stop a delivery. */
static void test_parts_for_the_prompt_are_left_out_when_malformed(void **state)
{
    (void)state;
    struct delivery_context context = context_fixture_read(
        "{\"primaryUserMention\":[],\"mentionableAgents\":{},\"assignedAgents\":null,"
        "\"repositoryDoc\":\"text\",\"globalBriefingDoc\":7,\"taskOverview\":[]}");
    assert_null(context.primary_user);
    assert_null(context.mentionable_agents);
    assert_null(context.assigned_agents);
    assert_null(context.repository_doc);
    assert_null(context.briefing_doc);
    assert_null(context.task_overview);
    delivery_context_fini(&context);
}

static void test_orchestrator_chat_is_recognized_by_its_label(void **state)
{
    (void)state;
    struct delivery_context context =
        context_fixture_read("{\"task\":{\"labels\":[7,\"x\",\"system:orchestrator-chat\"]}}");
    assert_true(delivery_context_is_orchestrator_chat(&context));
    delivery_context_fini(&context);
    context = context_fixture_read("{\"task\":null}");
    assert_false(delivery_context_is_orchestrator_chat(&context));
    delivery_context_fini(&context);
}

static void test_done_is_allowed_out_of_review_with_the_flag(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        bool allowed;
    } cases[] = {
        {"{\"task\":{\"status\":\"review\"},\"effectiveBehaviorFlags\":{\"canMarkDone\":true}}",
            true},
        {"{\"task\":{\"status\":\"review\"}}", false},
        {"{\"effectiveBehaviorFlags\":{\"canMarkDone\":true}}", false},
        {"{\"task\":null,\"effectiveBehaviorFlags\":{\"canMarkDone\":true}}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct delivery_context context = context_fixture_read(cases[i].changes);
        assert_int_equal(delivery_context_may_mark_done(&context), cases[i].allowed);
        delivery_context_fini(&context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete_context_is_taken_apart),
        cmocka_unit_test(test_agents_message_names_what_it_answered),
        cmocka_unit_test(test_assignment_begins_a_task_that_is_assigned),
        cmocka_unit_test(test_context_of_v0_has_no_parts_of_v1),
        cmocka_unit_test(test_gone_notification_has_no_parts),
        cmocka_unit_test(test_words_become_values),
        cmocka_unit_test(test_flags_of_the_wrong_type_are_defaults),
        cmocka_unit_test(test_malformed_parts_that_decide_are_refused),
        cmocka_unit_test(test_missing_parts_that_decide_are_refused),
        cmocka_unit_test(test_session_key_may_be_absent),
        cmocka_unit_test(test_parts_for_the_prompt_are_left_out_when_malformed),
        cmocka_unit_test(test_orchestrator_chat_is_recognized_by_its_label),
        cmocka_unit_test(test_done_is_allowed_out_of_review_with_the_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
