/* What version 1's getNotificationForDelivery tells about a notification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/board.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

/* The squad: an orchestrator and two agents; a task of jarvis, made by the board's user Ada. */
static void seed_squad(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'vision','name':'Vision','role':'Analyst'},"
        "{'slug':'boss','name':'Boss','role':'Squad lead','orchestrator':true},"
        "{'slug':'jarvis','name':'Jarvis','role':'Developer'}],"
        "'tasks':[{'title':'work','assign':['jarvis']}]}");
}

static json_t *read_context(struct test_env *env, const char *notification_id)
{
    return backend_value(
        env, "getNotificationForDelivery", "{'notificationId':'%s'}", notification_id);
}

/* Posts a message and copies the id of the only notification to an agent that it makes. */
static void post(struct test_env *env, const char *content, char id[static ID_BYTES])
{
    json_t *answer = backend_control(env, "message", "{'task':'work','content':'%s'}", content);
    assert_int_equal(json_array_size(value_at(answer, "notifications")), 1);
    text_copy(id, ID_BYTES, value_string(answer, "notifications.0"));
    json_decref(answer);
}

static void notify(struct test_env *env, const char *body, char id[static ID_BYTES])
{
    json_t *answer = backend_control(env, "notify", "%s", body);
    text_copy(id, ID_BYTES, value_string(answer, "id"));
    json_decref(answer);
}

static void test_context_of_a_mention(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    post(env, "hello @jarvis", id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "notification.type", "'mention'");
    value_must_be(env, context, "agent.slug", "'jarvis'");
    value_must_be(env, context, "task._id", "'$work'");
    value_must_be(env, context, "message.content", "'hello @jarvis'");
    value_must_be(env, context, "thread.0.content", "'hello @jarvis'");
    value_must_be(env, context, "thread.0.authorName", "'Ada'");
    value_must_be(env, context, "thread.0.authorId", "'$Ada'");
    value_must_be(env, context, "thread.1", "");
    value_must_be(env, context, "sourceNotificationType", "null");
    value_must_be(env, context, "orchestratorAgentId", "'$boss'");
    value_must_be(
        env, context, "primaryUserMention", "{'id':'$Ada','name':'Ada','email':'ada@example.com'}");
    value_must_be(env, context, "mentionableAgents.0.slug", "'boss'");
    value_must_be(env, context, "mentionableAgents.1",
        "{'id':'$jarvis','slug':'jarvis','name':'Jarvis','role':'Developer'}");
    value_must_be(env, context, "mentionableAgents.3", "");
    value_must_be(env, context, "assignedAgents.0.slug", "'jarvis'");
    value_must_be(env, context, "assignedAgents.1", "");
    value_must_be(env, context, "effectiveBehaviorFlags",
        "{'canCreateTasks':false,'canModifyTaskStatus':true,'canCreateDocuments':true,"
        "'canMentionAgents':true,'canReviewTasks':false,'canMarkDone':false}");
    value_must_be(env, context, "repositoryDoc", "null");
    value_must_be(env, context, "globalBriefingDoc", "null");
    value_must_be(env, context, "taskOverview", "null");
    json_decref(context);
}

static void test_flags_overlay_field_by_field(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    backend_set_up(env, "set",
        "{'id':'$Sandbox','fields':{'settings':{'agentDefaults':{'behaviorFlags':"
        "{'canCreateTasks':true,'canMarkDone':true}}}}}");
    backend_set_up(env, "set",
        "{'id':'$jarvis','fields':{'openclawConfig':{'behaviorFlags':"
        "{'canMarkDone':false,'requiresApprovalForActions':['deploy']}}}}");
    post(env, "hello @jarvis", id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "effectiveBehaviorFlags",
        "{'canCreateTasks':true,'canModifyTaskStatus':true,'canCreateDocuments':true,"
        "'canMentionAgents':true,'canReviewTasks':false,'canMarkDone':false,"
        "'requiresApprovalForActions':['deploy']}");
    json_decref(context);
}

