/* Messages in version 1 of the backend: mentions, thread updates, coalescing, idempotency. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/board.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

enum { MAX_UNITS = 100000 };

/* A board with an orchestrator, agents of all sorts of names, and a task that nobody follows. */
static void seed_board(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'users':[{'name':'Bob Q','email':'bobby@example.com'}],"
        "'agents':[{'slug':'boss','name':'Boss','orchestrator':true},"
        "{'slug':'jarvis','name':'Jarvis Two'},{'slug':'front-end','name':'Dev'},"
        "{'slug':'front','name':'Front Desk'},{'slug':'edith','name':'Edith','role':'QA lead'},"
        "{'slug':'mute','name':'Mute','flags':{'canMentionAgents':false}}],"
        "'tasks':[{'title':'work'}]}");
}

/* Whom a user's message on the task mentions, as a list of slugs and names. */
static const struct {
    const char *content;
    const char *mentioned;
} mentions[] = {
    {"hello", "[]"},
    {"@jarvis", "['$jarvis']"},
    {"@JARVIS, please", "['$jarvis']"},
    {"@jarvis @'Jarvis Two'", "['$jarvis']"},
    {"@Jarvis Two and more", "['$jarvis']"},
    {"a@jarvis.com", "['$jarvis']"},
    {"@jarvis2", "[]"},
    {"@front-end", "['$front-end']"},
    {"@front", "['$front']"},
    {"@front desk", "['$front']"},
    {"@front-enders", "[]"},
    {"@bobby and @bob q", "['$Bob Q']"},
    {"@qa", "['$edith']"},
    {"`@jarvis` @front", "['$front']"},
    {"```\\n@jarvis\\n``` @front", "['$front']"},
    {"> @jarvis\\n@front", "['$front']"},
    {"@nobody", "[]"},
    {"@all", "['$Bob Q','$boss','$jarvis','$front-end','$front','$edith','$mute']"},
};

/* The ids that a message mentions, as a new array. */
static json_t *mentioned_ids(const json_t *message)
{
    json_t *ids = json_array();
    size_t index;
    const json_t *mention;
    json_array_foreach (json_object_get(message, "mentions"), index, mention) {
        json_array_append(ids, json_object_get(mention, "id"));
    }
    return ids;
}

static void check_mentions(struct test_env *env, const char *content, const char *mentioned)
{
    char quoted[128];
    size_t length = 0;
    /* A quote within a string is written as \" in the end. */
    for (const char *at = content; *at != '\0'; at++)
        length += (size_t)snprintf(
            quoted + length, sizeof quoted - length, *at == '\'' ? "\\'" : "%c", *at);
    backend_set_up(env, "message", "{'task':'work','content':'%s'}", quoted);
    json_t *messages = board_documents(env, "messages");
    json_t *ids = mentioned_ids(json_array_get(messages, json_array_size(messages) - 1));
    value_must_be(env, ids, "", mentioned);
    json_decref(ids);
    json_decref(messages);
}

static void test_mentions(void **state)
{
    seed_board(*state);
    for (size_t i = 0; i < sizeof mentions / sizeof mentions[0]; i++)
        check_mentions(*state, mentions[i].content, mentions[i].mentioned);
}

static void test_mention_has_the_slug(void **state)
{
    struct test_env *env = *state;
    seed_board(env);
    backend_set_up(env, "message", "{'task':'work','content':'@front desk @bobby'}");
    json_t *messages = board_documents(env, "messages");
    value_must_be(env, messages, "0.mentions",
        "[{'type':'agent','id':'$front','name':'Front Desk','slug':'front'},"
        "{'type':'user','id':'$Bob Q','name':'Bob Q'}]");
    json_decref(messages);
}

/* Version 0 mentions by spelling, version 1 by whom they mean. */
static void test_two_spellings_notify_as_often_as_the_version_does(void **state)
{
    struct test_env *env = *state;
    bool is_v1 = env->options.backend != NULL;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','name':'Jarvis Two'}],'tasks':[{'title':'work'}]}");
    json_t *answer = backend_control(
        env, "message", "{'task':'work','content':'@jarvis and @\\'Jarvis Two\\''}");
    assert_int_equal(json_array_size(value_at(answer, "notifications")), is_v1 ? 1 : 2);
    json_decref(answer);
}

