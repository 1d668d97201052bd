/*
 * What is wrong with a call is said before the backend is asked: the calls here have no service, so
 * one that got through would crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/json_fixture.h"
#include "../lib/tool_fixture.h"
#include "agent_tools/arguments.h"
#include "base/json.h"
#include "base/text.h"

enum { HTTP = 1, TOOL = 2, BOTH = 3 };

struct refusal_case {
    long way;
    const char *tool;
    const char *arguments; /* with ' in place of " */
    long status;
    const char *error;
};

static void expect_refusal(const struct refusal_case *row, bool by_http,
    const struct tool_audience *audience, const char *task_id)
{
    struct tool_fixture fixture = {
        .call = {.agent_id = "a1", .task_id = task_id, .audience = *audience, .by_http = by_http}};
    struct tool_result result = tool_fixture_call(&fixture, row->tool, row->arguments);
    const char *error = json_guard_string(result.value, "error");
    if (error == NULL || strcmp(error, row->error) != 0 || result.status != row->status)
        fail_msg("%s %s %s: %d %s", by_http ? "POST" : "call", row->tool, row->arguments,
            result.status, error);
    assert_int_equal(result.end, TOOL_REFUSED);
    assert_true(json_is_false(json_object_get(result.value, "success")));
    json_decref(result.value);
}

static void expect_refusals(
    const struct refusal_case *rows, size_t count, const struct tool_audience *audience)
{
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].way & HTTP) != 0)
            expect_refusal(&rows[i], true, audience, "");
        if ((rows[i].way & TOOL) != 0)
            expect_refusal(&rows[i], false, audience, "");
    }
}

#define EXPECT(rows, audience) expect_refusals(rows, sizeof(rows) / sizeof(rows)[0], audience)

