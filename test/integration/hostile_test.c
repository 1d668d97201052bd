/* Malformed and oversized answers: each fails its own request only, and other work goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "../lib/board.h"
#include "../lib/memory.h"

enum {
    AGENTS = 4,
    GOOD = 20,
    DEEP = 100,
    ZEROS = 8200,
    LARGE_BODY_BYTES = 40 * 1000 * 1000,
    PIECE_BYTES = 1000,
    MAX_MEMORY_KIB = 100 * 1024,
};

static const char run_failed[] = "the run failed";
static const char connection_lost[] = "the connection was lost";
static const char no_message[] = "";

#define COMPLETED(text) "{\"status\":\"completed\",\"output_text\":\"" text "\"}"

/*
 * An answer as a fault rule in JSON (bytes is its body where JSON cannot carry it), and what is
 * written to the thread: reply, a note with this reason after the only run, or nothing.
 */
struct hostile_answer {
    const char *rule;
    const char *bytes;
    const char *note;
    const char *reply;
};

static const struct hostile_answer gateway_answers[] = {
    /* Truncated bodies, and bodies that contradict the header. */
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"output_text\":\"x", connection_lost,
        NULL},
    {"{\"action\":\"raw_socket\"}", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" COMPLETED("x"),
        run_failed, NULL},
    {"{\"action\":\"raw_socket\"}", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" COMPLETED("x"),
        connection_lost, NULL},
    {"{\"action\":\"raw_body\"}", "{\"output_text\":\"cut", run_failed, NULL},
    {"{\"action\":\"raw_body\",\"body\":\"\"}", NULL, run_failed, NULL},
    /* Chunks of one byte, without the last chunk, with an impossible size. */
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        no_message, NULL},
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", connection_lost, NULL},
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}",
        connection_lost, NULL},
    /* Not HTTP, or not an answer to this request. */
    {"{\"action\":\"raw_socket\",\"body\":\"\"}", NULL, connection_lost, NULL},
    {"{\"action\":\"raw_socket\"}", COMPLETED("old"), connection_lost, NULL},
    {"{\"action\":\"raw_socket\"}", "HTTP/1.1 -22 No\r\nContent-Length: 2\r\n\r\n{}",
        connection_lost, NULL},
    {"{\"action\":\"raw_socket\"}", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n{}",
        connection_lost, NULL},
    /* Twice: leftovers of the first answer must not leak into the second. */
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\n folded: x\r\nX: y\r\nContent-Length: 2\r\n\r\n{}", connection_lost,
        NULL},
    {"{\"action\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\n folded: x\r\nX: y\r\nContent-Length: 2\r\n\r\n{}", connection_lost,
        NULL},
    /* Too many values, too many bytes. */
    {"{\"action\":\"raw_body\",\"body\":\"{},\",\"body_repeat\":1000000}", NULL, run_failed, NULL},
    {"{\"action\":\"raw_body\",\"body\":\"0123456789\",\"body_repeat\":1000000}", NULL, run_failed,
        NULL},
    {"{\"action\":\"raw_body\",\"status\":500,\"body\":\"[\",\"body_repeat\":1000000,\"times\":1}",
        NULL, "unclear answer with status 500", NULL},
    /* Wrong types, missing fields, duplicate keys. */
    {"{\"action\":\"raw_body\"}", "{\"status\":7,\"output_text\":\"x\"}", run_failed, NULL},
    {"{\"action\":\"raw_body\"}", "{\"status\":\"completed\",\"output_text\":[7],\"output\":{}}",
        no_message, NULL},
    {"{\"action\":\"raw_body\"}",
        "{\"status\":\"completed\",\"output\":[7,null,{\"content\":{\"text\":{}}}]}", no_message,
        NULL},
    {"{\"action\":\"raw_body\"}", "{\"output_text\":\"first\",\"output_text\":\"second\"}", NULL,
        "second"},
    {"{\"action\":\"raw_body\"}", "{\"status\":\"completed\",\"status\":\"failed\"}", run_failed,
        NULL},
    {"{\"action\":\"raw_body\"}",
        "{\"output_text\":\"n\",\"created_at\":1e999,\"usage\":{\"n\":-0}}", NULL, "n"},
    {"{\"action\":\"raw_body\"}",
        "{\"output_text\":\"n\",\"created_at\":123456789012345678901234567890}", NULL, "n"},
    /* Invalid UTF-8, NUL, lone surrogates, a byte order mark. */
    {"{\"action\":\"raw_body\"}", COMPLETED("a\xFF\xC0\x80z \xED\xA0\x80 \xF0\x9F\x98"), NULL,
        "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD "
        "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"{\"action\":\"raw_body\"}", COMPLETED("\\u0000a\\u0000\\udc00b\\ud800"), NULL,
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD"},
    {"{\"action\":\"raw_body\"}", "\xEF\xBB\xBF" COMPLETED("marked"), NULL, "marked"},
};

enum { GATEWAY_ANSWERS = sizeof gateway_answers / sizeof gateway_answers[0] };

/* Sets the rule's body to arbitrary bytes. */
static void set_body(json_t *rule, const char *bytes, size_t length)
{
    unsigned char *encoded = malloc(length / 3 * 4 + 5);
    assert_non_null(encoded);
    EVP_EncodeBlock(encoded, (const unsigned char *)bytes, (int)length);
    assert_int_equal(
        json_object_set_new(rule, "body_base64", json_string((const char *)encoded)), 0);
    free(encoded);
}

static json_t *parse_rule(const char *json, const char *bytes)
{
    json_t *rule = json_loads(json, 0, NULL);
    assert_non_null(rule);
    if (bytes != NULL)
        set_body(rule, bytes, strlen(bytes));
    return rule;
}

static void set_answer_for(struct test_env *env, const json_t *row, json_t *rule)
{
    json_object_set_new(rule, "match", json_pack("{s:s}", "notification", board_string(row, "id")));
    board_gateway_fault(env, rule);
}

static void check_outcome(const json_t *messages, const json_t *row,
    const struct hostile_answer *hostile_answer, size_t number)
{
    int count;
    const json_t *message = board_message_for(messages, board_string(row, "id"), &count);
    if (hostile_answer->note == no_message) {
        if (count != 0)
            fail_msg(
                "answer %zu: unexpected message: %s", number, board_string(message, "content"));
        return;
    }
    if (count != 1)
        fail_msg("answer %zu: %d messages", number, count);
    const char *content = board_string(message, "content");
    if (hostile_answer->note != NULL && (strstr(content, hostile_answer->note) == NULL ||
                                            strncmp(content, "**No reply.**", 13) != 0))
        fail_msg("answer %zu: expected a note with \"%s\", got: %s", number, hostile_answer->note,
            content);
    if (hostile_answer->note == NULL && strncmp(content, "**No reply.**", 13) == 0)
        fail_msg("answer %zu: unexpected note: %s", number, content);
    if (hostile_answer->reply != NULL && strcmp(content, hostile_answer->reply) != 0)
        fail_msg("answer %zu: got \"%s\", expected \"%s\"", number, content, hostile_answer->reply);
}

static void test_malformed_gateway_answers_fail_alone(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, GATEWAY_ANSWERS + GOOD, AGENTS);
    for (size_t i = 0; i < GATEWAY_ANSWERS; i++)
        set_answer_for(env, json_array_get(rows, i),
            parse_rule(gateway_answers[i].rule, gateway_answers[i].bytes));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_RUNS=1", "DELIVERY_MAX_CONCURRENT_SESSIONS=2"));
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    for (size_t i = 0; i < GATEWAY_ANSWERS; i++)
        check_outcome(messages, json_array_get(rows, i), &gateway_answers[i], i);
    static const struct hostile_answer any_reply = {NULL, NULL, NULL, NULL};
    for (size_t i = 0; i < GOOD; i++)
        check_outcome(messages, json_array_get(rows, GATEWAY_ANSWERS + i), &any_reply, i);
    test_env_stop_runtime(env);
    json_decref(messages);
    json_decref(rows);
}