/* The undelivered notifications to agents as a new array of "type slug" strings, oldest first. */
static json_t *undelivered(struct test_env *env)
{
    json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
    json_t *agents = board_documents(env, "agents");
    json_t *described = json_array();
    size_t index;
    const json_t *row;
    json_array_foreach (list, index, row) {
        const json_t *agent;
        size_t at;
        json_array_foreach (agents, at, agent) {
            if (json_equal(json_object_get(agent, "_id"), json_object_get(row, "recipientId")))
                json_array_append_new(described,
                    json_sprintf("%s %s", value_string(row, "type"), value_string(agent, "slug")));
        }
    }
    json_decref(agents);
    json_decref(list);
    return described;
}

static void expect_undelivered(struct test_env *env, const char *text)
{
    json_t *is = undelivered(env);
    value_must_be(env, is, "", text);
    json_decref(is);
}

static void deliver_all(struct test_env *env)
{
    json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
    size_t index;
    const json_t *row;
    json_array_foreach (list, index, row) {
        backend_do(
            env, "markNotificationDelivered", "{'notificationId':'%s'}", value_string(row, "_id"));
    }
    json_decref(list);
}

/* What a message on a task followed by jarvis, front and the orchestrator notifies agents of. */
static const struct {
    const char *set_up; /* changes before, as {path: body} */
    const char *author;
    const char *content;
    const char *notified;
} fan_out[] = {
    {"{}", "Ada", "hello", "['thread_update jarvis','thread_update boss','thread_update front']"},
    {"{}", "jarvis", "hello", "['thread_update boss','thread_update front']"},
    {"{}", "boss", "hello", "['thread_update jarvis','thread_update front']"},
    {"{}", "Ada", "@jarvis hello", "['mention jarvis']"},
    {"{}", "Ada", "@edith hello", "['mention edith']"},
    {"{}", "Ada", "@bobby hello",
        "['thread_update jarvis','thread_update boss','thread_update front']"},
    {"{}", "jarvis", "@jarvis to myself", "['mention jarvis']"},
    {"{}", "mute", "@front hello",
        "['thread_update jarvis','thread_update boss','thread_update front']"},
    {"{'status':{'task':'work','status':'review'}}", "Ada", "hello",
        "['thread_update jarvis','thread_update boss','thread_update front']"},
    {"{'status':{'task':'work','status':'done'}}", "Ada", "hello", "[]"},
    {"{'status':{'task':'work','status':'blocked'}}", "Ada", "hello", "[]"},
    {"{'status':{'task':'work','status':'done'}}", "Ada", "@front", "['mention front']"},
    {"{'status':{'task':'work','status':'archived'}}", "Ada", "hello",
        "['thread_update jarvis','thread_update boss','thread_update front']"},
};

static void seed_followers(struct test_env *env)
{
    seed_board(env);
    backend_set_up(env, "assign", "{'task':'work','agent':'jarvis'}");
    backend_set_up(env, "assign", "{'task':'work','agent':'front'}");
    deliver_all(env);
}

static void check_fan_out(struct test_env *env, size_t row)
{
    const char *path;
    json_t *body;
    backend_set_up(env, "reset", "{}");
    seed_followers(env);
    json_t *set_up = backend_json(env, fan_out[row].set_up);
    json_object_foreach (set_up, path, body) {
        char whole[64];
        snprintf(whole, sizeof whole, "/sandbox/%s", path);
        json_decref(test_env_post(env, whole, json_incref(body)));
    }
    json_decref(set_up);
    deliver_all(env);
    backend_set_up(env, "message", "{'task':'work','content':'%s','author':'%s'}",
        fan_out[row].content, fan_out[row].author);
    expect_undelivered(env, fan_out[row].notified);
}

static void test_whom_a_message_notifies(void **state)
{
    for (size_t i = 0; i < sizeof fan_out / sizeof fan_out[0]; i++)
        check_fan_out(*state, i);
}

