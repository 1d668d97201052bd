/* Calls that reach the backend: what it is asked, what the agent is told, and how failures end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "../lib/json_fixture.h"
#include "../lib/tool_fixture.h"
#include "agent_tools/arguments.h"
#include "backend/service_tools.h"
#include "base/json.h"
#include "base/text.h"
#include "http/ca_store.h"

#define AGENTS                                                                                     \
    {                                                                                              \
        .function = "listAgents", .value = "[{'_id':'a1','slug':'boss','systemSessionKey':'s1'},"  \
                                           "{'_id':'a2','slug':'Friday','systemSessionKey':'s2'}," \
                                           "{'_id':'a3','slug':'jarvis','systemSessionKey':'s3'}]" \
    }

static const struct tool_answer good[] = {AGENTS,
    {.function = "updateTaskStatusFromAgent",
        .value = "{'success':true,'taskId':'t1','requestedStatus':'review','status':'review',"
                 "'updatedAt':7,'changed':true}"},
    {.function = "updateTaskFromAgent",
        .value = "{'taskId':'t1','changedFields':['title','status']}"},
    {.function = "createTaskFromAgent", .value = "{'taskId':'t9'}"},
    {.function = "assignTaskFromAgent", .value = "{'taskId':'t1'}"},
    {.function = "createTaskMessageForAgentTool", .value = "{'messageId':'m1'}"},
    {.function = "deleteTaskFromAgent", .value = "{'success':true}"},
    {.function = "linkTaskToPrForAgentTool", .value = "{'success':true}"},
    {.function = "createResponseRequestNotifications", .value = "{'notificationIds':['n1']}"},
    {.function = "createDocumentFromAgent", .value = "{'documentId':'d1'}"},
    {.function = "listDocumentsForAgent",
        .value = "{'documents':[{'_id':'d1','taskId':'t5'},{'_id':'d2'}]}"},
    {.function = "getAgentSkillsForTool", .value = "[{'agentId':'friday'}]"},
    {.function = "listTasksForAgentTool", .value = "[{'_id':'t1'}]"},
    {.function = "getTaskForAgentTool", .value = "null"},
    {.function = "listTaskThreadForAgentTool", .value = "[]"},
    {.function = "searchTasksForAgentTool", .value = "[]"},
    {.function = "loadTaskDetailsForAgentTool", .value = "{'task':{'_id':'t1'},'thread':[]}"},
    {.function = "getTaskHistoryForAgentTool",
        .value = "{'task':{},'messages':[],'activities':[],'meta':{}}"},
    {.function = NULL}};

/* What a tool asks of the backend, and its result as a tool and over HTTP. */
static const struct {
    const char *tool;
    const char *arguments;
    const char *calls;
    const char *value;
    const char *http_value; /* NULL: no endpoint */
} successes[] = {
    {"task_status", "{'taskId':'t1','status':'review'}",
        "[['updateTaskStatusFromAgent',{'agentId':'a1','taskId':'t1','status':'review'}]]",
        "{'success':true,'taskId':'t1'}",
        "{'success':true,'taskId':'t1','requestedStatus':'review','status':'review','updatedAt':7,"
        "'changed':true,'durationMs':0}"},
    {"task_update", "{'taskId':'t1','title':'x','priority':'low','dueDate':9}",
        "[['updateTaskFromAgent',{'agentId':'a1','taskId':'t1','title':'x','priority':4,"
        "'dueDate':9}]]",
        "{'success':true,'taskId':'t1','message':'Updated: title, status'}",
        "{'success':true,'taskId':'t1','changedFields':['title','status'],'durationMs':0}"},
    {"task_create", "{'title':'x','status':'assigned','assigneeSlugs':['@FRIDAY','boss']}",
        "[['listAgents',{}],['createTaskFromAgent',{'agentId':'a1','title':'x','status':'inbox',"
        "'assignedAgentIds':['a2']}]]",
        "{'success':true,'taskId':'t9'}", "{'success':true,'taskId':'t9'}"},
    {"task_create", "{'title':'x','status':'review','assigneeSlugs':[]}",
        "[['createTaskFromAgent',{'agentId':'a1','title':'x','status':'review'}]]",
        "{'success':true,'taskId':'t9'}", "{'success':true,'taskId':'t9'}"},
    {"task_assign", "{'taskId':'t1','assigneeSlugs':['friday',' @jarvis ','friday']}",
        "[['listAgents',{}],['assignTaskFromAgent',{'agentId':'a1','taskId':'t1',"
        "'assignedAgentIds':['a2','a3']}]]",
        "{'success':true,'taskId':'t1'}", "{'success':true,'taskId':'t1'}"},
    {"task_message", "{'taskId':'t1','content':'hi'}",
        "[['createTaskMessageForAgentTool',{'agentId':'a1','taskId':'t1','content':'hi'}]]",
        "{'success':true,'messageId':'m1'}", "{'success':true,'messageId':'m1'}"},
    {"task_delete", "{'taskId':'t1','reason':'old'}",
        "[['deleteTaskFromAgent',{'agentId':'a1','taskId':'t1','reason':'old'}]]",
        "{'success':true}", "{'success':true}"},
    {"task_link_pr", "{'taskId':'t1','prNumber':42}",
        "[['linkTaskToPrForAgentTool',{'agentId':'a1','taskId':'t1','prNumber':42}]]",
        "{'success':true,'data':{'taskId':'t1','prNumber':42}}",
        "{'success':true,'data':{'taskId':'t1','prNumber':42}}"},
    {"response_request", "{'taskId':'t1','recipientSlugs':[' @friday '],'message':' x '}",
        "[['createResponseRequestNotifications',{'requesterAgentId':'a1','taskId':'t1',"
        "'recipientSlugs':['friday'],'message':'x'}]]",
        "{'success':true,'data':{'notificationIds':['n1']}}",
        "{'success':true,'notificationIds':['n1']}"},
    {"document_upsert", "{'taskId':'t2','title':'x','content':'y','type':'note'}",
        "[['createDocumentFromAgent',{'agentId':'a1','taskId':'t2','title':'x','content':'y',"
        "'type':'note'}]]",
        "{'success':true,'documentId':'d1'}", "{'success':true,'documentId':'d1'}"},
    {"document_list", "{'type':'note','limit':2.5}",
        "[['listDocumentsForAgent',{'type':'note','limit':2}]]",
        "{'success':true,'data':{'documents':[{'_id':'d1','taskId':'t5'},{'_id':'d2'}]}}",
        "{'success':true,'data':{'documents':[{'_id':'d1','taskId':'t5'},{'_id':'d2'}]}}"},
    {"get_agent_skills", "{}", "[['getAgentSkillsForTool',{'agentId':'a1'}]]",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}"},
    {"get_agent_skills", "{'agentId':'friday'}",
        "[['listAgents',{}],['getAgentSkillsForTool',{'agentId':'a1','queryAgentId':'a2'}]]",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}"},
    {"get_agent_skills", "{'agentId':'a3'}",
        "[['listAgents',{}],['getAgentSkillsForTool',{'agentId':'a1','queryAgentId':'a3'}]]",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}",
        "{'success':true,'data':{'agents':[{'agentId':'friday'}]}}"},
    {"task_list", "{'status':'done','assigneeSlug':'@Jarvis','limit':900}",
        "[['listAgents',{}],['listTasksForAgentTool',{'agentId':'a1','status':'done',"
        "'assigneeAgentId':'a3','limit':200}]]",
        "{'success':true,'data':{'tasks':[{'_id':'t1'}]}}",
        "{'success':true,'data':{'tasks':[{'_id':'t1'}]}}"},
    {"task_get", "{'taskId':'t1'}", "[['getTaskForAgentTool',{'agentId':'a1','taskId':'t1'}]]",
        "{'success':true,'data':{'task':null}}", "{'success':true,'data':{'task':null}}"},
    {"task_thread", "{'taskId':'t1','limit':-1}",
        "[['listTaskThreadForAgentTool',{'agentId':'a1','taskId':'t1','limit':1}]]",
        "{'success':true,'data':{'thread':[]}}", "{'success':true,'data':{'thread':[]}}"},
    {"task_search", "{'query':'x'}", "[['searchTasksForAgentTool',{'agentId':'a1','query':'x'}]]",
        "{'success':true,'data':{'results':[]}}", "{'success':true,'data':{'results':[]}}"},
    {"task_load", "{'taskId':'t1','messageLimit':3,'x':1}",
        "[['loadTaskDetailsForAgentTool',{'agentId':'a1','taskId':'t1','messageLimit':3}]]",
        "{'success':true,'data':{'task':{'_id':'t1'},'thread':[]},'ignored':['x']}",
        "{'success':true,'data':{'task':{'_id':'t1'},'thread':[]},'ignored':['x']}"},
    {"task_history", "{'taskId':'t1','activityLimit':0}",
        "[['getTaskHistoryForAgentTool',{'agentId':'a1','taskId':'t1','activityLimit':0}]]",
        "{'success':true,'data':{'task':{},'messages':[],'activities':[],'meta':{}}}", NULL},
};

