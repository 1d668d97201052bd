/* Version 1's marks and lists of notifications, response requests, and silent runtimes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/board.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

enum { ROWS = 600, MAX_ROWS = 500 };

static const double HOUR_MS = 3600.0 * 1000;

static void seed_one(struct test_env *env, char id[static ID_BYTES])
{
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}],'tasks':[{'title':'work'}]}");
    json_t *answer = backend_control(env, "notify", "{'agent':'jarvis','task':'work'}");
    text_copy(id, ID_BYTES, value_string(answer, "id"));
    json_decref(answer);
}

/* Which of the three times a notification has, as letters: read, ended, delivered. */
static void expect_marks(struct test_env *env, const char *id, const char *marks)
{
    static const struct {
        char letter;
        const char *key;
    } times[] = {{'r', "readAt"}, {'e', "deliveryEndedAt"}, {'d', "deliveredAt"}};
    json_t *context =
        backend_value(env, "getNotificationForDelivery", "{'notificationId':'%s'}", id);
    const json_t *row = value_at(context, "notification");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        bool is_set = json_is_number(json_object_get(row, times[i].key));
        if (is_set != (strchr(marks, times[i].letter) != NULL))
            fail_msg("%s is%s set", times[i].key, is_set ? "" : " not");
    }
    json_decref(context);
}

/* Calls on one notification, one after the other, and its marks after each. */
static const struct {
    const char *function;
    const char *marks;
} steps[] = {
    {"markNotificationDeliveryEnded", "e"},
    {"markNotificationRead", "r"},
    {"markNotificationRead", "r"},
    {"markNotificationDeliveryEnded", "re"},
    {"markNotificationRead", "r"},
    {"markNotificationDelivered", "rd"},
    {"markNotificationDelivered", "rd"},
    {"markNotificationDeliveryEnded", "rd"},
    {"markNotificationRead", "rd"},
};

static void test_marks(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_one(env, id);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        json_t *value = backend_value(env, steps[i].function, "{'notificationId':'%s'}", id);
        value_must_be(env, value, "", "{'success':true}");
        json_decref(value);
        expect_marks(env, id, steps[i].marks);
    }
}

static void test_typing_can_be_waited_for(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_one(env, id);
    assert_true(test_env_check(env, "typing=0&timeout_ms=0"));
    backend_do(env, "markNotificationRead", "{'notificationId':'%s'}", id);
    assert_false(test_env_check(env, "typing=0&timeout_ms=0"));
    backend_do(env, "markNotificationDeliveryEnded", "{'notificationId':'%s'}", id);
    assert_true(test_env_check(env, "typing=0&timeout_ms=0"));
}

static void test_foreign_notifications_do_not_exist(void **state)
{
    static const char *const functions[] = {
        "markNotificationRead", "markNotificationDeliveryEnded", "markNotificationDelivered"};
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'accounts':[{'name':'Other','secret':'s'}],'agents':[{'slug':'spy','account':'Other'}],"
        "'tasks':[{'title':'secret','account':'Other'}]}");
    json_t *answer = backend_control(env, "notify", "{'agent':'spy','task':'secret'}");
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        backend_refuses(env, "Not found: Notification does not exist", functions[i],
            "{'notificationId':'%s'}", value_string(answer, "id"));
        backend_refuses(env, "Not found: Notification does not exist", functions[i],
            "{'notificationId':'js000000000000000000000000000000'}");
    }
    json_decref(answer);
}

/* The limit of a list of 600, and how many rows it returns. */
static const struct {
    const char *arguments;
    size_t rows;
} limits[] = {
    {"{}", 100},
    {"{'limit':50}", 50},
    {"{'limit':2.9}", 2},
    {"{'limit':0}", 1},
    {"{'limit':-5}", 1},
    {"{'limit':500}", MAX_ROWS},
    {"{'limit':8000}", MAX_ROWS},
};

static void test_list_is_clamped(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, ROWS, 3));
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        json_t *list =
            backend_value(env, "listUndeliveredNotifications", "%s", limits[i].arguments);
        if (json_array_size(list) != limits[i].rows)
            fail_msg("%s: %zu rows", limits[i].arguments, json_array_size(list));
        json_decref(list);
    }
}