static void test_suppression_spares_agents_only(void **state)
{
    struct test_env *env = *state;
    seed_followers(env);
    backend_set_up(env, "message", "{'task':'work','content':'I follow'}");
    deliver_all(env);
    backend_do(env, "createMessageFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','content':'@edith @bobby look',"
        "'suppressAgentNotifications':true}");
    expect_undelivered(env, "[]");
    json_t *all = board_documents(env, "notifications");
    size_t count = json_array_size(all);
    value_must_be(env, json_array_get(all, count - 2), "type", "'mention'");
    value_must_be(env, json_array_get(all, count - 2), "recipientId", "'$Bob Q'");
    value_must_be(env, json_array_get(all, count - 1), "type", "'thread_update'");
    value_must_be(env, json_array_get(all, count - 1), "recipientId", "'$Ada'");
    json_decref(all);
}

static void test_chat_notifies_the_orchestrator_and_the_mentioned(void **state)
{
    struct test_env *env = *state;
    seed_board(env);
    backend_set_up(env, "seed", "{'tasks':[{'title':'chat','orchestratorChat':true}]}");
    backend_set_up(env, "message", "{'task':'chat','content':'@jarvis are you there'}");
    expect_undelivered(env, "['mention jarvis','thread_update boss']");
    deliver_all(env);
    backend_set_up(env, "message", "{'task':'chat','content':'again'}");
    expect_undelivered(env, "['thread_update boss']");
    deliver_all(env);
    backend_do(env, "createMessageFromAgent",
        "{'agentId':'$boss','taskId':'$chat','content':'@jarvis and @bobby, come'}");
    expect_undelivered(env, "[]");
    json_t *messages = board_documents(env, "messages");
    value_must_be(env, messages, "2.mentions", "[]");
    json_decref(messages);
}

/* The only undelivered notification; a new reference. */
static json_t *only_undelivered(struct test_env *env)
{
    json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
    assert_int_equal(json_array_size(list), 1);
    json_t *row = json_incref(json_array_get(list, 0));
    json_decref(list);
    return row;
}

static void seed_one_follower(struct test_env *env)
{
    backend_set_up(
        env, "seed", "{'agents':[{'slug':'jarvis'},{'slug':'edith'}],'tasks':[{'title':'work'}]}");
    backend_set_up(env, "assign", "{'task':'work','agent':'jarvis'}");
    deliver_all(env);
}

static void test_undelivered_update_is_patched(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    json_t *first = backend_control(env, "message", "{'task':'work','content':'first'}");
    json_t *before = only_undelivered(env);
    backend_do(env, "markNotificationRead", "{'notificationId':'%s'}", value_string(before, "_id"));
    json_t *read = only_undelivered(env);
    json_t *second =
        backend_control(env, "message", "{'task':'work','content':'second','author':'edith'}");
    json_t *after = only_undelivered(env);
    assert_string_equal(value_string(after, "_id"), value_string(before, "_id"));
    assert_string_equal(value_string(before, "messageId"), value_string(first, "id"));
    assert_string_equal(value_string(after, "messageId"), value_string(second, "id"));
    assert_string_equal(value_string(second, "patched.0"), value_string(before, "_id"));
    value_must_be(env, after, "title", "'edith replied'");
    assert_true(json_equal(value_at(after, "readAt"), value_at(read, "readAt")));
    assert_true(json_number_value(value_at(after, "createdAt")) >=
                json_number_value(value_at(before, "createdAt")));
    json_decref(first);
    json_decref(before);
    json_decref(read);
    json_decref(second);
    json_decref(after);
}

/* A patched notification moves to its new place in the list, behind what came meanwhile. */
static void test_patched_update_is_listed_by_its_new_time(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    backend_set_up(env, "message", "{'task':'work','content':'first'}");
    json_t *update = only_undelivered(env);
    backend_set_up(env, "notify", "{'agent':'edith','task':'work','createdAt':%f}",
        json_number_value(value_at(update, "createdAt")));
    expect_undelivered(env, "['thread_update jarvis','assignment edith']");
    backend_set_up(env, "message", "{'task':'work','content':'second'}");
    expect_undelivered(env, "['assignment edith','thread_update jarvis']");
    json_decref(update);
}