/* The thread of a context: its last 50 messages, cut at 2000 UTF-16 units. */
static void test_thread_is_cut(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char content[2002 * 2];
    seed_squad(env);
    for (int i = 0; i < 50; i++)
        backend_set_up(env, "message", "{'task':'work','content':'message %d'}", i);
    memset(content, 'x', 1999);
    snprintf(content + 1999, sizeof content - 1999, "\U0001F600 @jarvis");
    post(env, content, id);
    json_t *context = read_context(env, id);
    assert_int_equal(json_array_size(value_at(context, "thread")), 50);
    value_must_be(env, context, "thread.0.content", "'message 1'");
    const char *last = value_string(context, "thread.49.content");
    assert_int_equal(strlen(last), 1999 + strlen("…"));
    assert_string_equal(last + 1999, "…");
    assert_string_equal(value_string(context, "message.content"), content);
    json_decref(context);
}

static void test_source_type_tells_an_answer_to_an_answer(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    post(env, "hello @vision", id);
    backend_do(env, "createMessageFromAgent",
        "{'agentId':'$vision','taskId':'$work','content':'done','sourceNotificationId':'%s'}", id);
    json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
    /* The assignment, vision's mention, and the updates of the followers boss and jarvis. */
    assert_int_equal(json_array_size(list), 4);
    for (size_t i = 2; i < 4; i++) {
        const json_t *row = json_array_get(list, i);
        json_t *context = read_context(env, value_string(row, "_id"));
        value_must_be(env, context, "notification.type", "'thread_update'");
        value_must_be(env, context, "message.content", "'done'");
        value_must_be(env, context, "sourceNotificationType", "'mention'");
        json_decref(context);
    }
    backend_set_up(env, "delete", "{'id':'%s'}", id);
    json_t *context = read_context(env, value_string(json_array_get(list, 2), "_id"));
    value_must_be(env, context, "sourceNotificationType", "null");
    json_decref(context);
    json_decref(list);
}

static void test_primary_user_wrote_last_or_made_the_task(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    backend_set_up(env, "seed", "{'users':[{'name':'Bob','email':'bob@example.com'}]}");
    notify(env, "{'agent':'jarvis','task':'work'}", id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "primaryUserMention.name", "'Ada'");
    json_decref(context);
    backend_set_up(env, "message", "{'task':'work','content':'hi','author':'Bob'}");
    backend_set_up(env, "message", "{'task':'work','content':'ho','author':'vision'}");
    context = read_context(env, id);
    value_must_be(env, context, "primaryUserMention.name", "'Bob'");
    json_decref(context);
    backend_set_up(env, "seed", "{'tasks':[{'title':'of an agent','createdBy':'$jarvis'}]}");
    notify(env, "{'agent':'jarvis','task':'of an agent'}", id);
    context = read_context(env, id);
    value_must_be(env, context, "primaryUserMention", "null");
    json_decref(context);
}

/* What is left of a context when a document that it refers to was deleted. */
static const struct {
    const char *deleted;
    const char *agent;
    const char *task;
    const char *message;
    bool has_session;
} deletions[] = {
    {"$jarvis", "null", "'$work'", "'hello @jarvis'", false},
    {"$work", "'$jarvis'", "null", "'hello @jarvis'", true},
};

static void check_part(
    struct test_env *env, const json_t *context, const char *part, const char *text)
{
    char path[64];
    bool gone = strcmp(text, "null") == 0;
    snprintf(path, sizeof path,
        gone                           ? "%s"
        : strcmp(part, "message") == 0 ? "%s.content"
                                       : "%s._id",
        part);
    value_must_be(env, context, path, text);
}