static void seed_requests(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','name':'Jarvis'},{'slug':'friday'},{'slug':'edith'},"
        "{'slug':'mute','flags':{'canMentionAgents':false}}],'tasks':[{'title':'work'}]}");
}

static const struct {
    const char *arguments;
    const char *error;
} refused_requests[] = {
    {"'requesterAgentId':'jx000000000000000000000000000000','recipientSlugs':[],'message':''",
        "Not found: Agent does not exist"},
    {"'requesterAgentId':'$mute','recipientSlugs':[],'message':''",
        "Forbidden: Agent may not request responses"},
    {"'requesterAgentId':'$jarvis','message':'',"
     "'recipientSlugs':['a','b','c','d','e','f','g','h','i','j','k']",
        "Too many recipients: max 10 allowed per request"},
    {"'requesterAgentId':'$jarvis','recipientSlugs':[],'message':' \\n '", "Message is required"},
    {"'requesterAgentId':'$jarvis','recipientSlugs':[],'message':'x'",
        "Invalid recipient slugs: none provided"},
    {"'requesterAgentId':'$jarvis','recipientSlugs':['friday','Foo ','bar'],'message':'x'",
        "Unknown recipient slugs: Foo , bar"},
    {"'requesterAgentId':'$jarvis','recipientSlugs':['@friday'],'message':'x'",
        "Unknown recipient slugs: @friday"},
    {"'requesterAgentId':'$jarvis','recipientSlugs':['jarvis'],'message':'x'",
        "No valid recipients after filtering"},
};

static void test_refused_requests(void **state)
{
    struct test_env *env = *state;
    seed_requests(env);
    for (size_t i = 0; i < sizeof refused_requests / sizeof refused_requests[0]; i++)
        backend_refuses(env, refused_requests[i].error, "createResponseRequestNotifications",
            "{'taskId':'$work',%s}", refused_requests[i].arguments);
    backend_refuses(env, "Not found: Task does not exist", "createResponseRequestNotifications",
        "{'taskId':'jd000000000000000000000000000000','requesterAgentId':'$jarvis',"
        "'recipientSlugs':['friday'],'message':'x'}");
}

static void test_length_of_a_request_is_that_of_the_trimmed_one(void **state)
{
    struct test_env *env = *state;
    char message[1002];
    seed_requests(env);
    memset(message, 'x', 1001);
    message[1001] = '\0';
    backend_refuses(env, "Message too long: max 1000 characters allowed",
        "createResponseRequestNotifications",
        "{'taskId':'$work','requesterAgentId':'$jarvis','recipientSlugs':['friday'],'message':"
        "'%s'}",
        message);
    backend_do(env, "createResponseRequestNotifications",
        "{'taskId':'$work','requesterAgentId':'$jarvis','recipientSlugs':['friday'],'message':"
        "'  %s  '}",
        message + 1);
}

/* Asks friday as an agent; returns how many notifications that made. */
static size_t ask_friday(struct test_env *env, const char *requester)
{
    json_t *value = backend_value(env, "createResponseRequestNotifications",
        "{'taskId':'$work','requesterAgentId':'$%s','recipientSlugs':[' FRIDAY '],"
        "'message':' how far? '}",
        requester);
    size_t count = json_array_size(value_at(value, "notificationIds"));
    json_decref(value);
    return count;
}

static json_t *last_notification(struct test_env *env)
{
    json_t *all = board_documents(env, "notifications");
    json_t *last = json_incref(json_array_get(all, json_array_size(all) - 1));
    json_decref(all);
    return last;
}

static void test_request_is_a_notification_without_a_message(void **state)
{
    struct test_env *env = *state;
    seed_requests(env);
    assert_int_equal(ask_friday(env, "jarvis"), 1);
    json_t *last = last_notification(env);
    value_must_be(env, last, "type", "'response_request'");
    value_must_be(env, last, "recipientId", "'$friday'");
    value_must_be(env, last, "title", "'Jarvis requested a response'");
    value_must_be(env, last, "body", "' how far? '");
    value_must_be(env, last, "messageId", "");
    value_must_be(env, last, "taskId", "'$work'");
    json_decref(last);
}

