/* Tasks and documents in version 1 of the backend: statuses, lists, writes, limits. */
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

/* An orchestrator, an agent with and one without the right to change statuses, a foreign task. */
static void seed_agents(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'accounts':[{'name':'Other','secret':'s'}],"
        "'agents':[{'slug':'boss','name':'Boss','orchestrator':true},"
        "{'slug':'jarvis','name':'Jarvis','flags':{'canCreateTasks':true}},"
        "{'slug':'idle','flags':{'canModifyTaskStatus':false,'canCreateDocuments':false}},"
        "{'slug':'spy','account':'Other'}],"
        "'tasks':[{'title':'secret','account':'Other'}]}");
}

/* Makes the task "work" with the status, assigned to jarvis or to nobody. */
static void seed_task(struct test_env *env, const char *status, bool assigned)
{
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'work','status':'%s','assignedAgentIds':[%s]}]}", status,
        assigned ? "'$jarvis'" : "");
}

/* updateTaskStatusFromAgent by the orchestrator: from a status, what it asks, what comes of it. */
static const struct {
    const char *from;
    const char *ask;    /* status, and further arguments */
    const char *status; /* after the call */
    const char *error;  /* NULL: success */
    bool assigned;
    bool changed;
} changes[] = {
    {"assigned", "'status':'in_progress'", "in_progress", NULL, true, true},
    {"assigned", "'status':'review'", "review", NULL, true, true},
    {"assigned", "'status':'blocked','blockedReason':'x'", "blocked", NULL, true, true},
    {"assigned", "'status':'blocked','blockedReason':'  '", "blocked", NULL, true, true},
    {"assigned", "'status':'blocked'", "assigned",
        "Invalid status change: Cannot move to 'blocked' without providing a reason", true, false},
    {"assigned", "'status':'review'", "assigned",
        "Invalid status change: Cannot move to 'in_progress' without at least one assignee", false,
        false},
    {"assigned", "'status':'done'", "assigned",
        "Forbidden: Task must be in review before marking done", true, false},
    {"assigned", "'status':'inbox'", "assigned",
        "Invalid status: must be in_progress, review, done, or blocked", true, false},
    {"in_progress", "'status':'in_progress'", "in_progress", NULL, true, false},
    {"in_progress", "'status':'review','expectedStatus':'assigned'", "in_progress", NULL, true,
        false},
    {"in_progress", "'status':'review','expectedStatus':'in_progress'", "review", NULL, true, true},
    {"review", "'status':'done'", "done", NULL, true, true},
    {"review", "'status':'in_progress'", "in_progress", NULL, true, true},
    {"blocked", "'status':'review'", "review", NULL, true, true},
    {"inbox", "'status':'in_progress'", "inbox",
        "Invalid transition: Cannot move from 'inbox' to 'in_progress'", false, false},
    {"done", "'status':'done'", "done", NULL, true, false},
    {"done", "'status':'review'", "done", "Invalid transition: Cannot move from 'done' to 'review'",
        true, false},
    {"archived", "'status':'in_progress'", "archived",
        "Invalid transition: Cannot move from 'archived' to 'in_progress'", true, false},
};

static void expect_status(struct test_env *env, const char *title, const char *status)
{
    json_t *tasks = board_documents(env, "tasks");
    size_t index;
    const json_t *task;
    json_array_foreach (tasks, index, task) {
        if (strcmp(value_string(task, "title"), title) == 0)
            assert_string_equal(value_string(task, "status"), status);
    }
    json_decref(tasks);
}

static void check_change(struct test_env *env, size_t row)
{
    backend_set_up(env, "reset", "{}");
    seed_agents(env);
    seed_task(env, changes[row].from, changes[row].assigned);
    if (changes[row].error != NULL) {
        backend_refuses(env, changes[row].error, "updateTaskStatusFromAgent",
            "{'agentId':'$boss','taskId':'$work',%s}", changes[row].ask);
    } else {
        json_t *value = backend_value(env, "updateTaskStatusFromAgent",
            "{'agentId':'$boss','taskId':'$work',%s}", changes[row].ask);
        value_must_be(env, value, "success", "true");
        value_must_be(env, value, "taskId", "'$work'");
        value_must_be(env, value, "changed", changes[row].changed ? "true" : "false");
        assert_string_equal(value_string(value, "status"), changes[row].status);
        assert_true(json_is_number(value_at(value, "updatedAt")));
        json_decref(value);
    }
    expect_status(env, "work", changes[row].status);
}

