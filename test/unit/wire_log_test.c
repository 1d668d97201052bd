/* The log of a fault proxy tells which answers prove something, in whatever pieces they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/wire_log.h"

static const char run[] =
    "POST /v1/responses HTTP/1.1\r\n\r\n{\"input\":\"Notification ID: js0 is old"
    "\\n---\\nNotification ID: js1\",\"stream\":false}";
static const char mark[] = "POST /api/action HTTP/1.1\r\n\r\n{\"path\":\"service/actions:"
                           "markNotificationDelivered\",\"args\":{\"notificationId\":\"js2\"}}";

struct fixture {
    struct wire_log log;
    struct wire_reader reader;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    wire_log_fini(&fixture->log);
    free(fixture);
    return 0;
}

static void request(struct fixture *fixture, const char *text)
{
    wire_reader_request(&fixture->reader, &fixture->log, text, strlen(text));
}

/* Answers the request, which becomes the last one of the log, and returns what that proves. */
static bool answer(struct fixture *fixture, const char *text)
{
    wire_reader_answer(&fixture->reader, &fixture->log, text, strlen(text));
    assert_true(fixture->log.count > 0);
    return fixture->log.exchanges[fixture->log.count - 1].proof;
}

static bool run_is_refused(struct fixture *fixture, const char *text)
{
    request(fixture, run);
    return answer(fixture, text);
}

static void test_only_refusals_prove_that_no_agent_ran(void **state)
{
    struct fixture *fixture = *state;
    assert_true(run_is_refused(fixture, "HTTP/1.1 429 Too Many Requests\r\n\r\n"));
    assert_true(run_is_refused(fixture, "HTTP/1.1 413 Too Large\r\n\r\n<html>"));
    assert_true(run_is_refused(fixture, "HTTP/1.1 404 Not Found\r\n\r\nNot Found"));
    assert_true(run_is_refused(fixture, "HTTP/1.1 503 Busy\r\nretry-after: 1\r\n\r\n"));
    assert_true(
        run_is_refused(fixture, "HTTP/1.1 401 No\r\n\r\n{\"error\":{\"type\":\"unauthorized\"}}"));
    assert_false(run_is_refused(fixture, "HTTP/1.1 404 Not Found\r\n\r\n<html>Not Found"));
    assert_false(run_is_refused(fixture, "HTTP/1.1 401 No\r\n\r\n<html>"));
    assert_false(run_is_refused(fixture, "HTTP/1.1 503 Busy\r\n\r\n"));
    assert_false(run_is_refused(fixture, "HTTP/1.1 504 Gateway Timeout\r\n\r\n<html>"));
    assert_false(run_is_refused(fixture, "HTTP/1.1 200 OK\r\n\r\n<html>"));
    assert_false(run_is_refused(
        fixture, "HTTP/1.1 429 No\r\n\r\n{\"id\":\"r\",\"object\":\"response\",\"error\":{}}"));
    assert_false(run_is_refused(fixture, "HTT"));
    assert_int_equal(fixture->log.count, 12);
    assert_string_equal(fixture->log.exchanges[0].id, "js1");
}

static void test_only_success_confirms_a_mark(void **state)
{
    struct fixture *fixture = *state;
    request(fixture, mark);
    assert_false(answer(fixture, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"success\",\"val"));
    assert_true(answer(fixture, "ue\":{\"success\":true}}"));
    request(fixture, mark);
    assert_false(answer(fixture, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"success\",\"value\":null}"));
    json_t *marks = wire_log_describe(&fixture->log, WIRE_MARK);
    json_t *expected = json_pack("[{s:s, s:b}, {s:s, s:b}]", "notification", "js2", "proof", 1,
        "notification", "js2", "proof", 0);
    assert_true(json_equal(marks, expected));
    json_decref(marks);
    json_decref(expected);
}

/* The notification is named at the end, which may come byte by byte, and far behind the start. */
static void test_pieces_make_no_difference(void **state)
{
    struct fixture *fixture = *state;
    char filler[3 * WIRE_KEPT_BYTES + 1];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    request(fixture, "POST /v1/responses HTTP/1.1\r\n\r\n{\"input\":\"Notification ID: js0 \\n");
    request(fixture, filler);
    for (const char *at = run; *at != '\0'; at++)
        wire_reader_request(&fixture->reader, &fixture->log, at, 1);
    assert_false(answer(fixture, filler));
    assert_int_equal(fixture->log.count, 1);
    assert_string_equal(fixture->log.exchanges[0].id, "js1");
}

static void test_other_requests_are_not_logged(void **state)
{
    struct fixture *fixture = *state;
    request(fixture, "POST /v1/responses HTTP/1.1\r\n\r\n{}");
    wire_reader_answer(&fixture->reader, &fixture->log, "HTTP/1.1 400 No\r\n\r\n", 19);
    request(fixture, "GET /v1/models HTTP/1.1\r\n\r\n");
    assert_int_equal(fixture->log.count, 0);
}

int main(void)
{
#define WIRE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_only_refusals_prove_that_no_agent_ran),
        WIRE_TEST(test_only_success_confirms_a_mark),
        WIRE_TEST(test_pieces_make_no_difference),
        WIRE_TEST(test_other_requests_are_not_logged),
    };
    return cmocka_run_group_tests_name("wire_log", tests, NULL, NULL);
}