static void check_deletion(struct test_env *env, size_t row)
{
    char id[ID_BYTES];
    backend_set_up(env, "reset", "{}");
    seed_squad(env);
    post(env, "hello @jarvis", id);
    json_t *agent = backend_json(env, deletions[row].agent);
    json_t *task = backend_json(env, deletions[row].task);
    backend_set_up(env, "delete", "{'id':'%s'}", deletions[row].deleted);
    json_t *context = read_context(env, id);
    if (json_is_null(agent))
        check_part(env, context, "agent", deletions[row].agent);
    else
        assert_string_equal(value_string(context, "agent._id"), json_string_value(agent));
    if (json_is_null(task))
        check_part(env, context, "task", deletions[row].task);
    else
        assert_string_equal(value_string(context, "task._id"), json_string_value(task));
    check_part(env, context, "message", deletions[row].message);
    assert_int_equal(value_at(context, "deliverySessionKey") != NULL, deletions[row].has_session);
    json_decref(agent);
    json_decref(task);
    json_decref(context);
}

static void test_deleted_documents_are_null(void **state)
{
    for (size_t i = 0; i < sizeof deletions / sizeof deletions[0]; i++)
        check_deletion(*state, i);
}

static void test_message_of_another_task_is_left_out(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    backend_set_up(env, "seed", "{'tasks':[{'title':'other'}]}");
    json_t *message = backend_control(env, "message", "{'task':'other','content':'elsewhere'}");
    char body[256];
    snprintf(body, sizeof body,
        "{'agent':'jarvis','task':'work','type':'thread_update','message':'%s'}",
        value_string(message, "id"));
    notify(env, body, id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "message", "null");
    json_decref(context);
    backend_set_up(env, "delete", "{'id':'$work'}");
    context = read_context(env, id);
    value_must_be(env, context, "message.content", "'elsewhere'");
    json_decref(context);
    json_decref(message);
}

static void test_missing_and_foreign_notifications_are_null(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'accounts':[{'name':'Other','secret':'s'}],"
        "'agents':[{'slug':'spy','account':'Other'}],'tasks':[{'title':'t','account':'Other'}]}");
    char id[ID_BYTES];
    notify(env, "{'agent':'spy','task':'t'}", id);
    json_t *context = read_context(env, id);
    assert_true(json_is_null(context));
    json_decref(context);
    context = read_context(env, "js000000000000000000000000000000");
    assert_true(json_is_null(context));
    json_decref(context);
}

/* Documents that a context shows, and what it shows of them. */
static void test_repository_document(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char content[50003];
    seed_squad(env);
    notify(env, "{'agent':'jarvis','task':'work'}", id);
    backend_set_up(env, "seed",
        "{'documents':[{'title':'Repository — Primary','type':'note','content':'a note'}]}");
    json_t *context = read_context(env, id);
    value_must_be(env, context, "repositoryDoc", "null");
    json_decref(context);
    memset(content, 'x', 50001);
    content[50001] = '\0';
    backend_set_up(env, "seed",
        "{'documents':[{'title':'Renamed','name':'Repository — Primary','type':'reference',"
        "'content':'%s','deletedAt':1}]}",
        content);
    context = read_context(env, id);
    value_must_be(env, context, "repositoryDoc.title", "'Renamed'");
    assert_int_equal(strlen(value_string(context, "repositoryDoc.content")), 50000 + strlen("…"));
    json_decref(context);
}

static void seed_chat(struct test_env *env)
{
    seed_squad(env);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'chat','status':'in_progress','orchestratorChat':true},"
        "{'title':'a','status':'review','priority':1},{'title':'b','status':'review'},"
        "{'title':'c','status':'review'},{'title':'d','status':'review'},"
        "{'title':'e','status':'done'}],"
        "'documents':[{'title':'Account Briefing','content':'we make things'}]}");
}