static void test_status_changes(void **state)
{
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        check_change(*state, i);
}

/* The order of the checks: each call has the mistakes of the rows below it, too. */
static void test_order_of_status_checks(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    backend_refuses(env, "Invalid status: must be", "updateTaskStatusFromAgent",
        "{'agentId':'$spy','taskId':'$secret','status':'archived'}");
    backend_refuses(env, "Forbidden: Agent belongs to different account",
        "updateTaskStatusFromAgent", "{'agentId':'$spy','taskId':'$secret','status':'done'}");
    backend_refuses(env, "Forbidden: Agent is not allowed to modify task status",
        "updateTaskStatusFromAgent", "{'agentId':'$idle','taskId':'$secret','status':'done'}");
    backend_refuses(env, "Forbidden: Task belongs to different account",
        "updateTaskStatusFromAgent",
        "{'agentId':'$jarvis','taskId':'$secret','status':'done','expectedStatus':'review'}");
}

/* Who may mark a task in review as done. */
static const struct {
    const char *seed;
    const char *agent;
    const char *error; /* NULL: may */
} finishers[] = {
    {"{'agents':[{'slug':'a'}]}", "a", "Forbidden: Orchestrator must be set to mark tasks as done"},
    {"{'agents':[{'slug':'a'},{'slug':'b','orchestrator':true}]}", "a",
        "Forbidden: Only the orchestrator can mark tasks as done"},
    {"{'agents':[{'slug':'a'},{'slug':'b','orchestrator':true}]}", "b", NULL},
    {"{'agents':[{'slug':'qa'},{'slug':'b','orchestrator':true}]}", "b",
        "Forbidden: QA must approve and mark tasks as done"},
    {"{'agents':[{'slug':'qa'},{'slug':'b','orchestrator':true}]}", "qa", NULL},
    {"{'agents':[{'slug':'a','role':'Lead of QA'},{'slug':'b','orchestrator':true}]}", "a", NULL},
    {"{'agents':[{'slug':'a','role':'Equality officer'},{'slug':'b','orchestrator':true}]}", "a",
        NULL},
    {"{'agents':[{'slug':'a','role':'Aqara admin'},{'slug':'b','orchestrator':true}]}", "a",
        "Forbidden: Only the orchestrator can mark tasks as done"},
};

static void test_who_may_finish(void **state)
{
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof finishers / sizeof finishers[0]; i++) {
        backend_set_up(env, "reset", "{}");
        backend_set_up(env, "seed", "%s", finishers[i].seed);
        backend_set_up(env, "seed", "{'tasks':[{'title':'work','status':'review'}]}");
        if (finishers[i].error != NULL)
            backend_refuses(env, finishers[i].error, "updateTaskStatusFromAgent",
                "{'agentId':'$%s','taskId':'$work','status':'done'}", finishers[i].agent);
        else
            backend_do(env, "updateTaskStatusFromAgent",
                "{'agentId':'$%s','taskId':'$work','status':'done'}", finishers[i].agent);
    }
}

/* The recipients of all notifications of a type, as a new array. */
static json_t *recipients(struct test_env *env, const char *type)
{
    json_t *all = board_documents(env, "notifications");
    json_t *ids = json_array();
    size_t index;
    const json_t *row;
    json_array_foreach (all, index, row) {
        if (strcmp(value_string(row, "type"), type) == 0)
            json_array_append(ids, json_object_get(row, "recipientId"));
    }
    json_decref(all);
    return ids;
}

static void expect_recipients(struct test_env *env, const char *type, const char *text)
{
    json_t *ids = recipients(env, type);
    value_must_be(env, ids, "", text);
    json_decref(ids);
}