static void test_what_is_no_object(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_load", "null", 400, "Invalid JSON arguments"},
        {TOOL, "task_load", "[]", 400, "Invalid JSON arguments"},
        {TOOL, "task_load", "'t1'", 400, "Invalid JSON arguments"},
        {TOOL, "task_load", "{", 400, "Invalid JSON arguments"},
        {TOOL, "task_load", "{}x", 400, "Invalid JSON arguments"},
        {TOOL, "task_load", "", 400, "taskId is required"},
        {TOOL, "task_load", "  ", 400, "taskId is required"},
        {TOOL, "no_such", "{}", 404, "Unknown tool: no_such"},
        {HTTP, "task_load", "", 400, "Invalid JSON body"},
        {HTTP, "task_load", "null", 400, "Invalid JSON body"},
        {HTTP, "task_load", "[{}]", 400, "Invalid JSON body"},
        {HTTP, "task_load", "{'taskId':", 400, "Invalid JSON body"},
        {HTTP, "task_load", "taskId=t1", 400, "Invalid JSON body"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_types(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_load", "{'taskId':1}", 400,
            "Invalid JSON arguments: taskId must be a string, not a number"},
        {HTTP, "task_load", "{'taskId':1}", 400,
            "Invalid JSON body: taskId must be a string, not a number"},
        {TOOL, "task_load", "{'taskId':null}", 400,
            "Invalid JSON arguments: taskId must be a string, not null"},
        {TOOL, "task_load", "{'taskId':'t1','messageLimit':'9'}", 400,
            "Invalid JSON arguments: messageLimit must be a number, not a string"},
        {HTTP, "task_load", "{'taskId':'t1','messageLimit':null}", 400,
            "Invalid JSON body: messageLimit must be a number, not null; leave it out if there is "
            "none"},
        {TOOL, "task_status", "{'taskId':'t1','status':{'a':1}}", 400,
            "Invalid JSON arguments: status must be a string, not an object"},
        {TOOL, "task_update", "{'taskId':'t1','labels':'a'}", 400,
            "Invalid JSON arguments: labels must be an array of strings, not a string"},
        {TOOL, "task_update", "{'taskId':'t1','labels':['a',7]}", 400,
            "Invalid JSON arguments: labels must be an array of strings, not an array of other "
            "values"},
        {HTTP, "task_update", "{'taskId':'t1','priority':true}", 400,
            "Invalid JSON body: priority must be a number or a word, not a boolean"},
        {BOTH, "task_load", "{'taskId':'../etc'}", 422,
            "Invalid taskId: must be an id of the board, which has letters, digits, - and _"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_task_status(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_status", "{'status':'review'}", 400, "taskId is required"},
        {TOOL, "task_status", "{'taskId':'t1'}", 400, "status is required"},
        {HTTP, "task_status", "{}", 400, "Missing required fields: taskId, status"},
        {HTTP, "task_status", "{'taskId':'t1'}", 400, "Missing required fields: taskId, status"},
        {HTTP, "task_status", "{'taskId':' ','status':'review'}", 400,
            "Missing required fields: taskId, status"},
        {TOOL, "task_status", "{'taskId':'t1','status':'inbox'}", 422,
            "Invalid status: must be one of in_progress, review, done, blocked"},
        {HTTP, "task_status", "{'taskId':'t1','status':'Review'}", 422,
            "Invalid status: must be in_progress, review, done, or blocked"},
        {BOTH, "task_status", "{'taskId':'t1','status':'blocked'}", 422,
            "blockedReason is required when status is blocked"},
        {BOTH, "task_status", "{'taskId':'t1','status':'blocked','blockedReason':' '}", 422,
            "blockedReason is required when status is blocked"},
        {BOTH, "task_status", "{'taskId':'t1','status':'done'}", 403,
            "Forbidden: Not allowed to mark tasks as done"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_task_update(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_update", "{'title':'x'}", 400, "taskId is required"},
        {HTTP, "task_update", "{'title':'x'}", 400, "Missing required field: taskId"},
        {BOTH, "task_update", "{'taskId':'t1','blockedReason':'x'}", 400,
            "At least one field (title, description, priority, labels, assignedAgentIds, "
            "assignedUserIds, status, dueDate) must be provided"},
        {TOOL, "task_update", "{'taskId':'t1','status':'blocked'}", 422,
            "blockedReason is required when status is 'blocked'"},
        {HTTP, "task_update", "{'taskId':'t1','status':'blocked'}", 422,
            "blockedReason is required when status is blocked"},
        {BOTH, "task_update", "{'taskId':'t1','priority':0}", 422,
            "priority must be between 1 (highest) and 5 (lowest)"},
        {BOTH, "task_update", "{'taskId':'t1','priority':2.5}", 422,
            "priority must be between 1 (highest) and 5 (lowest)"},
        {BOTH, "task_update", "{'taskId':'t1','priority':'urgent'}", 422,
            "priority must be between 1 (highest) and 5 (lowest)"},
        {TOOL, "task_update", "{'taskId':'t1','status':'archived'}", 422,
            "Invalid status: must be one of in_progress, review, done, blocked"},
        {HTTP, "task_update", "{'taskId':'t1','dueDate':-1}", 422,
            "Invalid dueDate: must be a whole number from 0 to 8640000000000000"},
        {BOTH, "task_update", "{'taskId':'t1','status':'done'}", 403,
            "Forbidden: Not allowed to mark tasks as done"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_task_create(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_create", "{}", 400, "title is required"},
        {HTTP, "task_create", "{'title':' '}", 400, "Missing required field: title"},
        {BOTH, "task_create", "{'title':'x','assigneeSlugs':['a']}", 403,
            "Forbidden: Only the orchestrator can assign agents during task creation"},
        {BOTH, "task_create", "{'title':'x','priority':6}", 422,
            "Invalid priority: use 1-5 or one of critical|high|medium|low|lowest"},
        {BOTH, "task_create", "{'title':'x','priority':'urgent'}", 422,
            "Invalid priority: use 1-5 or one of critical|high|medium|low|lowest"},
        {HTTP, "task_create", "{'title':'x','status':'archived'}", 422,
            "Invalid status: must be inbox, assigned, in_progress, review, done, or blocked"},
        {TOOL, "task_create", "{'title':'x','status':'new'}", 422,
            "Invalid status: must be one of inbox, assigned, in_progress, review, done, blocked, "
            "archived"},
        {BOTH, "task_create", "{'title':'x','status':'blocked'}", 422,
            "blockedReason is required when status is blocked"},
        {BOTH, "task_create", "{'title':'x','status':'done'}", 403,
            "Forbidden: Not allowed to mark tasks as done"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_documents(void **state)
{
    (void)state;
    static const char missing[] =
        "title, content, and type (deliverable|note|template|reference) are required";
    static const char http_missing[] =
        "Missing or invalid: title, content, and type (deliverable|note|template|reference) "
        "required";
    static const struct refusal_case rows[] = {
        {TOOL, "document_upsert", "{}", 400, missing},
        {TOOL, "document_upsert", "{'title':'x','content':'y'}", 400, missing},
        {TOOL, "document_upsert", "{'title':'x','content':'y','type':'memo'}", 400, missing},
        {HTTP, "document_upsert", "{'title':'','content':'y','type':'note'}", 400, http_missing},
        {HTTP, "document_upsert", "{'title':'x','content':7,'type':'note'}", 400, http_missing},
        {HTTP, "document_upsert", "{'title':'x','content':'y','type':'memo'}", 400, http_missing},
        {TOOL, "document_list", "{'type':'memo'}", 422,
            "Invalid type: must be one of deliverable, note, template, reference"},
        {HTTP, "document_list", "{'type':'memo'}", 422,
            "Invalid type: must be deliverable, note, template, or reference"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

#define ELEVEN "'a','b','c','d','e','f','g','h','i','j','k'"

static void test_response_request(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "response_request", "{'recipientSlugs':['a'],'message':'x'}", 400,
            "taskId is required"},
        {TOOL, "response_request", "{'taskId':'t1','message':'x'}", 400,
            "recipientSlugs is required"},
        {TOOL, "response_request", "{'taskId':'t1','recipientSlugs':['@',' '],'message':'x'}", 400,
            "recipientSlugs is required"},
        {HTTP, "response_request", "{'taskId':'t1','recipientSlugs':[],'message':'x'}", 400,
            "Missing required field: recipientSlugs"},
        {TOOL, "response_request", "{'taskId':'t1','recipientSlugs':['a']}", 400,
            "message is required"},
        {HTTP, "response_request", "{'taskId':'t1','recipientSlugs':['a'],'message':' '}", 400,
            "Missing required field: message"},
        {BOTH, "response_request", "{'taskId':'t1','recipientSlugs':[" ELEVEN "],'message':'x'}",
            422, "Too many recipients: max 10 allowed per request"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_orchestrators_tools(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_assign", "{'assigneeSlugs':['a']}", 400, "taskId is required"},
        {TOOL, "task_assign", "{'taskId':'t1','assigneeSlugs':[]}", 400,
            "assigneeSlugs is required"},
        {HTTP, "task_assign", "{'taskId':'t1'}", 400, "Missing required field: assigneeSlugs"},
        {TOOL, "task_message", "{'taskId':'t1','content':''}", 400,
            "taskId and content are required"},
        {HTTP, "task_message", "{'content':'x'}", 400, "Missing required fields: taskId, content"},
        {TOOL, "task_list", "{'status':'open'}", 422,
            "Invalid status: must be one of inbox, assigned, in_progress, review, done, blocked, "
            "archived"},
        {HTTP, "task_list", "{'status':'Done'}", 422,
            "Invalid status: must be inbox, assigned, in_progress, review, done, blocked, or "
            "archived"},
        {BOTH, "task_get", "{}", 400, "taskId is required"},
        {BOTH, "task_thread", "{'limit':3}", 400, "taskId is required"},
        {BOTH, "task_search", "{'query':' '}", 400, "query is required"},
        {TOOL, "task_delete", "{'taskId':'t1'}", 400, "taskId and reason are required"},
        {HTTP, "task_delete", "{'reason':'x'}", 400, "Missing required fields: taskId, reason"},
        {BOTH, "task_link_pr", "{'prNumber':1}", 400, "taskId is required"},
        {BOTH, "task_link_pr", "{'taskId':'t1'}", 400, "prNumber is required and must be numeric"},
        {BOTH, "task_link_pr", "{'taskId':'t1','prNumber':'12'}", 400,
            "prNumber is required and must be numeric"},
        {BOTH, "task_link_pr", "{'taskId':'t1','prNumber':0}", 400,
            "prNumber is required and must be numeric"},
    };
    EXPECT(rows, &tool_fixture_orchestrator);
}

/* Before the arguments are looked at, so that nobody learns from them what a tool is like. */
static void test_orchestrators_tools_are_refused_to_others(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {BOTH, "task_assign", "{", 403, "Forbidden: Only the orchestrator can assign agents"},
        {BOTH, "task_message", "{", 403, "Forbidden: Only the orchestrator can post task messages"},
        {BOTH, "task_list", "{", 403, "Forbidden: Only the orchestrator can list tasks"},
        {BOTH, "task_get", "{", 403, "Forbidden: Only the orchestrator can get tasks"},
        {BOTH, "task_thread", "{", 403, "Forbidden: Only the orchestrator can read task threads"},
        {BOTH, "task_search", "{", 403, "Forbidden: Only the orchestrator can search tasks"},
        {TOOL, "task_delete", "{", 403,
            "Forbidden: Only the orchestrator can delete/archive tasks"},
        {HTTP, "task_delete", "{", 403, "Forbidden: Only the orchestrator can delete tasks"},
        {BOTH, "task_link_pr", "{", 403, "Forbidden: Only the orchestrator can link tasks to PRs"},
    };
    EXPECT(rows, &tool_fixture_worker);
}

static void test_flags(void **state)
{
    (void)state;
    static const struct tool_audience nobody = {.has_task = true};
    static const struct refusal_case rows[] = {
        {BOTH, "task_status", "{}", 403, "Forbidden: Agent is not allowed to modify task status"},
        {BOTH, "task_update", "{}", 403, "Forbidden: Agent is not allowed to modify tasks"},
        {BOTH, "task_create", "{}", 403, "Forbidden: Agent is not allowed to create tasks"},
        {BOTH, "document_upsert", "{}", 403, "Forbidden: Agent is not allowed to create documents"},
        {BOTH, "response_request", "{}", 403, "Forbidden: Agent may not request responses"},
    };
    EXPECT(rows, &nobody);
}

/* A text of units UTF-16 units, half of which are those of characters that have two. */
static char *long_text(size_t units)
{
    struct text text = {0};
    for (size_t i = 0; i + 4 <= units; i += 4)
        text_append(&text, "ab\xF0\x9F\x98\x80");
    for (size_t i = units - units % 4; i < units; i++)
        text_append(&text, "c");
    return text_take(&text);
}

/* Texts at the limit and one unit over it: tool, text's name, further arguments, limit, words. */
static const struct {
    const char *tool;
    const char *name;
    const char *others;
    size_t limit;
    const char *error;
} lengths[] = {
    {"task_create", "title", "", 2000, "title too long (max 2000 characters)"},
    {"task_create", "description", ",'title':'x'", 100000,
        "description too long (max 100000 characters)"},
    {"task_status", "blockedReason", ",'taskId':'t1','status':'blocked'", 2000,
        "blockedReason too long (max 2000 characters)"},
    {"response_request", "message", ",'taskId':'t1','recipientSlugs':['a']", 1000,
        "Message too long: max 1000 characters allowed"},
    {"task_message", "content", ",'taskId':'t1'", 100000,
        "content too long (max 100000 characters)"},
    {"task_delete", "reason", ",'taskId':'t1'", 2000, "reason too long (max 2000 characters)"},
    {"document_upsert", "content", ",'title':'x','type':'note'", 1000000,
        "content too long (max 1000000 characters)"},
};

static void check_length_of(size_t row, size_t units, bool fits)
{
    char *text = long_text(units);
    struct text arguments = {0};
    text_printf(&arguments, "{'%s':'  %s'%s}", lengths[row].name,
        strcmp(lengths[row].name, "message") == 0 ? text : text + 2, lengths[row].others);
    char *json = json_fixture_quote(arguments.data);
    json_t *given = json_loads(json, 0, NULL);
    const struct tool_call call = {.task_id = "", .audience = tool_fixture_orchestrator};
    struct argument_problem problem;
    json_t *checked = NULL;
    const struct tool *tool = tool_find(&tool_catalog, lengths[row].tool);
    assert_int_equal(arguments_check(tool, &call, given, &checked, &problem), fits);
    if (!fits) {
        assert_string_equal(problem.text.data, lengths[row].error);
        assert_int_equal(problem.status, 422);
    }
    text_fini(&problem.text);
    json_decref(checked);
    json_decref(given);
    free(json);
    text_fini(&arguments);
    free(text);
}

static void test_lengths_are_in_utf16_units(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_length_of(i, lengths[i].limit, true);
        check_length_of(i, lengths[i].limit + 1, false);
    }
}

/* What becomes of arguments: tool, given, checked. */
static const struct {
    const char *tool;
    const char *given;
    const char *checked;
} conversions[] = {
    {"task_load", "{'taskId':' t2 ','messageLimit':0}", "{'taskId':'t2','messageLimit':1}"},
    {"task_load", "{'messageLimit':7.9}", "{'taskId':'t1','messageLimit':7}"},
    {"task_load", "{'messageLimit':-1e300}", "{'taskId':'t1','messageLimit':1}"},
    {"task_history", "{'messageLimit':1e9,'activityLimit':-3}",
        "{'taskId':'t1','messageLimit':200,'activityLimit':0}"},
    {"document_list", "{'limit':101,'taskId':''}", "{'limit':100}"},
    {"task_search", "{'query':' a ','limit':1000}", "{'query':' a ','limit':100}"},
    {"task_create", "{'title':'x','priority':' High ','labels':['a',' ','b']}",
        "{'title':'x','priority':2,'labels':['a','b']}"},
    {"task_create", "{'title':'x','priority':5,'description':'','blockedReason':''}",
        "{'title':'x','priority':5,'description':''}"},
    {"task_status", "{'status':' review ','priority':1}", "{'taskId':'t1','status':'review'}"},
    {"task_message", "{'taskId':'t2','content':' a\\u0000b '}", "{'taskId':'t2','content':' ab '}"},
    {"response_request", "{'recipientSlugs':['a'],'message':' x '}",
        "{'taskId':'t1','recipientSlugs':['a'],'message':'x'}"},
    {"document_upsert", "{'title':'x','content':'','type':'note'}",
        "{'title':'x','content':'','type':'note'}"},
};

static void test_conversions(void **state)
{
    (void)state;
    const struct tool_call call = {.task_id = "t1", .audience = tool_fixture_orchestrator};
    for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++) {
        char *json = json_fixture_quote(conversions[i].given);
        json_t *given;
        json_t *checked = NULL;
        struct argument_problem problem;
        assert_int_equal(json_guard_load(json, strlen(json), &given, NULL), 0);
        const struct tool *tool = tool_find(&tool_catalog, conversions[i].tool);
        if (!arguments_check(tool, &call, given, &checked, &problem))
            fail_msg("%s: %s", json, problem.text.data);
        tool_value_must_be(checked, conversions[i].checked);
        text_fini(&problem.text);
        json_decref(checked);
        json_decref(given);
        free(json);
    }
}

/* Archiving and posting elsewhere must never happen to the run's task by omission. */
static void test_only_harmless_tools_default_to_the_runs_task(void **state)
{
    (void)state;
    static const struct refusal_case rows[] = {
        {TOOL, "task_assign", "{'assigneeSlugs':['a']}", 400, "taskId is required"},
        {TOOL, "task_message", "{'content':'x'}", 400, "taskId and content are required"},
        {TOOL, "task_delete", "{'reason':'x'}", 400, "taskId and reason are required"},
        {TOOL, "task_link_pr", "{'prNumber':1}", 400, "taskId is required"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_refusal(&rows[i], false, &tool_fixture_orchestrator, "t1");
}

static void test_unknown_keys_are_named(void **state)
{
    (void)state;
    struct tool_fixture fixture = {.call = {.task_id = "", .audience = tool_fixture_worker}};
    tool_must_give(&fixture, "task_status",
        "{'taskId':'t1','status':'blocked','blocked_reason':'x','b':null}", TOOL_REFUSED, 422,
        "{'success':false,'error':'blockedReason is required when status is blocked',"
        "'ignored':['blocked_reason','b']}");
    fixture.call.by_http = true;
    tool_must_give(&fixture, "task_status",
        "{'taskId':'t1','status':'blocked','blocked_reason':'x'}", TOOL_REFUSED, 422,
        "{'success':false,'error':'blockedReason is required when status is blocked'}");
}

int main(void)
{
    json_guard_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_object),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_task_status),
        cmocka_unit_test(test_task_update),
        cmocka_unit_test(test_task_create),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_response_request),
        cmocka_unit_test(test_orchestrators_tools),
        cmocka_unit_test(test_orchestrators_tools_are_refused_to_others),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_lengths_are_in_utf16_units),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_only_harmless_tools_default_to_the_runs_task),
        cmocka_unit_test(test_unknown_keys_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