/* The time that a call took is not known; that it is there is. */
static void forget_duration(json_t *value)
{
    json_t *duration = json_object_get(value, "durationMs");
    if (duration == NULL)
        return;
    assert_true(json_number_value(duration) >= 0);
    json_object_set_new(value, "durationMs", json_real(0));
}

static void expect_success(struct tool_fixture *fixture, size_t row, const char *value)
{
    struct tool_result result =
        tool_fixture_call(fixture, successes[row].tool, successes[row].arguments);
    forget_duration(result.value);
    tool_value_must_be(result.value, value);
    assert_int_equal(result.end, TOOL_SUCCEEDED);
    assert_int_equal(result.status, 200);
    json_decref(result.value);
    tool_calls_must_be(fixture, successes[row].calls);
}

static void test_each_tool(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, good);
    fixture.call.audience = tool_fixture_orchestrator;
    for (size_t i = 0; i < sizeof successes / sizeof successes[0]; i++) {
        fixture.call.by_http = false;
        fixture.call.task_id = "t1";
        expect_success(&fixture, i, successes[i].value);
        fixture.call.by_http = true;
        fixture.call.task_id = "";
        if (successes[i].http_value != NULL)
            expect_success(&fixture, i, successes[i].http_value);
    }
    tool_fixture_stop(&fixture);
}