/* Two steps, one activity and one round of notifications, of the last step. */
static void test_chain_announces_its_last_step(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'work','status':'assigned','assignedAgentIds':['$jarvis','$idle']}]}");
    backend_do(env, "updateTaskStatusFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'review'}");
    expect_recipients(env, "status_change", "['$idle']");
    json_t *history =
        backend_value(env, "getTaskHistoryForAgentTool", "{'agentId':'$jarvis','taskId':'$work'}");
    assert_int_equal(json_array_size(value_at(history, "activities")), 1);
    value_must_be(env, history, "activities.0.type", "'task_status_changed'");
    value_must_be(env, history, "activities.0.actorName", "'Jarvis'");
    value_must_be(env, history, "activities.0.targetType", "'task'");
    value_must_be(
        env, history, "activities.0.meta", "{'oldStatus':'in_progress','newStatus':'review'}");
    json_decref(history);
}

static void test_blocked_reason_comes_and_goes(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    backend_do(env, "updateTaskStatusFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'blocked','blockedReason':'no key'}");
    json_t *task =
        backend_value(env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'$work'}");
    value_must_be(env, task, "blockedReason", "'no key'");
    json_decref(task);
    backend_do(env, "updateTaskStatusFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'in_progress'}");
    task = backend_value(env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'$work'}");
    value_must_be(env, task, "blockedReason", "");
    json_decref(task);
}

/* Refusals of the functions that make and change tasks. */
static const struct {
    const char *function;
    const char *arguments;
    const char *error;
} refusals[] = {
    {"createTaskFromAgent", "{'agentId':'$idle','title':'t'}",
        "Forbidden: Agent is not allowed to create tasks"},
    {"createTaskFromAgent", "{'agentId':'$jarvis','title':'t','assignedAgentIds':['$spy']}",
        "Invalid agent: jx"},
    {"createTaskFromAgent", "{'agentId':'$jarvis','title':'t','status':'blocked'}",
        "Invalid status at creation: Cannot move to 'blocked' without providing a reason"},
    {"assignTaskFromAgent", "{'agentId':'$jarvis','taskId':'$secret','assignedAgentIds':[]}",
        "Forbidden: Only the orchestrator can assign agents"},
    {"assignTaskFromAgent", "{'agentId':'$boss','taskId':'$secret','assignedAgentIds':[]}",
        "Forbidden: Task belongs to different account"},
    {"assignTaskFromAgent",
        "{'agentId':'$boss','taskId':'$work','assignedAgentIds':"
        "['jx000000000000000000000000000000']}",
        "Invalid agent: jx000000000000000000000000000000"},
    {"updateTaskFromAgent", "{'agentId':'$idle','taskId':'$secret','title':'x'}",
        "Forbidden: Agent is not allowed to modify tasks"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$secret','title':'x'}",
        "Forbidden: Task belongs to different account"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','priority':0}",
        "Invalid priority: must be between 1 (highest) and 5 (lowest)"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','status':'assigned'}",
        "Invalid status: must be in_progress, review, done, or blocked"},
    {"updateTaskFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'blocked','blockedReason':' '}",
        "blockedReason is required when status is 'blocked'"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','status':'done'}",
        "Forbidden: Task must be in review before marking done"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','assignedAgentIds':['$spy']}",
        "Invalid agent: jx"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','assignedUserIds':['nobody']}",
        "Invalid user: nobody is not a member of this account"},
    {"updateTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','assignedAgentIds':[]}",
        "Invalid assignees: status 'in_progress' requires at least one assignee"},
    {"deleteTaskFromAgent", "{'agentId':'$jarvis','taskId':'$work','reason':'x'}",
        "Forbidden: Only the orchestrator can archive/delete tasks"},
    {"linkTaskToPrForAgentTool", "{'agentId':'$jarvis','taskId':'$work','prNumber':1}",
        "Forbidden: Only the orchestrator can link tasks to PRs"},
    {"listTasksForAgentTool", "{'agentId':'$jarvis'}",
        "Forbidden: Only the orchestrator can list tasks"},
    {"getTaskForAgentTool", "{'agentId':'$jarvis','taskId':'$work'}",
        "Forbidden: Only the orchestrator can get tasks"},
    {"searchTasksForAgentTool", "{'agentId':'$jarvis','query':'x'}",
        "Forbidden: Only the orchestrator can search tasks"},
    {"loadTaskDetailsForAgentTool",
        "{'agentId':'$jarvis','taskId':'jd000000000000000000000000000000'}",
        "Not found: Task does not exist"},
    {"createDocumentFromAgent", "{'agentId':'$idle','title':'t','content':'c','type':'note'}",
        "Forbidden: Agent is not allowed to create documents"},
    {"createDocumentFromAgent",
        "{'agentId':'$jarvis','taskId':'$secret','title':'t','content':'c','type':'note'}",
        "Not found: Task does not exist or belongs to different account"},
    {"createDocumentFromAgent",
        "{'agentId':'$jarvis','documentId':'kd000000000000000000000000000000','title':'t',"
        "'content':'c','type':'note'}",
        "Not found: Document does not exist"},
    {"getAgentSkillsForTool", "{'agentId':'jx000000000000000000000000000000'}",
        "Not found: Requesting agent does not exist"},
    {"getAgentSkillsForTool", "{'agentId':'$jarvis','queryAgentId':'$spy'}",
        "Forbidden: Target agent belongs to different account"},
};