/* Writes {"output_text":"x","a":[[[...]]]} with DEEP levels. */
static void build_deep_json(char *json, size_t json_bytes)
{
    char open[DEEP + 1];
    char close[DEEP + 1];
    memset(open, '[', DEEP);
    memset(close, ']', DEEP);
    open[DEEP] = close[DEEP] = '\0';
    snprintf(json, json_bytes, "{\"output_text\":\"x\",\"a\":%s%s}", open, close);
}

/* Ten million zeros in 8 KiB of gzip, which was not asked for and must not be unpacked. */
static void set_gzip_bomb(json_t *rule)
{
    static const char begin[] = "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xec\xc1\x01\x01\0\0\0\x80\x90\xfe"
                                "\xaf\xee\x08\x0a";
    char *bomb = calloc(1, ZEROS);
    assert_non_null(bomb);
    memcpy(bomb, begin, sizeof begin - 1);
    set_body(rule, bomb, ZEROS);
    free(bomb);
}

static void test_deep_json_and_gzip_bomb_fail_alone(void **state)
{
    struct test_env *env = *state;
    char deep[3 * DEEP];
    json_t *rows = board_load(env, 2 + GOOD, AGENTS);
    build_deep_json(deep, sizeof deep);
    set_answer_for(env, json_array_get(rows, 0), parse_rule("{\"action\":\"raw_body\"}", deep));
    json_t *gzip =
        parse_rule("{\"action\":\"raw_body\",\"headers\":{\"Content-Encoding\":\"gzip\"}}", NULL);
    set_gzip_bomb(gzip);
    set_answer_for(env, json_array_get(rows, 1), gzip);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    static const struct hostile_answer expected = {NULL, NULL, run_failed, NULL};
    json_t *messages = board_documents(env, "messages");
    check_outcome(messages, json_array_get(rows, 0), &expected, 0);
    check_outcome(messages, json_array_get(rows, 1), &expected, 1);
    assert_int_equal(json_array_size(messages), 2 + GOOD);
    test_env_stop_runtime(env);
    json_decref(messages);
    json_decref(rows);
}

