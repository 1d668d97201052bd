/* The text an agent gets for a notification, byte for byte. */
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
#define TASK_WORDS "Task description:\nAll of it\n"
#define MESSAGE_WORDS \
    "Latest message:\nPlease look\nhere\n\nMessage author: user (u1)\nMessage ID: m1\n"
#define TAIL "\n" INSTRUCTION "\n\n---\nNotification ID: n1"

static const json_t *part(const json_t *value, const char *key)
{
    const json_t *found = json_object_get(value, key);
    return json_is_object(found) ? found : NULL;
}

static void must_build(const char *json, const char *expected)
{
    struct error error;
    json_t *value;
    if (json_guard_load(json, strlen(json), &value, &error) != 0)
        fail_msg("%s: %s", error.text, json);
    const struct delivery_context context = {
        .value = value,
        .notification = part(value, "notification"),
        .agent = part(value, "agent"),
        .task = part(value, "task"),
        .message = part(value, "message"),
    };
    struct text text = {0};
    prompt_build(&context, &text);
    assert_false(text.failed);
    assert_string_equal(text.data, expected);
    assert_int_equal(text.length_bytes, strlen(expected));
    text_fini(&text);
    json_decref(value);
}

static void test_all_parts(void **state)
{
    (void)state;
    must_build(
        "{" NOTIFICATION "," TASK "," MESSAGE "}", HEAD TASK_LINE TASK_WORDS MESSAGE_WORDS TAIL);
}

static void test_no_task(void **state)
{
    (void)state;
    must_build("{" NOTIFICATION ",\"task\":null," MESSAGE "}", HEAD "\n\n" MESSAGE_WORDS TAIL);
}

static void test_no_description(void **state)
{
    (void)state;
    must_build("{" NOTIFICATION
               ",\"task\":{\"title\":\"Ship it\",\"status\":\"in_progress\"}," MESSAGE "}",
        HEAD TASK_LINE "\n" MESSAGE_WORDS TAIL);
    must_build("{" NOTIFICATION ",\"task\":{\"title\":\"Ship it\",\"status\":\"in_progress\","
               "\"description\":\" \\u00a0\\n\"}," MESSAGE "}",
        HEAD TASK_LINE "\n" MESSAGE_WORDS TAIL);
}

static void test_no_message(void **state)
{
    (void)state;
    must_build("{" NOTIFICATION "," TASK "}", HEAD TASK_LINE TASK_WORDS "\n" TAIL);
}

static void test_empty_message(void **state)
{
    (void)state;
    static const char expected[] = HEAD TASK_LINE TASK_WORDS
        "Latest message:\n(empty)\n\nMessage author: agent (a1)\nMessage ID: m2\n" TAIL;
    must_build("{" NOTIFICATION "," TASK ",\"message\":{\"_id\":\"m2\",\"authorType\":\"agent\","
               "\"authorId\":\"a1\",\"content\":\" \\ufeff \"}}",
        expected);
    must_build("{" NOTIFICATION "," TASK ",\"message\":{\"_id\":\"m2\",\"authorType\":\"agent\","
               "\"authorId\":\"a1\"}}",
        expected);
}

static void test_nothing_but_a_notification(void **state)
{
    (void)state;
    must_build("{" NOTIFICATION "}", HEAD "\n\n\n" TAIL);
}

/* Fields that are missing or no strings leave nothing; an end of blanks goes. */
static void test_fields_that_are_missing(void **state)
{
    (void)state;
    must_build("{\"notification\":{\"title\":5},\"task\":{},\"message\":{}}",
        "## Notification: \n\n****\n\n\n\nTask:  ()\n\nLatest message:\n(empty)\n\n"
        "Message author:  ()\nMessage ID: \n\n" INSTRUCTION "\n\n---\nNotification ID:");
}

/* NULs go, as JSON could carry them but no agent could read them; formats are just text. */
static void test_text_is_taken_literally(void **state)
{
    (void)state;
    must_build("{\"notification\":{\"_id\":\"n1\",\"type\":\"%s%n\",\"title\":\"\\u0000a\\u0000b\","
               "\"body\":\" kept \"}}",
        "## Notification: %s%n\n\n**ab**\n\n kept \n\n\n\n\n" TAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_parts),
        cmocka_unit_test(test_no_task),
        cmocka_unit_test(test_no_description),
        cmocka_unit_test(test_no_message),
        cmocka_unit_test(test_empty_message),
        cmocka_unit_test(test_nothing_but_a_notification),
        cmocka_unit_test(test_fields_that_are_missing),
        cmocka_unit_test(test_text_is_taken_literally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