static void test_refusals(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        backend_refuses(env, refusals[i].error, refusals[i].function, "%s", refusals[i].arguments);
}

/* An argument that is one character too long, and the error. */
static const struct {
    const char *function;
    const char *arguments; /* besides the long one */
    const char *name;
    size_t max;
    const char *error;
} long_texts[] = {
    {"createTaskFromAgent", "'agentId':'$jarvis'", "title", 2000,
        "Title too long (max 2000 characters)"},
    {"createTaskFromAgent", "'agentId':'$jarvis','title':'t'", "description", 100000,
        "Description too long (max 100000 characters)"},
    {"createTaskFromAgent", "'agentId':'$spy','title':'t'", "blockedReason", 2000,
        "blockedReason must be at most 2000 characters"},
    {"updateTaskFromAgent", "'agentId':'$spy','taskId':'$work'", "blockedReason", 2000,
        "blockedReason must be at most 2000 characters"},
    {"updateTaskFromAgent", "'agentId':'$jarvis','taskId':'$secret'", "title", 2000,
        "Title too long (max 2000 characters)"},
    {"deleteTaskFromAgent", "'agentId':'$boss','taskId':'$work'", "reason", 2000,
        "reason must be at most 2000 characters"},
    {"createDocumentFromAgent", "'agentId':'$jarvis','content':'c','type':'note'", "title", 2000,
        "Title too long (max 2000 characters)"},
    {"createDocumentFromAgent", "'agentId':'$jarvis','title':'t','type':'note'", "content", 1000000,
        "Content too long (max 1000000 characters)"},
};

static void test_long_texts_are_refused(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    for (size_t i = 0; i < sizeof long_texts / sizeof long_texts[0]; i++) {
        char *text = malloc(long_texts[i].max + 2);
        assert_non_null(text);
        memset(text, 'x', long_texts[i].max + 1);
        text[long_texts[i].max + 1] = '\0';
        backend_refuses(env, long_texts[i].error, long_texts[i].function, "{%s,'%s':'%s'}",
            long_texts[i].arguments, long_texts[i].name, text);
        free(text);
    }
}

/* createTaskFromAgent by jarvis: further arguments, and the task that comes of them. */
static const struct {
    const char *arguments;
    const char *status;
    const char *assigned;
} creations[] = {
    {"", "'inbox'", "[]"},
    {",'assignedAgentIds':['$boss']", "'assigned'", "['$boss']"},
    {",'status':'inbox','assignedAgentIds':['$boss','$boss']", "'assigned'", "['$boss']"},
    {",'status':'in_progress'", "'in_progress'", "['$jarvis']"},
    {",'status':'assigned'", "'assigned'", "['$jarvis']"},
    {",'status':'review'", "'review'", "[]"},
    {",'status':'blocked','blockedReason':'x'", "'blocked'", "[]"},
    {",'status':'archived'", "'archived'", "[]"},
};