static void test_what_changed_nothing_says_so(void **state)
{
    (void)state;
    static const struct tool_answer answers[] = {
        {.function = "updateTaskStatusFromAgent",
            .value = "{'success':true,'taskId':'t1','status':'review','changed':false}"},
        {.function = "updateTaskFromAgent", .value = "{'taskId':'t1','changedFields':[]}"},
        {.function = "createResponseRequestNotifications", .value = "{'notificationIds':[]}"},
        {.function = NULL}};
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, answers);
    tool_must_give(&fixture, "task_status", "{'status':'review'}", TOOL_SUCCEEDED, 200,
        "{'success':true,'taskId':'t1','message':'Nothing to change: the status is review'}");
    tool_must_give(&fixture, "task_update", "{'title':'x'}", TOOL_SUCCEEDED, 200,
        "{'success':true,'taskId':'t1','message':'No changes'}");
    tool_must_give(&fixture, "response_request", "{'recipientSlugs':['a'],'message':'x'}",
        TOOL_SUCCEEDED, 200,
        "{'success':true,'data':{'notificationIds':[]},'message':'Not all of them were notified: "
        "some have an open request on this task, or got one in the last 4 hours. Do not ask them "
        "again now.'}");
    tool_fixture_stop(&fixture);
}

/* Without a task among the arguments the backend would take the document from its task. */
static void test_document_keeps_its_task(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, good);
    static const struct {
        const char *run_task;
        const char *document;
        const char *task; /* that is sent; NULL: none */
    } cases[] = {{"t1", NULL, "t1"}, {"", NULL, NULL}, {"t1", "d1", "t5"}, {"", "d1", "t5"},
        {"t1", "d2", NULL}, {"t1", "d3", "t1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char arguments[256];
        char sent[256];
        bool has_id = cases[i].document != NULL;
        const char *id = has_id ? cases[i].document : "";
        fixture.call.task_id = cases[i].run_task;
        snprintf(arguments, sizeof arguments,
            "{'documentId':'%s','title':'x','content':'y','type':'note'}", id);
        tool_must_give(&fixture, "document_upsert", arguments, TOOL_SUCCEEDED, 200,
            "{'success':true,'documentId':'d1'}");
        snprintf(sent, sizeof sent,
            "[%s['createDocumentFromAgent',{'agentId':'a1','title':'x','content':'y','type':"
            "'note'%s%s%s%s%s%s}]]",
            has_id ? "['listDocumentsForAgent',{'limit':100}]," : "",
            has_id ? ",'documentId':'" : "", id, has_id ? "'" : "",
            cases[i].task != NULL ? ",'taskId':'" : "", cases[i].task != NULL ? cases[i].task : "",
            cases[i].task != NULL ? "'" : "");
        tool_calls_must_be(&fixture, sent);
    }
    fixture.call.task_id = "";
    tool_must_give(&fixture, "document_upsert",
        "{'documentId':'d3','title':'x','content':'y','type':'note'}", TOOL_REFUSED, 422,
        "{'success':false,'error':'taskId is required: the document is not among the latest 100, "
        "so name the task that it belongs to'}");
    tool_calls_must_be(&fixture, "[['listDocumentsForAgent',{'limit':100}]]");
    tool_fixture_stop(&fixture);
}

