/*
 * The loop guard's walk along a chain of replies, against a backend that forgets, fails and lies.
 * The backend is a stub that computes each notification from its number; the number of its calls
 * shows what the guard has cached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/stub_server.h"
#include "base/json.h"
#include "delivery/loop_guard.h"
#include "http/ca_store.h"

enum { HOPS = 4, RUNS = 1000, NONE = -1, ANSWER_BYTES = 1024 };

/*
 * The backend has notifications n0, n1, ...: the message of each is the reply to the one before,
 * and the first is a person's message.
 */
struct fixture {
    struct stub_server *server;
    struct ca_store *store;
    struct http_client *client;
    struct convex *convex;
    struct service service;
    struct loop_guard *guard;
    struct loop_verdict verdict; /* the last one */
    char answer[ANSWER_BYTES];
    atomic_int calls;
    atomic_int deleted;  /* number of the notification that does not exist */
    atomic_int broken;   /* of the one that gets a 503 */
    atomic_int throwing; /* of the one for which the function throws */
    atomic_int looped;   /* of the one that replies to a later one */
};

static void write_context(char *row, size_t row_bytes, const struct fixture *fixture, int number)
{
    int source = number == atomic_load(&fixture->looped) ? number + 1 : number - 1;
    if (number == 0)
        snprintf(row, row_bytes,
            "{\"notification\":{\"_id\":\"n0\",\"type\":\"mention\"},\"agent\":null,"
            "\"message\":{\"authorType\":\"user\",\"authorId\":\"u\"}}");
    else
        snprintf(row, row_bytes,
            "{\"notification\":{\"_id\":\"n%d\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
            "\"authorType\":"
            "\"agent\",\"authorId\":\"other\",\"sourceNotificationId\":\"n%d\"}}",
            number, source);
}

static const char *answer_context(void *context, const char *request)
{
    struct fixture *fixture = context;
    const char *id = strstr(request, "\"notificationId\":\"n");
    int number = id != NULL ? (int)strtol(id + 19, NULL, 10) : NONE;
    char value[ANSWER_BYTES / 2] = "null";
    const char *status = "200 OK";
    atomic_fetch_add(&fixture->calls, 1);
    if (number == atomic_load(&fixture->broken))
        status = "503 Service Unavailable";
    if (number != atomic_load(&fixture->deleted))
        write_context(value, sizeof value, fixture, number);
    if (number == atomic_load(&fixture->throwing))
        snprintf(fixture->answer, ANSWER_BYTES,
            "HTTP/1.1 560 \r\nConnection: close\r\n\r\n"
            "{\"status\":\"error\",\"errorMessage\":\"Server Error\"}");
    else
        snprintf(fixture->answer, ANSWER_BYTES,
            "HTTP/1.1 %s\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"value\":%s}", status,
            value);
    return fixture->answer;
}

static int setup(void **state)
{
    static const atomic_bool never = false;
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char url[64];
    assert_non_null(fixture);
    atomic_store(&fixture->deleted, NONE);
    atomic_store(&fixture->broken, NONE);
    atomic_store(&fixture->throwing, NONE);
    atomic_store(&fixture->looped, NONE);
    fixture->server = stub_server_start_with(answer_context, fixture);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(fixture->server));
    assert_int_equal(http_client_library_start(NULL), 0);
    assert_int_equal(ca_store_create(&fixture->store, NULL, NULL), 0);
    assert_int_equal(http_client_create(&fixture->client, fixture->store, &never, NULL), 0);
    assert_int_equal(convex_create(&fixture->convex, url, "account", "token", NULL), 0);
    const struct loop_guard_settings settings = {
        .enabled = true, .max_hops = HOPS, .max_agent_runs = RUNS};
    assert_int_equal(loop_guard_create(&fixture->guard, &settings, NULL), 0);
    fixture->service = (struct service){.convex = fixture->convex, .client = fixture->client};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    stub_server_stop(fixture->server);
    loop_guard_destroy(fixture->guard);
    convex_destroy(fixture->convex);
    http_client_destroy(fixture->client);
    ca_store_destroy(fixture->store);
    http_client_library_stop();
    free(fixture);
    return 0;
}

static enum convex_outcome judge_json(
    struct fixture *fixture, const char *json, enum end_reason *reason)
{
    struct delivery_context context;
    json_t *value;
    struct error error;
    assert_int_equal(json_guard_load(json, strlen(json), &value, NULL), 0);
    assert_int_equal(delivery_context_read(value, &context, NULL), CONVEX_SUCCESS);
    struct loop_verdict *verdict = &fixture->verdict;
    enum convex_outcome outcome =
        loop_guard_judge(fixture->guard, &fixture->service, "me", &context, true, verdict, &error);
    delivery_context_fini(&context);
    *reason = verdict->reason;
    return outcome;
}