static void test_created_tasks(void **state)
{
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof creations / sizeof creations[0]; i++) {
        backend_set_up(env, "reset", "{}");
        seed_agents(env);
        json_t *made = backend_value(env, "createTaskFromAgent",
            "{'agentId':'$jarvis','title':'','priority':9%s}", creations[i].arguments);
        json_t *task = backend_value(env, "getTaskForAgentTool",
            "{'agentId':'$boss','taskId':'%s'}", value_string(made, "taskId"));
        value_must_be(env, task, "title", "''");
        value_must_be(env, task, "priority", "9");
        value_must_be(env, task, "createdBy", "'$jarvis'");
        value_must_be(env, task, "status", creations[i].status);
        value_must_be(env, task, "assignedAgentIds", creations[i].assigned);
        expect_recipients(env, "assignment", creations[i].assigned);
        json_decref(task);
        json_decref(made);
    }
}

static void test_assigning_adds(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "inbox", false);
    backend_do(
        env, "assignTaskFromAgent", "{'agentId':'$boss','taskId':'$work','assignedAgentIds':[]}");
    expect_status(env, "work", "inbox");
    backend_do(env, "assignTaskFromAgent",
        "{'agentId':'$boss','taskId':'$work','assignedAgentIds':['$jarvis']}");
    expect_status(env, "work", "in_progress");
    backend_do(env, "assignTaskFromAgent",
        "{'agentId':'$boss','taskId':'$work','assignedAgentIds':['$jarvis','$idle']}");
    expect_recipients(env, "assignment", "['$jarvis','$idle']");
    /* An assignee that is gone makes it fail for all. */
    json_t *jarvis = backend_json(env, "'$jarvis'");
    backend_set_up(env, "delete", "{'id':'$jarvis'}");
    char error[80];
    snprintf(error, sizeof error, "Invalid agent: %s", json_string_value(jarvis));
    backend_refuses(env, error, "assignTaskFromAgent",
        "{'agentId':'$boss','taskId':'$work','assignedAgentIds':['$idle']}");
    json_decref(jarvis);
}

/* updateTaskFromAgent by jarvis on a task in progress: arguments, and what changed. */
static const struct {
    const char *arguments;
    const char *changed;
    const char *path; /* in the task */
    const char *value;
} updates[] = {
    {"", "[]", "status", "'in_progress'"},
    {",'blockedReason':'x'", "[]", "blockedReason", ""},
    {",'title':'  new  '", "['title']", "title", "'new'"},
    {",'title':'  '", "['title']", "title", "''"},
    {",'priority':2.5", "['priority']", "priority", "2.5"},
    {",'labels':['a'],'dueDate':5", "['labels','dueDate']", "dueDate", "5"},
    {",'status':'in_progress'", "[]", "status", "'in_progress'"},
    {",'status':'review'", "['status']", "status", "'review'"},
    {",'assignedAgentIds':['$idle']", "['assignedAgentIds']", "assignedAgentIds", "['$idle']"},
    {",'assignedUserIds':['$Ada'],'assignedAgentIds':[]", "['assignedAgentIds','assignedUserIds']",
        "assignedUserIds", "['$Ada']"},
};

static void test_updates(void **state)
{
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof updates / sizeof updates[0]; i++) {
        backend_set_up(env, "reset", "{}");
        seed_agents(env);
        seed_task(env, "in_progress", true);
        json_t *id = backend_json(env, "'$work'");
        json_t *value = backend_value(env, "updateTaskFromAgent",
            "{'agentId':'$jarvis','taskId':'$work'%s}", updates[i].arguments);
        value_must_be(env, value, "changedFields", updates[i].changed);
        json_t *task = backend_value(
            env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'%s'}", json_string_value(id));
        value_must_be(env, task, updates[i].path, updates[i].value);
        expect_recipients(env, "assignment", "[]");
        json_decref(task);
        json_decref(value);
        json_decref(id);
    }
}