static void test_chat_shows_an_overview_and_the_briefing(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_chat(env);
    json_t *answer = backend_control(env, "message", "{'task':'chat','content':'how is it'}");
    text_copy(id, sizeof id, value_string(answer, "notifications.0"));
    json_decref(answer);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "agent.slug", "'boss'");
    value_must_be(env, context, "task.labels", "['system:orchestrator-chat']");
    value_must_be(env, context, "globalBriefingDoc",
        "{'title':'Account Briefing','content':'we make things'}");
    value_must_be(env, context, "taskOverview.totals",
        "[{'status':'inbox','count':0},{'status':'assigned','count':1},"
        "{'status':'in_progress','count':1},{'status':'review','count':4},"
        "{'status':'blocked','count':0}]");
    value_must_be(env, context, "taskOverview.topTasks.3.status", "'review'");
    assert_int_equal(json_array_size(value_at(context, "taskOverview.topTasks.3.tasks")), 3);
    value_must_be(env, context, "taskOverview.topTasks.1.tasks.0",
        "{'taskId':'$work','title':'work','status':'assigned','priority':3,"
        "'assignedAgentIds':['$jarvis'],'assignedUserIds':[]}");
    json_decref(context);
}

/* Checks the session key of a context, whose task ids are made up as it goes. */
static void expect_session(struct test_env *env, const char *notification_id, const char *format)
{
    char expected[160];
    json_t *task = backend_json(env, "'$work'");
    json_t *context = read_context(env, notification_id);
    if (strncmp(format, "task:", 5) == 0)
        snprintf(expected, sizeof expected, "task:%s:%s", json_string_value(task), format + 5);
    else
        snprintf(expected, sizeof expected, "%s", format);
    assert_string_equal(value_string(context, "deliverySessionKey"), expected);
    json_decref(context);
    json_decref(task);
}

static void test_sessions_are_counted_by_generation(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_squad(env);
    post(env, "hello @jarvis", id);
    expect_session(env, id, "task:agent:jarvis:" TEST_ACCOUNT ":v1");
    expect_session(env, id, "task:agent:jarvis:" TEST_ACCOUNT ":v1");
    backend_set_up(env, "set", "{'id':'$jarvis','fields':{'slug':'friday'}}");
    expect_session(env, id, "task:agent:jarvis:" TEST_ACCOUNT ":v1");
    backend_set_up(env, "status", "{'task':'work','status':'done'}");
    expect_session(env, id, "task:agent:jarvis:" TEST_ACCOUNT ":v1");
    backend_set_up(env, "status", "{'task':'work','status':'archived'}");
    expect_session(env, id, "task:agent:friday:" TEST_ACCOUNT ":v2");
    backend_set_up(env, "set", "{'id':'%s','fields':{'taskId':null}}", id);
    expect_session(env, id, "system:agent:friday:" TEST_ACCOUNT ":v1");
}

static void test_system_session_is_that_of_the_list(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (int i = 0; i < 2; i++) {
        json_t *agents = backend_value(env, "listAgents", "{}");
        value_must_be(
            env, agents, "0.systemSessionKey", "'system:agent:jarvis:" TEST_ACCOUNT ":v1'");
        value_must_be(env, agents, "0.effectiveBehaviorFlags.canMarkDone", "false");
        value_must_be(env, agents, "0.openclawConfig.model", "'minimax-m2.5'");
        json_decref(agents);
    }
    json_t *sessions = board_documents(env, "sessions");
    assert_int_equal(json_array_size(sessions), 1);
    json_decref(sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_context_of_a_mention),
        V1(test_flags_overlay_field_by_field),
        V1(test_thread_is_cut),
        V1(test_source_type_tells_an_answer_to_an_answer),
        V1(test_primary_user_wrote_last_or_made_the_task),
        V1(test_deleted_documents_are_null),
        V1(test_message_of_another_task_is_left_out),
        V1(test_missing_and_foreign_notifications_are_null),
        V1(test_repository_document),
        V1(test_chat_shows_an_overview_and_the_briefing),
        V1(test_sessions_are_counted_by_generation),
        V1(test_system_session_is_that_of_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