static void test_requests_are_deduplicated(void **state)
{
    struct test_env *env = *state;
    seed_requests(env);
    assert_int_equal(ask_friday(env, "jarvis"), 1);
    /* Undelivered: nobody else's request comes through either. */
    assert_int_equal(ask_friday(env, "jarvis"), 0);
    assert_int_equal(ask_friday(env, "edith"), 0);
    json_t *last = last_notification(env);
    backend_do(
        env, "markNotificationDelivered", "{'notificationId':'%s'}", value_string(last, "_id"));
    json_decref(last);
    /* Delivered, but less than four hours old. */
    assert_int_equal(ask_friday(env, "jarvis"), 0);
    backend_set_up(env, "message", "{'task':'work','content':'done','author':'friday'}");
    assert_int_equal(ask_friday(env, "jarvis"), 1);
    /* Undelivered again, but answered. */
    backend_set_up(env, "message", "{'task':'work','content':'done','author':'friday'}");
    assert_int_equal(ask_friday(env, "edith"), 1);
}

static void test_old_requests_count_from_their_creation(void **state)
{
    struct test_env *env = *state;
    seed_requests(env);
    double now_ms = (double)time(NULL) * 1000;
    json_t *old = backend_control(env, "notify",
        "{'agent':'friday','task':'work','type':'response_request','createdAt':%f}",
        now_ms - 4.1 * HOUR_MS);
    assert_int_equal(ask_friday(env, "jarvis"), 0);
    backend_do(
        env, "markNotificationDelivered", "{'notificationId':'%s'}", value_string(old, "id"));
    assert_int_equal(ask_friday(env, "jarvis"), 1);
    json_decref(old);
}

static void test_control_asks_for_an_agent(void **state)
{
    struct test_env *env = *state;
    seed_requests(env);
    json_t *answer = backend_control(env, "request",
        "{'from':'jarvis','task':'work','to':['friday','edith'],'message':'how far?'}");
    assert_int_equal(json_array_size(value_at(answer, "notificationIds")), 2);
    json_decref(answer);
}

/* Reports a status as of some seconds ago. */
static void report_status(struct test_env *env, const char *status, int ago_s)
{
    backend_do(env, "updateRuntimeStatus",
        "{'status':'%s','config':{'dropletId':'d','ipAddress':'i','lastHealthCheck':%f}}", status,
        ((double)time(NULL) - ago_s) * 1000);
}

/* Checks the statuses of account and agent, and how many notices the user got. */
static void expect_presence(
    struct test_env *env, const char *account, const char *agent, size_t notices)
{
    json_t *accounts = board_documents(env, "accounts");
    json_t *agents = board_documents(env, "agents");
    json_t *all = board_documents(env, "notifications");
    size_t count = 0;
    size_t index;
    const json_t *row;
    json_array_foreach (all, index, row) {
        count += strncmp(value_string(row, "type"), "runtime_", 8) == 0;
    }
    assert_string_equal(value_string(accounts, "0.runtimeStatus"), account);
    assert_string_equal(value_string(agents, "0.status"), agent);
    assert_int_equal(count, notices);
    json_decref(accounts);
    json_decref(agents);
    json_decref(all);
}

static void test_going_offline_ends_everything(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_one(env, id);
    report_status(env, "online", 0);
    backend_do(env, "updateAgentHeartbeat",
        "{'agentId':'$jarvis','status':'online','currentTaskId':'$work'}");
    backend_do(env, "markNotificationRead", "{'notificationId':'%s'}", id);
    expect_presence(env, "online", "online", 1);
    report_status(env, "degraded", 0);
    expect_presence(env, "degraded", "online", 1);
    expect_marks(env, id, "r");
    report_status(env, "offline", 0);
    expect_presence(env, "offline", "offline", 2);
    expect_marks(env, id, "");
    report_status(env, "degraded", 0);
    report_status(env, "online", 0);
    expect_presence(env, "online", "offline", 2);
}