static void test_update_is_not_atomic(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    backend_refuses(env, "Invalid agent: jx", "updateTaskFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'review','assignedAgentIds':['$spy']}");
    expect_status(env, "work", "review");
    /* With in_progress the assignees come first. */
    backend_refuses(env, "Invalid agent: jx", "updateTaskFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','status':'in_progress','assignedAgentIds':["
        "'$spy']}");
    expect_status(env, "work", "review");
}

static void test_update_moves_the_followers(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    backend_do(env, "updateTaskFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','assignedAgentIds':['$idle']}");
    backend_set_up(env, "message", "{'task':'work','content':'hello'}");
    expect_recipients(env, "thread_update", "['$boss','$idle']");
}

static void test_deleting_archives(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "done", true);
    backend_do(
        env, "deleteTaskFromAgent", "{'agentId':'$boss','taskId':'$work','reason':'not needed'}");
    json_t *task =
        backend_value(env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'$work'}");
    value_must_be(env, task, "status", "'archived'");
    assert_true(json_is_number(value_at(task, "archivedAt")));
    json_decref(task);
    backend_do(
        env, "linkTaskToPrForAgentTool", "{'agentId':'$boss','taskId':'$work','prNumber':12}");
    task = backend_value(env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'$work'}");
    value_must_be(env, task, "metadata", "{'prNumber':12}");
    json_decref(task);
    task = backend_value(env, "getTaskForAgentTool", "{'agentId':'$boss','taskId':'$secret'}");
    assert_true(json_is_null(task));
    json_decref(task);
}

/* Twelve tasks of jarvis, t0 to t11, in this order of creation; t0 was updated last. */
static void seed_twelve(struct test_env *env)
{
    seed_agents(env);
    for (int i = 0; i < 12; i++)
        backend_set_up(env, "seed",
            "{'tasks':[{'title':'t%d','status':'%s','assignedAgentIds':['$jarvis'],"
            "'updatedAt':%d.0}]}",
            i,
            i < 10    ? "in_progress"
            : i == 10 ? "done"
                      : "archived",
            i == 0 ? 1000 : 100 + i);
}

/* Lists of these tasks: which titles, in which order. NULL instead of titles: the take error. */
static const struct {
    const char *function;
    const char *arguments;
    const char *titles;
} lists[] = {
    {"listAssignedTasksForAgent", "'agentId':'$jarvis','limit':3", "t0 t11 t9"},
    {"listAssignedTasksForAgent", "'agentId':'$jarvis','limit':3,'includeDone':true", "t0 t11 t10"},
    {"listAssignedTasksForAgent", "'agentId':'$jarvis','limit':2.7", "t0 t11"},
    {"listAssignedTasksForAgent", "'agentId':'$jarvis','limit':-9", "t0 t11"},
    {"listAssignedTasksForAgent", "'agentId':'$jarvis','limit':0", ""},
    {"listAssignedTasksForAgent", "'agentId':'$boss'", ""},
    {"listTasksForOrchestratorHeartbeat", "'statuses':['in_progress'],'limit':3", "t9 t8 t7"},
    {"listTasksForOrchestratorHeartbeat", "'statuses':['done','archived']", "t11 t10"},
    {"listTasksForOrchestratorHeartbeat", "'statuses':[]", ""},
    {"listTasksForOrchestratorHeartbeat", "'statuses':['done'],'limit':0", ""},
    {"listTasksForOrchestratorHeartbeat", "'statuses':['done'],'limit':-1", NULL},
    {"listTasksForOrchestratorHeartbeat", "'statuses':['done'],'limit':1.5", NULL},
    {"listTasksForAgentTool", "'agentId':'$boss','limit':3", "t11 t10 t9"},
    {"listTasksForAgentTool", "'agentId':'$boss','limit':2.7", "t11 t10"},
    {"listTasksForAgentTool", "'agentId':'$boss','limit':-1", NULL},
    {"listTasksForAgentTool", "'agentId':'$boss','status':'in_progress','limit':2", "t9 t8"},
    {"listTasksForAgentTool", "'agentId':'$boss','assigneeAgentId':'$jarvis','limit':3",
        "t0 t11 t10"},
    {"listTasksForAgentTool",
        "'agentId':'$boss','assigneeAgentId':'$jarvis','status':'in_progress','limit':2", "t9 t8"},
    {"searchTasksForAgentTool", "'agentId':'$boss','query':' T1 '", "t1 t10 t11"},
    {"searchTasksForAgentTool", "'agentId':'$boss','query':'T1','limit':-1", "t1 t10"},
    {"searchTasksForAgentTool", "'agentId':'$boss','query':'  '", ""},
};