static void test_unknown_slugs(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, good);
    fixture.call.audience = tool_fixture_orchestrator;
    tool_must_give(&fixture, "task_assign", "{'taskId':'t1','assigneeSlugs':['@x','friday',' y ']}",
        TOOL_REFUSED, 422, "{'success':false,'error':'Unknown assignee slugs: x, y'}");
    tool_must_give(&fixture, "task_create", "{'title':'x','assigneeSlugs':['z']}", TOOL_REFUSED,
        422, "{'success':false,'error':'Unknown assignee slugs: z'}");
    tool_must_give(&fixture, "task_list", "{'assigneeSlug':'x'}", TOOL_REFUSED, 422,
        "{'success':false,'error':'Unknown assignee slug: x'}");
    tool_must_give(&fixture, "get_agent_skills", "{'agentId':'x'}", TOOL_REFUSED, 422,
        "{'success':false,'error':'Unknown agent: x'}");
    tool_calls_must_be(
        &fixture, "[['listAgents',{}],['listAgents',{}],['listAgents',{}],['listAgents',{}]]");
    tool_fixture_stop(&fixture);
}

#define WRAPPED(reason)                                                    \
    "[Request ID: 0123456789abcdef] Server Error\nUncaught Error: " reason \
    "\n    at handler (../convex/service/actions.ts:41:11)\n    at async invoke (../x.ts:1:1)\n"
#define HIDDEN "[Request ID: 0123456789abcdef] Server Error"

static void test_reasons_are_unwrapped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"[Request ID: 01] Server Error Uncaught Error: Forbidden: no      at h (../a.ts:1:1) ",
            "Forbidden: no"},
        {"[Request ID: 01] Server Error Uncaught ConvexError: Not found: x", "Not found: x"},
        {"Uncaught Error: Error: twice", "Error: twice"},
        {"Forbidden: plain", "Forbidden: plain"},
        {"[Request ID: 01] Server Error", ""},
        {"[Request ID: 01] Server Error ArgumentValidationError: Value does not match validator. "
         "Path: .taskId Value: \"x\" Validator: v.id(\"tasks\")",
            "Not found: taskId is not an id that the board knows"},
        {"[Request ID: 01] Server Error ArgumentValidationError: extra field. ", ""},
        {"", ""},
        {"Server Error", ""},
        {"Uncaught ", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[SERVICE_REASON_BYTES];
        service_reason_read(cases[i].text, reason);
        assert_string_equal(reason, cases[i].reason);
    }
}