static void test_delivered_or_mentioned_is_not_patched(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    backend_set_up(env, "message", "{'task':'work','content':'first'}");
    json_t *first = only_undelivered(env);
    backend_set_up(env, "message", "{'task':'work','content':'for @edith alone'}");
    json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
    value_must_be(env, list, "1.type", "'mention'");
    assert_true(json_equal(json_array_get(list, 0), first));
    json_decref(list);
    deliver_all(env);
    backend_set_up(env, "message", "{'task':'work','content':'third'}");
    list = backend_value(env, "listUndeliveredNotifications", "{}");
    /* One for jarvis, one for edith, who follows since she was mentioned. */
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    json_decref(first);
}

/* The race that a runtime has to know: what is written while a delivery is in flight. */
static void test_mark_swallows_a_patch(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    backend_set_up(env, "message", "{'task':'work','content':'first'}");
    json_t *row = only_undelivered(env);
    const char *id = value_string(row, "_id");
    backend_set_up(env, "message", "{'task':'work','content':'second'}");
    json_t *reply = backend_value(env, "createMessageFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','content':'to first','sourceNotificationId':'%s'}",
        id);
    backend_do(env, "markNotificationDelivered", "{'notificationId':'%s'}", id);
    expect_undelivered(env, "[]");
    json_t *again = backend_value(env, "createMessageFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','content':'to second','sourceNotificationId':'%s'}",
        id);
    assert_true(json_equal(reply, again));
    json_t *context =
        backend_value(env, "getNotificationForDelivery", "{'notificationId':'%s'}", id);
    value_must_be(env, context, "message.content", "'second'");
    json_decref(context);
    json_decref(again);
    json_decref(reply);
    json_decref(row);
}

static void test_message_touches_the_task(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    json_t *before = board_documents(env, "tasks");
    value_must_be(env, before, "0.lastMessageAt", "");
    backend_do(
        env, "createMessageFromAgent", "{'agentId':'$jarvis','taskId':'$work','content':'hello'}");
    json_t *after = board_documents(env, "tasks");
    assert_true(json_is_number(value_at(after, "0.lastMessageAt")));
    assert_true(json_number_value(value_at(after, "0.updatedAt")) >=
                json_number_value(value_at(before, "0.updatedAt")));
    json_decref(before);
    json_decref(after);
}

/* Posts count copies of a character as jarvis; returns whether it was accepted. */
static bool accepts_content(
    struct test_env *env, const char *character, size_t count, const char *source)
{
    size_t length = strlen(character);
    char *content = malloc(count * length + 1);
    assert_non_null(content);
    for (size_t i = 0; i < count; i++)
        memcpy(content + i * length, character, length);
    content[count * length] = '\0';
    json_t *arguments = backend_json(env, "{'agentId':'$jarvis','taskId':'$work'}");
    json_object_set_new(arguments, "accountId", json_string(TEST_ACCOUNT));
    json_object_set_new(arguments, "serviceToken", json_string(TEST_TOKEN));
    json_object_set_new(arguments, "content", json_string(content));
    if (source != NULL)
        json_object_set_new(arguments, "sourceNotificationId", json_string(source));
    free(content);
    json_t *answer = test_env_post(env, "/api/action",
        json_pack(
            "{s:s, s:o}", "path", "service/actions:createMessageFromAgent", "args", arguments));
    const char *error = json_string_value(json_object_get(answer, "errorMessage"));
    bool accepted = error == NULL;
    if (!accepted)
        assert_non_null(strstr(error, "Message content too long (max 100000 characters)"));
    json_decref(answer);
    return accepted;
}

static void test_length_counts_utf16_units(void **state)
{
    struct test_env *env = *state;
    seed_one_follower(env);
    assert_true(accepts_content(env, "x", MAX_UNITS, NULL));
    assert_false(accepts_content(env, "x", MAX_UNITS + 1, NULL));
    assert_true(accepts_content(env, "ä", MAX_UNITS, NULL));
    assert_true(accepts_content(env, "\U0001F600", MAX_UNITS / 2, NULL));
    assert_false(accepts_content(env, "\U0001F600", MAX_UNITS / 2 + 1, NULL));
}

static void test_length_is_checked_before_idempotency(void **state)
{
    struct test_env *env = *state;
    const char *source = "js000000000000000000000000000000";
    seed_one_follower(env);
    assert_true(accepts_content(env, "x", 1, source));
    assert_true(accepts_content(env, "y", 2, source));
    assert_false(accepts_content(env, "y", MAX_UNITS + 1, source));
    json_t *messages = board_documents(env, "messages");
    assert_int_equal(json_array_size(messages), 1);
    value_must_be(env, messages, "0.content", "'x'");
    json_decref(messages);
}