static void expect_titles(const json_t *list, const char *titles, const char *arguments)
{
    char is[256] = "";
    size_t index;
    const json_t *row;
    json_array_foreach (list, index, row) {
        size_t length = strlen(is);
        snprintf(is + length, sizeof is - length, "%s%s", index > 0 ? " " : "",
            value_string(row, "title"));
    }
    if (strcmp(is, titles) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", arguments, is, titles);
}

static void test_orders_and_limits_of_lists(void **state)
{
    struct test_env *env = *state;
    seed_twelve(env);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lists[i].titles == NULL) {
            backend_refuses(env, "Arg 1 `n` to `take` must be a non-negative integer",
                lists[i].function, "{%s}", lists[i].arguments);
            continue;
        }
        json_t *list = backend_value(env, lists[i].function, "{%s}", lists[i].arguments);
        expect_titles(list, lists[i].titles, lists[i].arguments);
        json_decref(list);
    }
}

static void test_list_of_an_assignee_looks_at_few_tasks(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'old','status':'review','assignedAgentIds':['$jarvis']}]}");
    for (int i = 0; i < 29; i++)
        backend_set_up(env, "seed", "{'tasks':[{'title':'t%d','status':'review'}]}", i);
    json_t *list = backend_value(
        env, "listTasksForAgentTool", "{'agentId':'$boss','assigneeAgentId':'$jarvis'}");
    expect_titles(list, "", "the newest 29 of each status");
    json_decref(list);
    list = backend_value(env, "listTasksForAgentTool",
        "{'agentId':'$boss','assigneeAgentId':'$jarvis','status':'review','limit':2}");
    expect_titles(list, "", "ten times the limit");
    json_decref(list);
    list = backend_value(env, "listTasksForAgentTool",
        "{'agentId':'$boss','assigneeAgentId':'$jarvis','status':'review','limit':3}");
    expect_titles(list, "old", "ten times the limit");
    json_decref(list);
}

static void test_search_scores(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'a','description':'the Key','blockedReason':'no key'},"
        "{'title':'key','description':'key'},{'title':'b','blockedReason':'KEY'}]}");
    json_t *found =
        backend_value(env, "searchTasksForAgentTool", "{'agentId':'$boss','query':'key'}");
    expect_titles(found, "key a b", "key");
    value_must_be(env, found, "0.relevanceScore", "5");
    value_must_be(env, found, "1.relevanceScore", "3");
    value_must_be(env, found, "2.relevanceScore", "1");
    value_must_be(env, found, "2.blockedReason", "'KEY'");
    value_must_be(env, found, "0.description", "");
    json_decref(found);
}

static void test_details_and_history(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    for (int i = 0; i < 12; i++)
        backend_set_up(env, "message", "{'task':'work','content':'m%d'}", i);
    json_t *details =
        backend_value(env, "loadTaskDetailsForAgentTool", "{'agentId':'$idle','taskId':'$work'}");
    value_must_be(env, details, "task.title", "'work'");
    assert_int_equal(json_array_size(value_at(details, "thread")), 10);
    value_must_be(env, details, "thread.9.content", "'m11'");
    json_decref(details);
    json_t *history = backend_value(env, "getTaskHistoryForAgentTool",
        "{'agentId':'$idle','taskId':'$work','messageLimit':0,'activityLimit':2}");
    value_must_be(env, history, "meta", "{'messageLimitApplied':1,'activityLimitApplied':2}");
    value_must_be(env, history, "messages.0.content", "'m11'");
    assert_int_equal(json_array_size(value_at(history, "activities")), 2);
    value_must_be(env, history, "activities.0.type", "'message_created'");
    json_decref(history);
    backend_refuses(env, "must be a non-negative integer", "getTaskHistoryForAgentTool",
        "{'agentId':'$idle','taskId':'$work','messageLimit':2.7}");
    backend_refuses(env, "must be a non-negative integer", "loadTaskDetailsForAgentTool",
        "{'agentId':'$idle','taskId':'$work','messageLimit':2.7}");
}

