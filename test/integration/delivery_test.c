/* The main path: each notification reaches its agent once, and its reply the thread once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"

enum { NOTIFICATIONS = 200, AGENTS = 20 };

static void check_message_of(const json_t *messages, const json_t *row)
{
    int count;
    const json_t *message = board_message_for(messages, board_string(row, "id"), &count);
    assert_int_equal(count, 1);
    assert_string_equal(board_string(message, "authorType"), "agent");
    assert_string_equal(board_string(message, "authorId"), board_string(row, "agent"));
    assert_string_equal(board_string(message, "taskId"), board_string(row, "task"));
}

/* Fails unless each session's requests came in the order of its notifications. */
static void check_session_order(const json_t *requests, const json_t *rows)
{
    size_t index;
    const json_t *row;
    json_t *next = json_object();
    json_t *place = json_object();
    json_array_foreach (rows, index, row)
        json_object_set_new(place, board_string(row, "id"), json_integer((json_int_t)index));
    const json_t *request;
    json_array_foreach (requests, index, request) {
        const char *session = board_string(request, "session");
        json_int_t at =
            json_integer_value(json_object_get(place, board_string(request, "notification")));
        const json_t *last = json_object_get(next, session);
        assert_true(last == NULL || json_integer_value(last) < at);
        json_object_set_new(next, session, json_integer(at));
    }
    json_decref(next);
    json_decref(place);
}

static double number_field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

static void test_many_notifications_are_delivered_once_and_in_order(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(
        env, json_pack("{s:s, s:s, s:i}", "action", "hold", "name", "first", "times", AGENTS));
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "reply", "latency_ms", 50));
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=20"));
    test_env_wait(env, "in_flight=20");
    board_release(env, "first");
    test_env_wait(env, "delivered=200");
    json_t *messages = board_documents(env, "messages");
    size_t index;
    const json_t *row;
    json_array_foreach (rows, index, row)
        check_message_of(messages, row);
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    const json_t *stats = json_object_get(gateway, "stats");
    assert_int_equal(number_field(stats, "requests"), NOTIFICATIONS);
    assert_int_equal(number_field(stats, "max_in_flight_per_session"), 1);
    check_session_order(json_object_get(gateway, "requests"), rows);
    test_env_stop_runtime(env);
    json_decref(gateway);
    json_decref(messages);
    json_decref(rows);
}

/* A gateway answer and the message it must become. */
struct reply_shape {
    const char *answer;
    const char *message; /* NULL: none, for silence; "": none, and v1 asks twice more for one */
};

static const struct reply_shape reply_shapes[] = {
    {"{\"output_text\":\"  plain  \"}", "plain"},
    {"{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":"
     "\"output_text\",\"text\":\"one\"},{\"type\":\"output_text\",\"text\":\" two \"}]}]}",
        "one\ntwo"},
    {"{\"output\":[{\"content\":\"first\"},{\"text\":\"second\"},7,null]}", "first\nsecond"},
    {"{\"output_text\":\" \",\"text\":\"from text\"}", "from text"},
    {"{\"content\":[{\"text\":\"deep\",\"content\":[\"er\"]}]}", "deep\ner"},
    {"{\"output_text\":\"nul \\u0000 gone\"}", "nul  gone"},
    {"{\"output_text\":\"lone \\ud800 surrogate\"}", "lone \xEF\xBF\xBD surrogate"},
    {"{\"output_text\":\"pair \\ud83d\\ude00\"}", "pair \xF0\x9F\x98\x80"},
    {"{\"output_text\":\"bad \xFF byte\"}", "bad \xEF\xBF\xBD byte"},
    {"{\"output_text\":\"No response from OpenClaw.\"}", ""},
    {"{\"output_text\":\" No response from Clawdbot. \"}", ""},
    {"{\"output_text\":\"NO_REPLY\"}", NULL},
    {"{\"output_text\":\"\\u00a0 \\n\"}", ""},
    {"{\"output\":[]}", ""},
    {"{}", ""},
};

enum { REPLY_SHAPES = sizeof reply_shapes / sizeof reply_shapes[0] };

static char base64_digit(unsigned long bits, int digit, bool padding)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (padding)
        return '=';
    return digits[(bits >> (18 - 6 * digit)) & 63];
}

static void set_answer_body(struct test_env *env, const char *notification_id, const char *body)
{
    /* Base64, since the bodies hold bytes that JSON cannot carry. */
    char encoded[2048];
    size_t used = 0;
    size_t length = strlen(body);
    for (size_t i = 0; i < length; i += 3) {
        unsigned long bits = (unsigned long)(unsigned char)body[i] << 16;
        if (i + 1 < length)
            bits |= (unsigned long)(unsigned char)body[i + 1] << 8;
        if (i + 2 < length)
            bits |= (unsigned long)(unsigned char)body[i + 2];
        for (int d = 0; d < 4; d++)
            encoded[used++] = base64_digit(bits, d, i + (size_t)d > length);
    }
    encoded[used] = '\0';
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s}", "match", "notification",
                                 notification_id, "action", "raw_body", "body_base64", encoded));
}