/* Refusals of the functions on messages, in the order of their checks. */
static const struct {
    const char *function;
    const char *arguments;
    const char *error;
} refusals[] = {
    {"createMessageFromAgent",
        "{'agentId':'jx000000000000000000000000000000','taskId':'$work','content':'x'}",
        "Not found: Agent does not exist"},
    {"createMessageFromAgent", "{'agentId':'$spy','taskId':'$work','content':'x'}",
        "Forbidden: Agent belongs to different account"},
    {"createMessageFromAgent",
        "{'agentId':'$jarvis','taskId':'jd000000000000000000000000000000','content':'x'}",
        "Not found: Task does not exist"},
    {"createMessageFromAgent", "{'agentId':'$jarvis','taskId':'$secret','content':'x'}",
        "Forbidden: Task belongs to different account"},
    {"createMessageFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','content':'x','attachments':[{'name':'a.png',"
        "'storageId':'kg000000000000000000000000000000','type':'image/png','size':1}]}",
        "Attachment \"a.png\": upload not registered for this task"},
    {"createTaskMessageForAgentTool", "{'agentId':'$jarvis','taskId':'$secret','content':'x'}",
        "Forbidden: Only the orchestrator can post task messages"},
    {"createTaskMessageForAgentTool", "{'agentId':'$boss','taskId':'$secret','content':'x'}",
        "Forbidden: Task belongs to different account"},
    {"listTaskThreadForAgentTool", "{'agentId':'$jarvis','taskId':'$work'}",
        "Forbidden: Only the orchestrator can read threads"},
    {"listTaskThreadForAgentTool", "{'agentId':'$boss','taskId':'$work','limit':-1}",
        "Arg 1 `n` to `take` must be a non-negative integer"},
    {"listTaskThreadForAgentTool", "{'agentId':'$boss','taskId':'$work','limit':2.5}",
        "Arg 1 `n` to `take` must be a non-negative integer"},
};

static void test_refusals(void **state)
{
    struct test_env *env = *state;
    seed_board(env);
    backend_set_up(env, "seed",
        "{'accounts':[{'name':'Other','secret':'s'}],'agents':[{'slug':'spy','account':'Other'}],"
        "'tasks':[{'title':'secret','account':'Other'}]}");
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        backend_refuses(env, refusals[i].error, refusals[i].function, "%s", refusals[i].arguments);
}

static void test_orchestrator_reads_and_writes_threads(void **state)
{
    struct test_env *env = *state;
    seed_board(env);
    backend_do(env, "createTaskMessageForAgentTool",
        "{'agentId':'$boss','taskId':'$work','content':'@jarvis start'}");
    expect_undelivered(env, "['mention jarvis']");
    backend_set_up(env, "message", "{'task':'work','content':'two'}");
    json_t *thread = backend_value(
        env, "listTaskThreadForAgentTool", "{'agentId':'$boss','taskId':'$work','limit':1}");
    assert_int_equal(json_array_size(thread), 1);
    value_must_be(env, thread, "0.content", "'two'");
    json_decref(thread);
    thread = backend_value(env, "listTaskThreadForAgentTool",
        "{'agentId':'$boss','taskId':'jd000000000000000000000000000000'}");
    value_must_be(env, thread, "", "[]");
    json_decref(thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_mentions),
        V1(test_mention_has_the_slug),
        TEST_IN_ENV(test_two_spellings_notify_as_often_as_the_version_does),
        V1(test_two_spellings_notify_as_often_as_the_version_does),
        V1(test_whom_a_message_notifies),
        V1(test_suppression_spares_agents_only),
        V1(test_chat_notifies_the_orchestrator_and_the_mentioned),
        V1(test_undelivered_update_is_patched),
        V1(test_patched_update_is_listed_by_its_new_time),
        V1(test_delivered_or_mentioned_is_not_patched),
        V1(test_mark_swallows_a_patch),
        V1(test_message_touches_the_task),
        V1(test_length_counts_utf16_units),
        V1(test_length_is_checked_before_idempotency),
        V1(test_refusals),
        V1(test_orchestrator_reads_and_writes_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