/* Answers that are wrong for every backend function; the function itself has run. */
static const struct hostile_answer backend_answers[] = {
    {"{\"behaviour\":\"raw_body\",\"body\":\"\"}", NULL, NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "{\"status\":\"success\",\"value\":[", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "{\"status\":\"success\"}", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "{\"status\":7,\"value\":null}", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "{\"value\":null}", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "[]", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "\"success\"", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}", "<html>\xFF\xFE</html>", NULL, NULL},
    {"{\"behaviour\":\"raw_body\"}",
        "{\"status\":\"success\",\"status\":\"error\",\"value\":[],\"errorMessage\":{}}", NULL,
        NULL},
    {"{\"behaviour\":\"raw_body\",\"body\":\"{},\",\"body_repeat\":1000000}", NULL, NULL, NULL},
    {"{\"behaviour\":\"raw_body\",\"body\":\"[\",\"body_repeat\":100}", NULL, NULL, NULL},
    {"{\"behaviour\":\"raw_body\",\"headers\":{\"Content-Encoding\":\"gzip\"}}",
        "\x1f\x8b\x08 no gzip", NULL, NULL},
    {"{\"behaviour\":\"status_after\",\"status\":560}", "{\"status\":\"error\"}", NULL, NULL},
    {"{\"behaviour\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"status\":\"success\",\"value\":null}",
        NULL, NULL},
    {"{\"behaviour\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}", NULL, NULL},
    {"{\"behaviour\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\n folded: x\r\nX: y\r\nContent-Length: 0\r\n\r\n", NULL, NULL},
    {"{\"behaviour\":\"raw_socket\"}",
        "HTTP/1.1 200 OK\r\n folded: x\r\nX: y\r\nContent-Length: 0\r\n\r\n", NULL, NULL},
};

static void add_backend_answers(struct test_env *env, const char *action)
{
    for (size_t i = 0; i < sizeof backend_answers / sizeof backend_answers[0]; i++) {
        json_t *rule = parse_rule(backend_answers[i].rule, backend_answers[i].bytes);
        json_object_set_new(rule, "action", json_string(action));
        json_object_set_new(rule, "times", json_integer(1));
        board_backend_fault(env, rule);
    }
}

/* Each function gives each of these answers once while deliveries go on. */
static void test_malformed_backend_answers_are_retried(void **state)
{
    static const char *const actions[] = {"listUndeliveredNotifications",
        "getNotificationForDelivery", "createMessageFromAgent", "markNotificationDelivered"};
    struct test_env *env = *state;
    json_t *rows = board_load(env, GOOD, AGENTS);
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        add_backend_answers(env, actions[i]);
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=5", "DELIVERY_BACKOFF_MAX_MS=20"));
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    assert_int_equal(json_array_size(messages), GOOD);
    for (size_t i = 0; i < GOOD; i++) {
        int count;
        board_message_for(messages, board_string(json_array_get(rows, i), "id"), &count);
        assert_int_equal(count, 1);
    }
    assert_int_equal(test_env_stat(env, "gateway", "requests"), GOOD);
    test_env_stop_runtime(env);
    json_decref(messages);
    json_decref(rows);
}

#define SUCCESS(value) "{\"status\":\"success\",\"value\":" value "}"
#define CONTEXT(rest) SUCCESS("{\"notification\":{\"taskId\":\"jd1\"}," rest ",\"message\":null}")