/* A runtime's last report, and whether the sweep takes it offline. */
static const struct {
    const char *status;
    int ago_s;
    int swept;
} silences[] = {
    {"online", 0, 0},
    {"online", 85, 0},
    {"online", 95, 1},
    {"degraded", 95, 1},
    {"error", 1000, 0},
    {"provisioning", 1000, 0},
};

static void check_silence(struct test_env *env, size_t row)
{
    char id[ID_BYTES];
    backend_set_up(env, "reset", "{}");
    seed_one(env, id);
    report_status(env, silences[row].status, silences[row].ago_s);
    json_t *answer = backend_control(env, "sweep", "{}");
    assert_int_equal(json_integer_value(value_at(answer, "swept")), silences[row].swept);
    json_decref(answer);
    json_t *accounts = board_documents(env, "accounts");
    json_t *runtimes = board_documents(env, "runtimes");
    const char *status = silences[row].swept ? "offline" : silences[row].status;
    assert_string_equal(value_string(accounts, "0.runtimeStatus"), status);
    assert_string_equal(value_string(runtimes, "0.status"), status);
    assert_non_null(value_at(accounts, "0.runtimeConfig.lastHealthCheck"));
    assert_int_equal(value_at(runtimes, "0.lastHealthCheck") == NULL, silences[row].swept);
    json_decref(accounts);
    json_decref(runtimes);
}

static void test_silent_runtimes_are_taken_offline(void **state)
{
    for (size_t i = 0; i < sizeof silences / sizeof silences[0]; i++)
        check_silence(*state, i);
}

static void test_account_that_never_reported_is_left_alone(void **state)
{
    struct test_env *env = *state;
    backend_do(env, "updateRuntimeStatus", "{'status':'online'}");
    json_t *answer = backend_control(env, "sweep", "{}");
    value_must_be(env, answer, "swept", "0");
    json_decref(answer);
}

/* Pending upgrades as stored, and whether they are returned. */
static void test_malformed_upgrade_is_none(void **state)
{
    struct test_env *env = *state;
    json_t *row = backend_control(env, "upgrade", "{}");
    json_t *pending = backend_value(env, "getPendingUpgrade", "{}");
    value_must_be(env, pending, "strategy", "'immediate'");
    json_decref(pending);
    backend_set_up(env, "set", "{'id':'%s','fields':{'pendingUpgrade':{'strategy':'immediate'}}}",
        value_string(row, "_id"));
    pending = backend_value(env, "getPendingUpgrade", "{}");
    assert_true(json_is_null(pending));
    json_decref(pending);
    json_decref(row);
}

/* An error as it is reported, and as the history has it ("": not at all). */
static const struct {
    const char *reported;
    const char *stored;
} upgrade_errors[] = {
    {"  it broke  \\nat line 3", "'it broke'"},
    {"\\nat line 3", ""},
};

static void test_first_line_of_an_error_is_stored(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "upgrade", "{}");
    for (size_t i = 0; i < sizeof upgrade_errors / sizeof upgrade_errors[0]; i++) {
        char path[48];
        backend_do(env, "recordUpgradeResult",
            "{'status':'failed','fromOpenclawVersion':'a','toOpenclawVersion':'b',"
            "'fromRuntimeVersion':'c','toRuntimeVersion':'d','error':'%s'}",
            upgrade_errors[i].reported);
        json_t *runtimes = board_documents(env, "runtimes");
        snprintf(path, sizeof path, "0.upgradeHistory.%zu.error", i);
        value_must_be(env, runtimes, path, upgrade_errors[i].stored);
        json_decref(runtimes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_marks),
        V1(test_typing_can_be_waited_for),
        V1(test_foreign_notifications_do_not_exist),
        V1(test_list_is_clamped),
        V1(test_refused_requests),
        V1(test_length_of_a_request_is_that_of_the_trimmed_one),
        V1(test_request_is_a_notification_without_a_message),
        V1(test_requests_are_deduplicated),
        V1(test_old_requests_count_from_their_creation),
        V1(test_control_asks_for_an_agent),
        V1(test_going_offline_ends_everything),
        V1(test_silent_runtimes_are_taken_offline),
        V1(test_account_that_never_reported_is_left_alone),
        V1(test_malformed_upgrade_is_none),
        V1(test_first_line_of_an_error_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