static void check_reply_shape(
    const json_t *messages, const char *notification_id, const struct reply_shape *reply_shape)
{
    int count;
    const json_t *message = board_message_for(messages, notification_id, &count);
    bool is_posted = reply_shape->message != NULL && reply_shape->message[0] != '\0';
    if (!is_posted && count != 0)
        fail_msg("a message for %s", reply_shape->answer);
    if (!is_posted)
        return;
    if (count != 1)
        fail_msg("%d messages for %s", count, reply_shape->answer);
    assert_string_equal(board_string(message, "content"), reply_shape->message);
}

static void test_every_reply_shape_becomes_its_text(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, REPLY_SHAPES, 5);
    for (size_t i = 0; i < REPLY_SHAPES; i++)
        set_answer_body(env, board_string(json_array_get(rows, i), "id"), reply_shapes[i].answer);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    size_t runs = 0;
    for (size_t i = 0; i < REPLY_SHAPES; i++) {
        check_reply_shape(messages, board_string(json_array_get(rows, i), "id"), &reply_shapes[i]);
        bool is_empty = reply_shapes[i].message != NULL && reply_shapes[i].message[0] == '\0';
        runs += is_empty && test_env_is_v1(env) ? 3 : 1;
    }
    assert_int_equal(test_env_stat(env, "gateway", "requests"), runs);
    test_env_stop_runtime(env);
    json_decref(messages);
    json_decref(rows);
}

static void test_long_reply_is_truncated_with_a_notice(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    char *long_text = malloc(2000001);
    assert_non_null(long_text);
    for (size_t i = 0; i < 2000000; i += 2)
        memcpy(long_text + i, "\xC3\xA9", 2);
    long_text[2000000] = '\0';
    board_gateway_fault(env,
        json_pack("{s:s, s:{s:s}}", "action", "raw_body", "body_json", "output_text", long_text));
    free(long_text);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    int count;
    const json_t *message =
        board_message_for(messages, board_string(json_array_get(rows, 0), "id"), &count);
    assert_int_equal(count, 1);
    const char *content = board_string(message, "content");
    /* v0 takes 900,000 bytes, v1 100,000 characters, which here are of two bytes each. */
    size_t limit_bytes = test_env_is_v1(env) ? 200000 : 900000;
    assert_in_range(strlen(content), limit_bytes - 10000, limit_bytes);
    assert_non_null(strstr(content,
        test_env_is_v1(env) ? "[This reply was cut: the task thread takes 100000 characters. Full "
                            : "[This reply was cut: it was 2000000 bytes long"));
    test_env_stop_runtime(env);
    json_decref(messages);
    json_decref(rows);
}

static void test_request_has_the_headers_of_every_release(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    const json_t *request = json_array_get(json_object_get(gateway, "requests"), 0);
    const char *key = board_string(request, "session");
    assert_string_equal(board_string(request, "x-openclaw-session-key"), key);
    assert_string_equal(board_string(request, "x-clawdbot-session-key"), key);
    const char *slug = board_string(request, "x-openclaw-agent-id");
    assert_string_equal(board_string(request, "x-clawdbot-agent-id"), slug);
    assert_string_equal(board_string(request, "user"), key);
    char model[128];
    snprintf(model, sizeof model, "openclaw:%s", slug);
    assert_string_equal(board_string(request, "model"), model);
    test_env_stop_runtime(env);
    json_decref(gateway);
    json_decref(rows);
}

static void test_mention_in_a_message_runs_the_agent(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:s}], s:[{s:s}]}", "agents", "slug", "jarvis", "name", "Jarvis",
            "tasks", "title", "Look at this")));
    test_env_start_runtime(env, NULL);
    json_t *tasks = board_documents(env, "tasks");
    json_decref(test_env_post(env, "/sandbox/message",
        json_pack("{s:s, s:s}", "task", board_string(json_array_get(tasks, 0), "_id"), "content",
            "@jarvis please look")));
    test_env_wait(env, "replies=1");
    json_decref(tasks);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_many_notifications_are_delivered_once_and_in_order),
        TEST_ON_BOTH(test_every_reply_shape_becomes_its_text),
        TEST_ON_BOTH(test_long_reply_is_truncated_with_a_notice),
        TEST_ON_BOTH(test_request_has_the_headers_of_every_release),
        TEST_ON_BOTH(test_mention_in_a_message_runs_the_agent),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
