/*
 * The prompt for a notification, byte for byte (docs/protocol.md, "Message and notification
 * rules").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "delivery/prompt.h"

#define INSTRUCTION                                                                            \
    "Answer in the task thread: your reply to this message is posted there as it is. Use the " \
    "required sections from AGENTS.md (**Summary**, **Work done**, **Artifacts**, "            \
    "**Risks / blockers**, **Next step**, **Sources**) and keep it concise."

#define NOTIFICATION                                                                \
    "\"notification\":{\"_id\":\"n1\",\"type\":\"mention\",\"title\":\"You were\"," \
    "\"body\":\"Look \\u00e4t this\"}"
#define TASK                                                                                   \
    "\"task\":{\"title\":\"Ship it\",\"status\":\"in_progress\",\"description\":\" All of it " \
    "\\n\"}"
#define MESSAGE                                                                \
    "\"message\":{\"_id\":\"m1\",\"authorType\":\"user\",\"authorId\":\"u1\"," \
    "\"content\":\"\\n Please look\\nhere \"}"

#define HEAD "## Notification: mention\n\n**You were**\n\nLook \xC3\xA4t this\n\n"
#define TASK_LINE "Task: Ship it (in_progress)\n"
#define TASK_DESCRIPTION "Task description:\nAll of it\n"
#define MESSAGE_BLOCK \
    "Latest message:\nPlease look\nhere\n\nMessage author: user (u1)\nMessage ID: m1\n"
#define TAIL "\n" INSTRUCTION "\n\n---\nNotification ID: n1"

static const json_t *object_or_null(const json_t *value, const char *key)
{
    const json_t *found = json_object_get(value, key);
    return json_is_object(found) ? found : NULL;
}

static void expect_prompt(const char *json, const char *expected)
{
    struct error error;
    json_t *value;
    if (json_guard_load(json, strlen(json), &value, &error) != 0)
        fail_msg("%s: %s", error.text, json);
    const struct delivery_context context = {
        .value = value,
        .notification = object_or_null(value, "notification"),
        .agent = object_or_null(value, "agent"),
        .task = object_or_null(value, "task"),
        .message = object_or_null(value, "message"),
    };
    struct text text = {0};
    prompt_build(&context, &text);
    assert_false(text.failed);
    assert_string_equal(text.data, expected);
    assert_int_equal(text.length_bytes, strlen(expected));
    text_fini(&text);
    json_decref(value);
}

static void test_complete_context(void **state)
{
    (void)state;
    expect_prompt("{" NOTIFICATION "," TASK "," MESSAGE "}",
        HEAD TASK_LINE TASK_DESCRIPTION MESSAGE_BLOCK TAIL);
}

static void test_without_task(void **state)
{
    (void)state;
    expect_prompt("{" NOTIFICATION ",\"task\":null," MESSAGE "}", HEAD "\n\n" MESSAGE_BLOCK TAIL);
}

static void test_without_description(void **state)
{
    (void)state;
    expect_prompt("{" NOTIFICATION
                  ",\"task\":{\"title\":\"Ship it\",\"status\":\"in_progress\"}," MESSAGE "}",
        HEAD TASK_LINE "\n" MESSAGE_BLOCK TAIL);
    expect_prompt("{" NOTIFICATION ",\"task\":{\"title\":\"Ship it\",\"status\":\"in_progress\","
                  "\"description\":\" \\u00a0\\n\"}," MESSAGE "}",
        HEAD TASK_LINE "\n" MESSAGE_BLOCK TAIL);
}

static void test_without_message(void **state)
{
    (void)state;
    expect_prompt("{" NOTIFICATION "," TASK "}", HEAD TASK_LINE TASK_DESCRIPTION "\n" TAIL);
}

static void test_empty_message(void **state)
{
    (void)state;
    static const char expected[] = HEAD TASK_LINE TASK_DESCRIPTION
        "Latest message:\n(empty)\n\nMessage author: agent (a1)\nMessage ID: m2\n" TAIL;
    expect_prompt("{" NOTIFICATION "," TASK ",\"message\":{\"_id\":\"m2\",\"authorType\":\"agent\","
                  "\"authorId\":\"a1\",\"content\":\" \\ufeff \"}}",
        expected);
    expect_prompt("{" NOTIFICATION "," TASK ",\"message\":{\"_id\":\"m2\",\"authorType\":\"agent\","
                  "\"authorId\":\"a1\"}}",
        expected);
}

static void test_notification_only(void **state)
{
    (void)state;
    expect_prompt("{" NOTIFICATION "}", HEAD "\n\n\n" TAIL);
}

/* Missing fields and fields of the wrong type become empty; trailing blanks are trimmed. */
static void test_missing_fields_become_empty(void **state)
{
    (void)state;
    expect_prompt("{\"notification\":{\"title\":5},\"task\":{},\"message\":{}}",
        "## Notification: \n\n****\n\n\n\nTask:  ()\n\nLatest message:\n(empty)\n\n"
        "Message author:  ()\nMessage ID: \n\n" INSTRUCTION "\n\n---\nNotification ID:");
}

/* NULs are removed, since no agent could read them; conversion specifiers are plain text. */
static void test_text_is_taken_literally(void **state)
{
    (void)state;
    expect_prompt(
        "{\"notification\":{\"_id\":\"n1\",\"type\":\"%s%n\",\"title\":\"\\u0000a\\u0000b\","
        "\"body\":\" kept \"}}",
        "## Notification: %s%n\n\n**ab**\n\n kept \n\n\n\n\n" TAIL);
}

/* Whatever the numbers: agents must not be run for what we write, nor mentioned in it. */
static void test_notices_are_recognized(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 3; number++) {
        struct text texts[2] = {0};
        failure_notice_append(&texts[0], number, "no answer in time");
        limit_note_append(&texts[1], number);
        for (size_t i = 0; i < 2; i++) {
            json_t *message = json_pack("{s:s}", "content", texts[i].data);
            assert_true(notice_is_ours(message));
            assert_null(strchr(texts[i].data, '@'));
            json_decref(message);
            text_fini(&texts[i]);
        }
    }
    json_t *other = json_pack("{s:s}", "content", "Agents stopped.");
    assert_false(notice_is_ours(other));
    assert_false(notice_is_ours(NULL));
    json_decref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete_context),
        cmocka_unit_test(test_without_task),
        cmocka_unit_test(test_without_description),
        cmocka_unit_test(test_without_message),
        cmocka_unit_test(test_empty_message),
        cmocka_unit_test(test_notification_only),
        cmocka_unit_test(test_missing_fields_become_empty),
        cmocka_unit_test(test_text_is_taken_literally),
        cmocka_unit_test(test_notices_are_recognized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