/* Answers given without running the function: success without a message id, partial contexts. */
static const struct {
    const char *action;
    const char *body;
} incomplete_successes[] = {
    {"createMessageFromAgent", SUCCESS("null")},
    {"createMessageFromAgent", SUCCESS("{}")},
    {"createMessageFromAgent", SUCCESS("{\"messageId\":null}")},
    {"createMessageFromAgent", SUCCESS("{\"messageId\":\"\"}")},
    {"createMessageFromAgent", SUCCESS("\"x\"")},
    {"markNotificationDelivered", SUCCESS("null")},
    {"markNotificationDelivered", SUCCESS("{}")},
    {"markNotificationDelivered", SUCCESS("{\"success\":false}")},
    {"markNotificationDelivered", SUCCESS("{\"success\":1}")},
    {"markNotificationDelivered", SUCCESS("\"success\"")},
    {"getNotificationForDelivery", CONTEXT("\"task\":{}")},
    {"getNotificationForDelivery", CONTEXT("\"agent\":5,\"task\":{}")},
    {"getNotificationForDelivery", CONTEXT("\"agent\":[],\"task\":{}")},
    {"getNotificationForDelivery", CONTEXT("\"agent\":{\"_id\":\"jx1\"}")},
    {"getNotificationForDelivery", CONTEXT("\"agent\":{\"_id\":\"jx1\"},\"task\":5")},
    {"getNotificationForDelivery",
        SUCCESS("{\"notification\":{\"_id\":\"js1\",\"deliveredAt\":1},\"agent\":null}")},
};

static void test_incomplete_successes_are_retried(void **state)
{
    enum { COUNT = sizeof incomplete_successes / sizeof incomplete_successes[0] };
    struct test_env *env = *state;
    int count;
    json_t *rows = board_load(env, 1, 1);
    const char *id = board_string(json_array_get(rows, 0), "id");
    for (size_t i = 0; i < COUNT; i++)
        board_backend_fault(
            env, json_pack("{s:s, s:s, s:i, s:s, s:i}", "action", incomplete_successes[i].action,
                     "behaviour", "status", "status", 200, "body", incomplete_successes[i].body,
                     "times", 1));
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_MAX_MS=20"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    json_t *messages = board_documents(env, "messages");
    board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    json_t *faults = test_env_get(env, "/sandbox/faults");
    size_t index;
    const json_t *rule;
    json_array_foreach (json_object_get(faults, "rules"), index, rule)
        assert_int_equal((int)json_number_value(json_object_get(rule, "hits")), 1);
    assert_int_equal(index, COUNT);
    test_env_stop_runtime(env);
    json_decref(faults);
    json_decref(messages);
    json_decref(rows);
}