/* Judges the notification of that number with the context that the backend has. */
static enum convex_outcome judge_number(
    struct fixture *fixture, int number, enum end_reason *reason)
{
    char row[ANSWER_BYTES / 2];
    write_context(row, sizeof row, fixture, number);
    return judge_json(fixture, row, reason);
}

static void must_pass(struct fixture *fixture, int number)
{
    enum end_reason reason;
    assert_int_equal(judge_number(fixture, number, &reason), CONVEX_SUCCESS);
    assert_int_equal(reason, REASON_REPLIED);
}

static void must_have_too_many_hops(struct fixture *fixture, int number)
{
    enum end_reason reason;
    assert_int_equal(judge_number(fixture, number, &reason), CONVEX_SUCCESS);
    assert_int_equal(reason, REASON_TOO_MANY_HOPS);
}

static void test_chain_is_walked_once(void **state)
{
    struct fixture *fixture = *state;
    must_pass(fixture, HOPS);
    assert_int_equal(atomic_load(&fixture->calls), HOPS);
    must_pass(fixture, HOPS);
    must_have_too_many_hops(fixture, HOPS + 1);
    assert_int_equal(atomic_load(&fixture->calls), HOPS);
}

static void test_walk_stops_at_the_hop_limit(void **state)
{
    struct fixture *fixture = *state;
    must_have_too_many_hops(fixture, 100);
    assert_int_equal(atomic_load(&fixture->calls), HOPS + 1);
}

/* Links read on a walk that hit the limit are cached as too far from the chain's beginning. */
static void test_middle_of_a_long_chain_has_too_many_hops(void **state)
{
    struct fixture *fixture = *state;
    must_have_too_many_hops(fixture, 100);
    for (int number = 99; number >= 95; number--)
        must_have_too_many_hops(fixture, number);
    must_pass(fixture, HOPS);
}

static void test_cycle_ends_at_the_hop_limit(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->looped, 7);
    must_have_too_many_hops(fixture, 9);
    assert_int_equal(atomic_load(&fixture->calls), HOPS + 1);
}

static void test_deleted_notification_begins_a_chain(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->deleted, 50);
    must_pass(fixture, 50 + HOPS);
    must_have_too_many_hops(fixture, 50 + HOPS + 1);
}

static void test_refused_notification_begins_a_chain(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->throwing, 50);
    must_pass(fixture, 50 + HOPS);
    must_have_too_many_hops(fixture, 50 + HOPS + 1);
}

/* A function that throws may answer later, so a judgement based on that is not cached. */
static void test_refused_notification_is_read_again(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->throwing, 2);
    must_pass(fixture, HOPS + 1);
    atomic_store(&fixture->throwing, NONE);
    must_have_too_many_hops(fixture, HOPS + 1);
    must_have_too_many_hops(fixture, HOPS + 2);
}

/* A chain that could not be read completely is neither judged nor cached. */
static void test_backend_failure_decides_and_caches_nothing(void **state)
{
    struct fixture *fixture = *state;
    enum end_reason reason;
    atomic_store(&fixture->broken, 2);
    assert_int_equal(judge_number(fixture, HOPS, &reason), CONVEX_UNAVAILABLE);
    assert_int_equal(reason, REASON_REPLIED);
    assert_int_equal(atomic_load(&fixture->calls), 2);
    atomic_store(&fixture->broken, NONE);
    must_pass(fixture, HOPS);
    assert_int_equal(atomic_load(&fixture->calls), 2 + HOPS);
}

static void test_invalid_source_ids_are_not_read(void **state)
{
    struct fixture *fixture = *state;
    static const char *const sources[] = {"7", "null", "\"\"", "\"../n1\"", "[]"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        char json[ANSWER_BYTES / 2];
        enum end_reason reason;
        snprintf(json, sizeof json,
            "{\"notification\":{\"_id\":\"x\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
            "\"authorType\":"
            "\"agent\",\"authorId\":\"other\",\"sourceNotificationId\":%s}}",
            sources[i]);
        assert_int_equal(judge_json(fixture, json, &reason), CONVEX_SUCCESS);
        assert_int_equal(reason, REASON_REPLIED);
    }
    assert_int_equal(atomic_load(&fixture->calls), 0);
}

/* All of a chain are counted under its beginning, whether it was watched or read back. */
static void test_chain_is_counted_under_its_root(void **state)
{
    struct fixture *fixture = *state;
    must_pass(fixture, 3);
    assert_true(fixture->verdict.counted);
    assert_string_equal(fixture->verdict.root, "n0");
    must_pass(fixture, 1);
    assert_string_equal(fixture->verdict.root, "n0");
    must_pass(fixture, 0);
    assert_string_equal(fixture->verdict.root, "n0");
    must_pass(fixture, 4);
    assert_string_equal(fixture->verdict.root, "n0");
    must_have_too_many_hops(fixture, HOPS + 1);
    assert_false(fixture->verdict.counted);
}