/* What a function's error becomes: tool, what the function says, status, what the agent is told. */
static const struct {
    const char *tool;
    const char *arguments;
    const char *function;
    const char *error;
    int status;
    const char *said;
} rejections[] = {
    {"task_status", "{'status':'review'}", "updateTaskStatusFromAgent",
        WRAPPED("Invalid transition: Cannot move from 'inbox' to 'review'"), 422,
        "Invalid transition: Cannot move from 'inbox' to 'review'"},
    {"task_status", "{'status':'review'}", "updateTaskStatusFromAgent",
        WRAPPED(
            "Invalid status change: Cannot move to 'in_progress' without at least one assignee"),
        422, "Invalid status change: Cannot move to 'in_progress' without at least one assignee"},
    {"task_status", "{'status':'review'}", "updateTaskStatusFromAgent",
        WRAPPED("Not found: Task does not exist"), 404, "Not found: Task does not exist"},
    {"task_status", "{'status':'review'}", "updateTaskStatusFromAgent", WRAPPED("Unauthorized: no"),
        401, "Unauthorized: no"},
    {"task_status", "{'status':'review'}", "updateTaskStatusFromAgent",
        WRAPPED("Forbidden: Task must be in review before marking done"), 403,
        "Forbidden: Task must be in review before marking done"},
    {"task_update", "{'title':'x'}", "updateTaskFromAgent",
        WRAPPED("Invalid priority: must be between 1 (highest) and 5 (lowest)"), 422,
        "Invalid priority: must be between 1 (highest) and 5 (lowest)"},
    {"task_create", "{'title':'x'}", "createTaskFromAgent", WRAPPED("Invalid agent: a9"), 422,
        "Invalid agent: a9"},
    {"task_create", "{'title':'x'}", "createTaskFromAgent", WRAPPED("Something else"), 403,
        "Something else"},
    {"response_request", "{'recipientSlugs':['a'],'message':'x'}",
        "createResponseRequestNotifications", WRAPPED("Unknown recipient slugs: a"), 403,
        "Unknown recipient slugs: a"},
    {"task_load", "{}", "loadTaskDetailsForAgentTool", WRAPPED("Not found: Task does not exist"),
        403, "Not found: Task does not exist"},
    {"task_load", "{}", "loadTaskDetailsForAgentTool", HIDDEN, 403,
        "The board refused without a reason: the task may not exist"},
    {"task_create", "{'title':'x'}", "createTaskFromAgent", HIDDEN, 403,
        "The board refused without a reason: you may not create tasks, or the status needs "
        "assignees"},
};

static struct tool_result call_rejected(size_t row, bool by_http)
{
    const struct tool_answer answers[] = {
        {.function = rejections[row].function, .error = rejections[row].error}, {.function = NULL}};
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, answers);
    fixture.call.by_http = by_http;
    struct tool_result result =
        tool_fixture_call(&fixture, rejections[row].tool, rejections[row].arguments);
    tool_fixture_stop(&fixture);
    return result;
}

/* Over HTTP these calls name their task. */
static void test_rejections(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rejections / sizeof rejections[0]; i++)
        for (int by_http = 0; by_http < 2; by_http++) {
            struct tool_result result = call_rejected(i, by_http == 1);
            assert_int_equal(result.end, TOOL_REJECTED);
            assert_int_equal(result.status, rejections[i].status);
            assert_string_equal(json_guard_string(result.value, "error"), rejections[i].said);
            json_decref(result.value);
        }
}

static void test_status_of_unknown_cause(void **state)
{
    (void)state;
    static const struct tool_answer answers[] = {
        {.function = "updateTaskStatusFromAgent", .error = HIDDEN},
        {.function = "updateTaskFromAgent", .error = WRAPPED("Strange")}, {.function = NULL}};
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, answers);
    fixture.call.by_http = true;
    struct tool_result result = tool_fixture_call(&fixture, "task_status", "{'status':'review'}");
    const char *error = json_guard_string(result.value, "error");
    assert_int_equal(result.status, 500);
    assert_int_equal(strncmp(error, "Failed to update task status: the task may not exist", 52), 0);
    json_decref(result.value);
    tool_must_give(&fixture, "task_update", "{'title':'x'}", TOOL_REJECTED, 500,
        "{'success':false,'error':'Failed to update task status: Strange'}");
    tool_fixture_stop(&fixture);
}