/* Malformed rows in a list are ignored, the good one is delivered. */
static void test_malformed_rows_are_ignored(void **state)
{
    static const char format[] =
        "{\"status\":\"success\",\"value\":[7,null,\"x\",[],{},{\"_id\":7},{\"_id\":\"../../x\"},"
        "{\"_id\":\"%064d5\",\"recipientId\":\"a\"},{\"_id\":\"%s\",\"recipientId\":[]},"
        "{\"_id\":\"%s\"},{\"_id\":\"%s\",\"recipientId\":\"%s\",\"createdAt\":1e308}]}";
    struct test_env *env = *state;
    char list[1024];
    json_t *rows = board_load(env, 1, 1);
    const char *id = board_string(json_array_get(rows, 0), "id");
    snprintf(
        list, sizeof list, format, 0, id, id, id, board_string(json_array_get(rows, 0), "agent"));
    json_t *rule = parse_rule("{\"action\":\"listUndeliveredNotifications\",\"behaviour\":"
                              "\"raw_body\",\"times\":1}",
        list);
    board_backend_fault(env, rule);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0&action=listUndeliveredNotifications&calls=3");
    test_env_wait_log(env, "ignoring 10 notifications: their _id or recipientId is not");
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* More unusable rows than a page holds, all older than the usable ones. */
static void test_unusable_rows_do_not_hide_usable_ones(void **state)
{
    enum { UNUSABLE = 70, USABLE = 5 };
    struct test_env *env = *state;
    json_t *rows = board_load(env, UNUSABLE + USABLE, 1);
    for (size_t i = 0; i < UNUSABLE; i++)
        json_decref(test_env_post(env, "/sandbox/set",
            json_pack("{s:s, s:{s:s}}", "id", board_string(json_array_get(rows, i), "id"), "fields",
                "recipientId", "bob@example")));
    test_env_start_runtime(env, STRINGS("DELIVERY_LIST_LIMIT=10", "DELIVERY_INTERVAL=20"));
    test_env_wait(env, "delivered=5");
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void set_titles(struct test_env *env, const json_t *rows, size_t title_bytes)
{
    char *title = malloc(title_bytes + 1);
    assert_non_null(title);
    memset(title, 'x', title_bytes);
    title[title_bytes] = '\0';
    for (size_t i = 0; i < json_array_size(rows); i++)
        json_decref(test_env_post(env, "/sandbox/set",
            json_pack("{s:s, s:{s:s}}", "id", board_string(json_array_get(rows, i), "id"), "fields",
                "title", title)));
    free(title);
}

/* The whole list exceeds the limit on the size of an answer. */
static void test_oversized_list_is_read_in_smaller_pages(void **state)
{
    enum { ROWS = 400, TITLE_BYTES = 60 * 1000 };
    struct test_env *env = *state;
    json_t *rows = board_load(env, ROWS, 4 * AGENTS);
    set_titles(env, rows, TITLE_BYTES);
    test_env_start_runtime(env, STRINGS("DELIVERY_LIST_LIMIT=500"));
    test_env_wait_log(env, "Polling works again after 1 failed");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), ROWS);
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* Any failure may be due to the size, so pages shrink; they must grow again past stuck rows. */
static void test_pages_shrink_on_failure_and_grow_again(void **state)
{
    enum { STUCK = 40, FAILURES = 8 };
    struct test_env *env = *state;
    json_decref(board_load(env, STUCK, 1));
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", "worker1", "action",
                                 "hold", "name", "stuck"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "listUndeliveredNotifications",
                                 "behaviour", "function_error", "times", FAILURES));
    json_decref(board_load(env, 2, 2));
    test_env_wait_log(env, "Polling works again after 8 failed");
    test_env_wait(env, "delivered=1");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), STUCK + 2);
    test_env_stop_runtime(env);
}

static json_t *large_body_rule(const char *kind, const char *word)
{
    char piece[PIECE_BYTES + 1];
    memset(piece, 'x', PIECE_BYTES);
    piece[PIECE_BYTES] = '\0';
    return json_pack("{s:s, s:s, s:i, s:i, s:i}", kind, word, "body", piece, "body_repeat",
        LARGE_BODY_BYTES / PIECE_BYTES, "times", 3 * AGENTS, "latency_ms", 100);
}

static void expect_bounded_memory(struct test_env *env, const char *side)
{
    if (!memory_is_measurable())
        return;
    long peak_kib = memory_peak_kib(&env->runtime);
    print_message("%d workers, 40 MB each from the %s: peak %ld KiB\n", AGENTS, side, peak_kib);
    assert_in_range(peak_kib, 1, MAX_MEMORY_KIB);
}

/* All workers receive far too large bodies at the same time, repeatedly. */
static void test_large_gateway_bodies_do_not_fill_memory(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 2 * AGENTS, AGENTS);
    board_gateway_fault(env, large_body_rule("action", "raw_body"));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4", "DELIVERY_MAX_RUNS=4"));
    test_env_wait(env, "undelivered=0");
    expect_bounded_memory(env, "gateway");
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_large_backend_bodies_do_not_fill_memory(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 2 * AGENTS, AGENTS);
    json_t *rule = large_body_rule("behaviour", "raw_body");
    json_object_set_new(rule, "action", json_string("getNotificationForDelivery"));
    board_backend_fault(env, rule);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4"));
    test_env_wait(env, "undelivered=0");
    expect_bounded_memory(env, "backend");
    test_env_stop_runtime(env);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_malformed_gateway_answers_fail_alone),
        TEST_ON_BOTH(test_deep_json_and_gzip_bomb_fail_alone),
        TEST_ON_BOTH(test_malformed_backend_answers_are_retried),
        TEST_ON_BOTH(test_incomplete_successes_are_retried),
        TEST_ON_BOTH(test_malformed_rows_are_ignored),
        TEST_ON_BOTH(test_unusable_rows_do_not_hide_usable_ones),
        TEST_IN_ENV(test_oversized_list_is_read_in_smaller_pages),
        TEST_IN_ENV(test_pages_shrink_on_failure_and_grow_again),
        TEST_ON_BOTH(test_large_gateway_bodies_do_not_fill_memory),
        TEST_ON_BOTH(test_large_backend_bodies_do_not_fill_memory),
    };
    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