/* A person's message is the root, so all agents that it notifies share one count. */
static void test_message_of_a_person_is_the_root(void **state)
{
    struct fixture *fixture = *state;
    enum end_reason reason;
    judge_json(fixture,
        "{\"notification\":{\"_id\":\"x\",\"type\":\"mention\",\"taskId\":\"t\"},\"agent\":null,"
        "\"task\":{},\"message\":{\"_id\":\"m\",\"authorType\":\"user\",\"createdAt\":5}}",
        &reason);
    assert_int_equal(reason, REASON_REPLIED);
    assert_string_equal(fixture->verdict.root, "m");
    assert_string_equal(fixture->verdict.task_id, "t");
    judge_json(fixture,
        "{\"notification\":{\"_id\":\"y\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
        "\"_id\":\"m2\",\"authorType\":\"agent\",\"sourceNotificationId\":\"x\"}}",
        &reason);
    assert_string_equal(fixture->verdict.root, "m");
    judge_json(fixture,
        "{\"notification\":{\"_id\":\"z\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
        "\"_id\":\"m2\",\"authorType\":\"agent\",\"sourceNotificationId\":\"x\"}}",
        &reason);
    assert_int_equal(reason, REASON_SAME_MESSAGE);
    assert_int_equal(atomic_load(&fixture->calls), 0);
}

/* A chain whose beginning is deleted still has one root. */
static void test_deleted_notification_is_the_root(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->deleted, 50);
    must_pass(fixture, 52);
    assert_string_equal(fixture->verdict.root, "n50");
    must_pass(fixture, 51);
    assert_string_equal(fixture->verdict.root, "n50");
}

static void judge_user_message(struct fixture *fixture, const char *id)
{
    char json[ANSWER_BYTES / 2];
    enum end_reason reason;
    snprintf(json, sizeof json,
        "{\"notification\":{\"_id\":\"%s\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
        "\"authorType\":"
        "\"user\",\"authorId\":\"u\"}}",
        id);
    assert_int_equal(judge_json(fixture, json, &reason), CONVEX_SUCCESS);
    assert_int_equal(reason, REASON_REPLIED);
}

/* Returns how many calls it takes to judge a message that replies to the one of source. */
static int calls_to_judge_reply_to(struct fixture *fixture, const char *source)
{
    char json[ANSWER_BYTES / 2];
    enum end_reason reason;
    int before = atomic_load(&fixture->calls);
    snprintf(json, sizeof json,
        "{\"notification\":{\"_id\":\"not an "
        "id\",\"type\":\"mention\"},\"agent\":null,\"message\":{"
        "\"authorType\":\"agent\",\"authorId\":\"other\",\"sourceNotificationId\":\"%s\"}}",
        source);
    assert_int_equal(judge_json(fixture, json, &reason), CONVEX_SUCCESS);
    return atomic_load(&fixture->calls) - before;
}

static void test_least_recently_used_one_is_evicted(void **state)
{
    struct fixture *fixture = *state;
    char id[32];
    for (int i = 0; i < LOOP_GUARD_REMEMBERED; i++) {
        snprintf(id, sizeof id, "p%d", i);
        judge_user_message(fixture, id);
    }
    assert_int_equal(calls_to_judge_reply_to(fixture, "p0"), 0);
    judge_user_message(fixture, "new");
    assert_int_equal(calls_to_judge_reply_to(fixture, "p0"), 0);
    assert_int_equal(calls_to_judge_reply_to(fixture, "p2"), 0);
    assert_int_equal(calls_to_judge_reply_to(fixture, "new"), 0);
    assert_int_equal(calls_to_judge_reply_to(fixture, "p1"), 1);
}

int main(void)
{
    json_guard_start();
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_chain_is_walked_once),
        TEST(test_walk_stops_at_the_hop_limit),
        TEST(test_middle_of_a_long_chain_has_too_many_hops),
        TEST(test_cycle_ends_at_the_hop_limit),
        TEST(test_deleted_notification_begins_a_chain),
        TEST(test_refused_notification_begins_a_chain),
        TEST(test_refused_notification_is_read_again),
        TEST(test_backend_failure_decides_and_caches_nothing),
        TEST(test_invalid_source_ids_are_not_read),
        TEST(test_chain_is_counted_under_its_root),
        TEST(test_message_of_a_person_is_the_root),
        TEST(test_deleted_notification_is_the_root),
        TEST(test_least_recently_used_one_is_evicted),
    };
    return cmocka_run_group_tests_name("loop_guard_chain", tests, NULL, NULL);
}