/* Only what may mean that v1 is gone puts the version in doubt. */
static void test_doubts_about_the_version(void **state)
{
    (void)state;
    static const struct {
        const char *error;
        bool doubt;
        enum tool_end end;
    } cases[] = {{WRAPPED("Forbidden: no"), false, TOOL_REJECTED}, {HIDDEN, true, TOOL_REJECTED},
        {"Could not find public function for 'service/actions:loadTaskDetailsForAgentTool'.", true,
            TOOL_UNAVAILABLE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tool_answer answers[] = {
            {.function = "loadTaskDetailsForAgentTool", .error = cases[i].error},
            {.function = NULL}};
        struct tool_fixture fixture;
        tool_fixture_start(&fixture, answers);
        convex_see_version(fixture.convex, BACKEND_V1);
        struct tool_result result = tool_fixture_call(&fixture, "task_load", "{}");
        assert_int_equal(result.end, cases[i].end);
        assert_int_equal(convex_version(fixture.convex) == BACKEND_V1, !cases[i].doubt);
        json_decref(result.value);
        tool_fixture_stop(&fixture);
    }
}

static void test_nothing_is_sent_to_v0(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, good);
    convex_see_version(fixture.convex, BACKEND_V0);
    tool_must_give(&fixture, "task_status", "{'status':'review'}", TOOL_UNAVAILABLE, 503,
        "{'success':false,'error':'Backend unavailable: nothing was changed'}");
    tool_calls_must_be(&fixture, "[]");
    tool_fixture_stop(&fixture);
}

#define INTERRUPTED "{'success':false,'error':'interrupted: look before you try again'}"
#define UNKNOWN "{'success':false,'error':'Outcome unknown: look before you try again'}"
#define UNAVAILABLE "{'success':false,'error':'Backend unavailable: nothing was changed'}"
#define HTTP_UNAVAILABLE "{'success':false,'error':'Backend unavailable'}"

/* Responses after which a change may have been made, or certainly has not. */
static const struct {
    const char *raw;
    bool may_have_run;
} failures[] = {
    {"", true},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>", true},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"value\":{}}", true},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"value\":null}", true},
    {"HTTP/1.1 500 E\r\nConnection: close\r\n\r\n", true},
    {"HTTP/1.1 503 E\r\nConnection: close\r\n\r\n", true},
    {"HTTP/1.1 408 E\r\nConnection: close\r\n\r\n", true},
    {"HTTP/1.1 409 E\r\nConnection: close\r\n\r\n", true},
    {"HTTP/1.1 429 E\r\nConnection: close\r\n\r\n", false},
    {"HTTP/1.1 400 E\r\nConnection: close\r\n\r\n", false},
    {"HTTP/1.1 404 E\r\nConnection: close\r\n\r\n", false},
};

static void expect_one_call(struct tool_fixture *fixture)
{
    mutex_lock(&fixture->lock);
    assert_int_equal(json_array_size(fixture->calls), 1);
    json_array_clear(fixture->calls);
    mutex_unlock(&fixture->lock);
}

static void test_changes_without_an_answer(void **state)
{
    (void)state;
    static const char *const changing[][3] = {
        {"task_status", "{'taskId':'t1','status':'review'}", "updateTaskStatusFromAgent"},
        {"task_update", "{'taskId':'t1','title':'x'}", "updateTaskFromAgent"},
        {"task_create", "{'title':'x'}", "createTaskFromAgent"},
        {"task_message", "{'taskId':'t1','content':'x'}", "createTaskMessageForAgentTool"},
        {"document_upsert", "{'title':'x','content':'y','type':'note'}", "createDocumentFromAgent"},
        {"response_request", "{'taskId':'t1','recipientSlugs':['a'],'message':'x'}",
            "createResponseRequestNotifications"},
    };
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        for (size_t j = 0; j < sizeof failures / sizeof failures[0]; j++) {
            const struct tool_answer answers[] = {
                {.function = changing[i][2], .raw = failures[j].raw}, {.function = NULL}};
            bool unknown = failures[j].may_have_run;
            struct tool_fixture fixture;
            tool_fixture_start(&fixture, answers);
            fixture.call.audience = tool_fixture_orchestrator;
            tool_must_give(&fixture, changing[i][0], changing[i][1],
                unknown ? TOOL_UNCERTAIN : TOOL_UNAVAILABLE, unknown ? 504 : 503,
                unknown ? INTERRUPTED : UNAVAILABLE);
            expect_one_call(&fixture);
            fixture.call.by_http = true;
            tool_must_give(&fixture, changing[i][0], changing[i][1],
                unknown ? TOOL_UNCERTAIN : TOOL_UNAVAILABLE, unknown ? 504 : 503,
                unknown ? UNKNOWN : HTTP_UNAVAILABLE);
            expect_one_call(&fixture);
            tool_fixture_stop(&fixture);
        }
}

