/*
 * Agents' tools against the sandbox's board of version 1: that they take effect, what agents are
 * told where they do not, and that no change is made twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/tool_fixture.h"
#include "base/json.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

/* The board, and whose calls are made. */
struct caller {
    struct test_env *env;
    struct tool_fixture fixture;
    char agent_id[ID_BYTES];
    char task_id[ID_BYTES];
};

/* The agent with that slug calls from a run about the task "work". */
static void begin_calls(struct caller *caller, struct test_env *env, const char *slug,
    const struct tool_audience *audience)
{
    caller->env = env;
    backend_id(env, slug, caller->agent_id);
    backend_id(env, "work", caller->task_id);
    tool_fixture_connect(&caller->fixture, env->url, TEST_ACCOUNT, TEST_TOKEN);
    caller->fixture.call.agent_id = caller->agent_id;
    caller->fixture.call.task_id = caller->task_id;
    caller->fixture.call.audience = *audience;
}

static void seed_board(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'boss','name':'Boss','orchestrator':true,'flags':{'canCreateTasks':"
        "true}},{'slug':'jarvis','name':'Jarvis','flags':{'canCreateTasks':true}},"
        "{'slug':'friday','name':'Friday'}]}");
    test_env_list_agents(env, true);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'work','status':'in_progress','assignedAgentIds':['$jarvis']}]}");
}

/* Names in arguments are resolved as in backend_json. Returns the result's value. */
static json_t *call_tool(
    struct caller *caller, const char *name, const char *arguments, enum tool_end end, int status)
{
    json_t *json = backend_json(caller->env, arguments);
    char *written = json_write(json);
    struct tool_result result = tool_fixture_call(&caller->fixture, name, written);
    if (result.end != end || result.status != status)
        fail_msg("%s %s: %s %d %s", name, written, tool_end_words[result.end], result.status,
            json_guard_string(result.value, "error"));
    free(written);
    json_decref(json);
    return result.value;
}

static void call_well(struct caller *caller, const char *name, const char *arguments)
{
    json_decref(call_tool(caller, name, arguments, TOOL_SUCCEEDED, 200));
}

/* Fails the test unless the call is rejected with these words. */
static void call_badly(
    struct caller *caller, const char *name, const char *arguments, int status, const char *words)
{
    json_t *value = call_tool(caller, name, arguments, TOOL_REJECTED, status);
    assert_string_equal(value_string(value, "error"), words);
    json_decref(value);
}

/* The only document of the table with that title, a new reference. */
static json_t *find_titled(struct test_env *env, const char *table, const char *title)
{
    json_t *found = NULL;
    json_t *documents = board_documents(env, table);
    size_t index;
    json_t *document;
    json_array_foreach (documents, index, document) {
        if (!json_guard_is(document, "title", title, ""))
            continue;
        assert_null(found);
        found = json_incref(document);
    }
    json_decref(documents);
    assert_non_null(found);
    return found;
}

static void expect_field(struct test_env *env, const char *table, const char *title,
    const char *field, const char *value)
{
    json_t *document = find_titled(env, table, title);
    value_must_be(env, document, field, value);
    json_decref(document);
}

static void test_worker(void **state)
{
    struct test_env *env = *state;
    struct caller caller;
    seed_board(env);
    begin_calls(&caller, env, "jarvis", &tool_fixture_worker);
    call_well(&caller, "task_status", "{'status':'review'}");
    expect_field(env, "tasks", "work", "status", "'review'");
    call_well(&caller, "task_update",
        "{'taskId':'$work','description':'New words','priority':'critical','labels':['a']}");
    expect_field(env, "tasks", "work", "priority", "1");
    expect_field(env, "tasks", "work", "labels", "['a']");
    call_well(&caller, "task_create", "{'title':'more','status':'blocked','blockedReason':'x'}");
    expect_field(env, "tasks", "more", "status", "'blocked'");
    call_well(&caller, "document_upsert", "{'title':'Plan','content':'1','type':'note'}");
    expect_field(env, "documents", "Plan", "taskId", "'$work'");
    call_well(&caller, "response_request", "{'recipientSlugs':['@Friday'],'message':'Look'}");
    json_t *notifications = board_documents(env, "notifications");
    value_must_be(env, json_array_get(notifications, json_array_size(notifications) - 1),
        "recipientId", "'$friday'");
    json_decref(notifications);
    json_t *value = call_tool(&caller, "task_load", "{'messageLimit':1.5}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.task.title", "'work'");
    json_decref(value);
    call_well(&caller, "task_history", "{'messageLimit':-5,'activityLimit':2.7}");
    value = call_tool(&caller, "document_list", "{'taskId':'$work'}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.documents.0.title", "'Plan'");
    json_decref(value);
    value = call_tool(&caller, "get_agent_skills", "{'agentId':'friday'}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.agents.0.agentId", "'friday'");
    json_decref(value);
    tool_fixture_stop(&caller.fixture);
}