static void test_documents(void **state)
{
    struct test_env *env = *state;
    seed_agents(env);
    seed_task(env, "in_progress", true);
    backend_do(env, "createDocumentFromAgent",
        "{'agentId':'$jarvis','taskId':'$work','title':'plan','content':'c','type':'note'}");
    backend_set_up(env, "seed", "{'documents':[{'title':'trash','deletedAt':1}]}");
    json_t *list = backend_value(env, "listDocumentsForAgent", "{'taskId':'$work'}");
    value_must_be(env, list, "documents.0._id", "'$plan'");
    value_must_be(env, list, "documents.0.type", "'note'");
    value_must_be(env, list, "documents.0.content", "");
    value_must_be(env, list, "documents.1", "");
    json_decref(list);
    /* Written again without a task, it belongs to none. */
    backend_do(env, "createDocumentFromAgent",
        "{'agentId':'$boss','documentId':'$plan','title':'plan','content':'d',"
        "'type':'deliverable'}");
    list = backend_value(env, "listDocumentsForAgent", "{'taskId':'$work'}");
    value_must_be(env, list, "documents", "[]");
    json_decref(list);
    json_t *documents = board_documents(env, "documents");
    value_must_be(env, documents, "0.version", "2");
    value_must_be(env, documents, "0.content", "'d'");
    json_decref(documents);
    list = backend_value(env, "listDocumentsForAgent", "{'limit':0.5}");
    assert_int_equal(json_array_size(value_at(list, "documents")), 1);
    json_decref(list);
}

static void test_skills_and_profiles(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "seed",
        "{'skills':[{'slug':'search','contentMarkdown':'how to'},{'slug':'off','isEnabled':false}],"
        "'agents':[{'slug':'jarvis','name':'Jarvis','role':'Developer','soulContent':'calm',"
        "'skills':['search','off']},{'slug':'idle'}]}");
    json_t *skills =
        backend_value(env, "getAgentSkillsForTool", "{'agentId':'$idle','queryAgentId':'$jarvis'}");
    value_must_be(env, skills, "0.agentId", "'jarvis'");
    value_must_be(env, skills, "0.skillCount", "2");
    value_must_be(env, skills, "1", "");
    assert_int_equal(strlen(value_string(skills, "0.lastUpdated")), 24);
    json_decref(skills);
    json_t *profiles = backend_value(env, "listAgentsForRuntime", "{}");
    value_must_be(env, profiles, "0.effectiveSoulContent", "'calm'");
    assert_true(strlen(value_string(profiles, "0.effectiveIdentityContent")) > 0);
    assert_true(strlen(value_string(profiles, "1.effectiveUserMd")) > 0);
    value_must_be(env, profiles, "0.resolvedSkills.0.slug", "'search'");
    value_must_be(env, profiles, "0.resolvedSkills.0.contentMarkdown", "'how to'");
    value_must_be(env, profiles, "0.resolvedSkills.1", "");
    json_decref(profiles);
    json_t *orchestrator = backend_value(env, "getOrchestratorAgentId", "{}");
    value_must_be(env, orchestrator, "", "{'orchestratorAgentId':null}");
    json_decref(orchestrator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_status_changes),
        V1(test_order_of_status_checks),
        V1(test_who_may_finish),
        V1(test_chain_announces_its_last_step),
        V1(test_blocked_reason_comes_and_goes),
        V1(test_refusals),
        V1(test_long_texts_are_refused),
        V1(test_created_tasks),
        V1(test_assigning_adds),
        V1(test_updates),
        V1(test_update_is_not_atomic),
        V1(test_update_moves_the_followers),
        V1(test_deleting_archives),
        V1(test_orders_and_limits_of_lists),
        V1(test_list_of_an_assignee_looks_at_few_tasks),
        V1(test_search_scores),
        V1(test_details_and_history),
        V1(test_documents),
        V1(test_skills_and_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