static void test_reading_without_an_answer(void **state)
{
    (void)state;
    static const struct tool_answer answers[] = {
        {.function = "loadTaskDetailsForAgentTool", .raw = ""},
        {.function = "listAgents", .raw = ""}, {.function = "listDocumentsForAgent", .raw = ""},
        {.function = NULL}};
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, answers);
    fixture.call.audience = tool_fixture_orchestrator;
    tool_must_give(&fixture, "task_load", "{}", TOOL_UNAVAILABLE, 503, UNAVAILABLE);
    /* The look-up comes before the change. */
    tool_must_give(&fixture, "task_assign", "{'taskId':'t1','assigneeSlugs':['a']}",
        TOOL_UNAVAILABLE, 503, UNAVAILABLE);
    tool_must_give(&fixture, "document_upsert",
        "{'documentId':'d1','title':'x','content':'y','type':'note'}", TOOL_UNAVAILABLE, 503,
        UNAVAILABLE);
    tool_fixture_stop(&fixture);
}

static void test_backend_that_is_not_there(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_connect(&fixture, "http://127.0.0.1:1", "account", "token");
    tool_must_give(
        &fixture, "task_status", "{'status':'review'}", TOOL_UNAVAILABLE, 503, UNAVAILABLE);
    fixture.call.by_http = true;
    tool_must_give(&fixture, "task_status", "{'taskId':'t1','status':'review'}", TOOL_UNAVAILABLE,
        503, HTTP_UNAVAILABLE);
    tool_fixture_stop(&fixture);
}

static void test_shutdown_before_the_call(void **state)
{
    (void)state;
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, good);
    atomic_store(&fixture.aborted, true);
    tool_must_give(&fixture, "task_status", "{'status':'review'}", TOOL_ABORTED, 503, UNAVAILABLE);
    tool_must_give(&fixture, "task_load", "{}", TOOL_ABORTED, 503, UNAVAILABLE);
    tool_calls_must_be(&fixture, "[]");
    tool_fixture_stop(&fixture);
}

/* A backend that accepts the request and never answers: the time is over with something sent. */
static void test_timeout_of_a_change(void **state)
{
    (void)state;
    char url[64];
    struct tool_fixture fixture;
    struct stub_server *silent = stub_server_start(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(silent));
    tool_fixture_connect(&fixture, url, "account", "token");
    fixture.service.timeout_ms = 200;
    tool_must_give(
        &fixture, "task_status", "{'status':'review'}", TOOL_UNCERTAIN, 504, INTERRUPTED);
    tool_must_give(&fixture, "task_load", "{}", TOOL_UNAVAILABLE, 503, UNAVAILABLE);
    tool_fixture_stop(&fixture);
    stub_server_stop(silent);
}

/* The value of a task with a long thread: messages of that many bytes each. */
static char *long_thread(size_t messages, size_t bytes)
{
    struct text text = {0};
    text_append(&text, "{'task':{'_id':'t1'},'thread':[");
    for (size_t i = 0; i < messages; i++) {
        text_printf(&text, "%s{'messageId':'m%zu','content':'", i > 0 ? "," : "", i);
        for (size_t j = 0; j < bytes; j += 10)
            text_append(&text, "0123456789");
        text_append(&text, "'}");
    }
    text_append(&text, "]}");
    return text_take(&text);
}

static struct tool_result load_long_thread(size_t messages, size_t bytes)
{
    char *value = long_thread(messages, bytes);
    const struct tool_answer answers[] = {
        {.function = "loadTaskDetailsForAgentTool", .value = value}, {.function = NULL}};
    struct tool_fixture fixture;
    tool_fixture_start(&fixture, answers);
    struct tool_result result = tool_fixture_call(&fixture, "task_load", "{}");
    tool_fixture_stop(&fixture);
    free(value);
    char *written = json_write(result.value);
    assert_non_null(written);
    assert_true(strlen(written) <= TOOL_RESULT_MAX_BYTES);
    free(written);
    assert_int_equal(result.end, TOOL_SUCCEEDED);
    return result;
}