static void test_orchestrator(void **state)
{
    struct test_env *env = *state;
    struct caller caller;
    seed_board(env);
    begin_calls(&caller, env, "boss", &tool_fixture_orchestrator);
    caller.fixture.call.by_http = true;
    call_well(&caller, "task_create",
        "{'title':'new','status':'in_progress','assigneeSlugs':['@FRIDAY','boss']}");
    expect_field(env, "tasks", "new", "assignedAgentIds", "['$friday']");
    expect_field(env, "tasks", "new", "status", "'assigned'");
    call_well(&caller, "task_assign", "{'taskId':'$new','assigneeSlugs':['jarvis']}");
    expect_field(env, "tasks", "new", "assignedAgentIds", "['$friday','$jarvis']");
    call_well(&caller, "task_message", "{'taskId':'$new','content':'Hello'}");
    json_t *value =
        call_tool(&caller, "task_thread", "{'taskId':'$new','limit':0.5}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.thread.0.content", "'Hello'");
    json_decref(value);
    value = call_tool(
        &caller, "task_list", "{'assigneeSlug':'friday','limit':-7}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.tasks.0.title", "'new'");
    json_decref(value);
    call_well(&caller, "task_get", "{'taskId':'$new'}");
    value = call_tool(&caller, "task_search", "{'query':'NEW','limit':1e300}", TOOL_SUCCEEDED, 200);
    value_must_be(env, value, "data.results.0.title", "'new'");
    json_decref(value);
    call_well(&caller, "task_link_pr", "{'taskId':'$new','prNumber':12}");
    expect_field(env, "tasks", "new", "metadata.prNumber", "12");
    call_well(&caller, "task_delete", "{'taskId':'$new','reason':'Done elsewhere'}");
    expect_field(env, "tasks", "new", "status", "'archived'");
    tool_fixture_stop(&caller.fixture);
}

static void test_document_is_replaced_where_it_belongs(void **state)
{
    struct test_env *env = *state;
    struct caller caller;
    seed_board(env);
    backend_set_up(env, "seed", "{'tasks':[{'title':'other','status':'inbox'}]}");
    begin_calls(&caller, env, "jarvis", &tool_fixture_worker);
    call_well(&caller, "document_upsert",
        "{'taskId':'$other','title':'Plan','content':'1','type':'note'}");
    call_well(&caller, "document_upsert",
        "{'documentId':'$Plan','title':'Plan','content':'2','type':'note'}");
    expect_field(env, "documents", "Plan", "taskId", "'$other'");
    expect_field(env, "documents", "Plan", "content", "'2'");
    tool_fixture_stop(&caller.fixture);
}

static void test_reasons_of_a_development_deployment(void **state)
{
    struct test_env *env = *state;
    struct caller caller;
    seed_board(env);
    begin_calls(&caller, env, "jarvis", &tool_fixture_worker);
    caller.fixture.call.audience.may_mark_done = true;
    call_badly(&caller, "task_status", "{'status':'done'}", 403,
        "Forbidden: Task must be in review before marking done");
    call_badly(&caller, "task_status", "{'taskId':'nosuchtask','status':'review'}", 404,
        "Not found: taskId is not an id that the board knows");
    call_badly(&caller, "task_update", "{'assignedAgentIds':['$work']}", 404,
        "Not found: assignedAgentIds is not an id that the board knows");
    call_badly(&caller, "response_request", "{'recipientSlugs':['nobody'],'message':'x'}", 403,
        "Unknown recipient slugs: nobody");
    tool_fixture_stop(&caller.fixture);
}

static void test_production_hides_reasons(void **state)
{
    struct test_env *env = *state;
    struct caller caller;
    seed_board(env);
    board_set_flag(env, "redact", true);
    begin_calls(&caller, env, "jarvis", &tool_fixture_worker);
    caller.fixture.call.audience.may_mark_done = true;
    static const char words[] =
        "the task may not exist, or its status may not allow this change (assigned, in_progress, "
        "review, done in this order; blocked from any but done), or you may not be the one to make "
        "it";
    char expected[512];
    snprintf(expected, sizeof expected, "The board refused without a reason: %s", words);
    call_badly(&caller, "task_status", "{'status':'done'}", 500, expected);
    caller.fixture.call.by_http = true;
    snprintf(expected, sizeof expected, "Failed to update task status: %s", words);
    call_badly(&caller, "task_status", "{'taskId':'$work','status':'done'}", 500, expected);
    call_badly(&caller, "task_load", "{'taskId':'nosuchtask'}", 403,
        "The board refused without a reason: the task may not exist");
    tool_fixture_stop(&caller.fixture);
}

/* Whatever becomes of the answer, the function is called once; what the agent is told fits. */
static void test_changes_are_made_once(void **state)
{
    struct test_env *env = *state;
    static const char *const behaviours[] = {"drop_before", "drop_after", "drop_mid_answer",
        "close_after_headers", "status", "status_after", "raw_socket"};
    struct caller caller;
    seed_board(env);
    begin_calls(&caller, env, "jarvis", &tool_fixture_worker);
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
        /* A kept connection is where libcurl would repeat a request by itself. */
        call_well(&caller, "task_load", "{}");
        long before = test_env_stat(env, "backend", "createTaskFromAgent");
        board_fail(env, "createTaskFromAgent", behaviours[i], 1);
        json_decref(call_tool(&caller, "task_create", "{'title':'x'}", TOOL_UNCERTAIN, 504));
        assert_int_equal(test_env_stat(env, "backend", "createTaskFromAgent"), before + 1);
        board_clear_faults(env);
    }
    board_fail(env, "createTaskFromAgent", "hang", 1);
    caller.fixture.service.timeout_ms = 2500;
    json_decref(call_tool(&caller, "task_create", "{'title':'x'}", TOOL_UNCERTAIN, 504));
    board_clear_faults(env);
    tool_fixture_stop(&caller.fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_worker),
        V1(test_orchestrator),
        V1(test_document_is_replaced_where_it_belongs),
        V1(test_reasons_of_a_development_deployment),
        V1(test_production_hides_reasons),
        V1(test_changes_are_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