static void test_long_results_are_cut(void **state)
{
    (void)state;
    static const struct {
        size_t messages;
        size_t bytes;
        bool cut;
        bool complete; /* no message is left out */
    } cases[] = {{10, 1000, false, true}, {19, 10000, false, true}, {2, 300000, true, true},
        {40, 9000, true, true}, {3000, 1000, true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tool_result result = load_long_thread(cases[i].messages, cases[i].bytes);
        const json_t *thread = json_object_get(json_object_get(result.value, "data"), "thread");
        size_t count = json_array_size(thread);
        char last[32];
        assert_int_equal(json_guard_string(result.value, "cut") != NULL, cases[i].cut);
        assert_int_equal(count == cases[i].messages, cases[i].complete);
        /* The latest message is the last, and stays. */
        snprintf(last, sizeof last, "m%zu", cases[i].messages - 1);
        assert_string_equal(
            json_guard_string(json_array_get(thread, count - 1), "messageId"), last);
        json_decref(result.value);
    }
}

/*
 * The only call that is made is the whole one, whichever allocation fails. Returns whether there
 * was an nth one.
 */
static bool expect_whole_call(struct tool_fixture *fixture, size_t row, unsigned nth)
{
    char *json = json_fixture_quote(successes[row].arguments);
    json_t *given = json_loads(json, 0, NULL);
    json_t *checked = NULL;
    struct tool_result result = {0};
    struct argument_problem problem;
    const struct tool *tool = tool_find(&tool_catalog, successes[row].tool);
    alloc_fault_arm(nth);
    bool is_possible = arguments_check(tool, &fixture->call, given, &checked, &problem);
    if (is_possible)
        tool->handle(&fixture->call, checked, &result);
    alloc_fault_disarm();
    bool fired = alloc_fault_fired();
    assert_true(is_possible || fired);
    json_decref(checked);
    json_decref(given);
    json_decref(result.value);
    text_fini(&problem.text);
    free(json);
    mutex_lock(&fixture->lock);
    size_t calls = json_array_size(fixture->calls);
    mutex_unlock(&fixture->lock);
    tool_calls_must_be(fixture, calls == 0 ? "[]" : successes[row].calls);
    return fired;
}

/*
 * Jansson's parser itself is not safe without memory, so arguments are parsed before, agents are
 * not listed, and the answers are simple.
 */
static void test_without_memory_no_call_lacks_anything(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof successes / sizeof successes[0]; i++) {
        char function[64] = "";
        sscanf(successes[i].calls, "[['%63[A-Za-z]", function);
        if (strcmp(function, "listAgents") == 0)
            continue;
        const struct tool_answer answers[] = {
            {.function = function, .value = "null"}, {.function = NULL}};
        struct tool_fixture fixture;
        tool_fixture_start(&fixture, answers);
        fixture.call.audience = tool_fixture_orchestrator;
        unsigned nth = 1;
        while (expect_whole_call(&fixture, i, nth))
            nth++;
        tool_fixture_stop(&fixture);
    }
}

static int start_libraries(void **state)
{
    (void)state;
    json_guard_start();
    return http_client_library_start(NULL);
}

static int stop_libraries(void **state)
{
    (void)state;
    http_client_library_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_tool),
        cmocka_unit_test(test_what_changed_nothing_says_so),
        cmocka_unit_test(test_document_keeps_its_task),
        cmocka_unit_test(test_unknown_slugs),
        cmocka_unit_test(test_reasons_are_unwrapped),
        cmocka_unit_test(test_rejections),
        cmocka_unit_test(test_status_of_unknown_cause),
        cmocka_unit_test(test_doubts_about_the_version),
        cmocka_unit_test(test_nothing_is_sent_to_v0),
        cmocka_unit_test(test_changes_without_an_answer),
        cmocka_unit_test(test_reading_without_an_answer),
        cmocka_unit_test(test_backend_that_is_not_there),
        cmocka_unit_test(test_shutdown_before_the_call),
        cmocka_unit_test(test_timeout_of_a_change),
        cmocka_unit_test(test_long_results_are_cut),
        cmocka_unit_test(test_without_memory_no_call_lacks_anything),
    };
    return cmocka_run_group_tests(tests, start_libraries, stop_libraries);
}
