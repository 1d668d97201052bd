/* The sandbox's backend refuses functions and arguments that the version it plays does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

/* Arguments that pass the validator of a function, though the documents they name are gone. */
struct function_row {
    const char *name;
    const char *arguments;
};

#define AGENT "'agentId':'jx000000000000000000000000000000'"
#define TASK "'taskId':'jd000000000000000000000000000000'"
#define NOTIFICATION "'notificationId':'js000000000000000000000000000000'"
#define RUNTIME_CONFIG "'config':{'dropletId':'d','ipAddress':'i','lastHealthCheck':1}"

/* The functions of both versions, whose arguments did not change. */
static const struct function_row shared_functions[] = {
    {"listAgents", "{}"},
    {"listUndeliveredNotifications", "{'limit':5}"},
    {"getNotificationForDelivery", "{" NOTIFICATION "}"},
    {"markNotificationDelivered", "{" NOTIFICATION "}"},
    {"updateAgentHeartbeat", "{" AGENT ",'status':'online','currentTaskId':"
                             "'jd000000000000000000000000000000'}"},
    {"updateRuntimeStatus", "{'status':'online'," RUNTIME_CONFIG "}"},
    {"checkAndClearRestartRequested", "{}"},
    {"getPendingUpgrade", "{}"},
    {"recordUpgradeResult", "{'status':'success','fromOpenclawVersion':'a','toOpenclawVersion':'b',"
                            "'fromRuntimeVersion':'c','toRuntimeVersion':'d','duration':1}"},
};

static const struct function_row v0_functions[] = {
    {"createMessageFromAgent", "{" AGENT "," TASK ",'content':'x','attachments':"
                               "[{'type':'t','url':'u','name':'n','size':1}]}"},
};

static const struct function_row v1_functions[] = {
    {"createMessageFromAgent",
        "{" AGENT "," TASK ",'content':'x','suppressAgentNotifications':false,'attachments':"
        "[{'storageId':'kg000000000000000000000000000000','name':'n','type':'t','size':1}]}"},
};

static const struct function_row v1_only_functions[] = {
    {"listAgentsForRuntime", "{}"},
    {"getOrchestratorAgentId", "{}"},
    {"getAgentSkillsForTool", "{" AGENT ",'queryAgentId':'jx000000000000000000000000000000'}"},
    {"markNotificationRead", "{" NOTIFICATION "}"},
    {"markNotificationDeliveryEnded", "{" NOTIFICATION "}"},
    {"createResponseRequestNotifications",
        "{'requesterAgentId':'jx000000000000000000000000000000'," TASK
        ",'recipientSlugs':['a'],'message':'m'}"},
    {"createTaskMessageForAgentTool", "{" AGENT "," TASK ",'content':'x'}"},
    {"listTaskThreadForAgentTool", "{" AGENT "," TASK ",'limit':5}"},
    {"registerMessageUploadFromAgent",
        "{" AGENT "," TASK ",'storageId':'kg000000000000000000000000000000'}"},
    {"listAssignedTasksForAgent", "{" AGENT ",'includeDone':true,'limit':5}"},
    {"listTasksForOrchestratorHeartbeat", "{'statuses':['inbox','archived'],'limit':5}"},
    {"listTasksForAgentTool", "{" AGENT ",'status':'done','assigneeAgentId':"
                              "'jx000000000000000000000000000000','limit':5}"},
    {"getTaskForAgentTool", "{" AGENT "," TASK "}"},
    {"searchTasksForAgentTool", "{" AGENT ",'query':'q','limit':5}"},
    {"loadTaskDetailsForAgentTool", "{" AGENT "," TASK ",'messageLimit':5}"},
    {"getTaskHistoryForAgentTool", "{" AGENT "," TASK ",'messageLimit':5,'activityLimit':5}"},
    {"updateTaskStatusFromAgent",
        "{" AGENT "," TASK ",'status':'blocked','blockedReason':'r','expectedStatus':'inbox'}"},
    {"createTaskFromAgent",
        "{" AGENT ",'title':'t','description':'d','priority':1,'labels':['l'],'dueDate':1,'status':"
        "'inbox','blockedReason':'r','assignedAgentIds':['jx000000000000000000000000000000']}"},
    {"assignTaskFromAgent",
        "{" AGENT "," TASK ",'assignedAgentIds':['jx000000000000000000000000000000']}"},
    {"updateTaskFromAgent",
        "{" AGENT "," TASK ",'title':'t','description':'d','priority':1,'labels':['l'],'dueDate':1,"
        "'status':'done','blockedReason':'r','assignedAgentIds':[],'assignedUserIds':['n1']}"},
    {"deleteTaskFromAgent", "{" AGENT "," TASK ",'reason':'r'}"},
    {"linkTaskToPrForAgentTool", "{" AGENT "," TASK ",'prNumber':1}"},
    {"createDocumentFromAgent", "{" AGENT "," TASK ",'title':'t','content':'c','type':'note',"
                                "'documentId':'kd000000000000000000000000000000'}"},
    {"listDocumentsForAgent", "{" TASK ",'type':'reference','limit':5}"},
};

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static const char *error_of(const json_t *answer)
{
    const char *error = json_string_value(json_object_get(answer, "errorMessage"));
    return error == NULL ? "" : error;
}

/* Calls with JSON arguments as they are; returns the answer. */
static json_t *call_with(struct test_env *env, const char *function, const json_t *arguments)
{
    char path[96];
    json_t *whole = json_copy((json_t *)arguments);
    json_object_set_new(whole, "accountId", json_string(TEST_ACCOUNT));
    if (json_object_get(whole, "serviceToken") == NULL)
        json_object_set_new(whole, "serviceToken", json_string(TEST_TOKEN));
    snprintf(path, sizeof path, "service/actions:%s", function);
    return test_env_post(env, "/api/action", json_pack("{s:s, s:o}", "path", path, "args", whole));
}

static void expect_error(
    struct test_env *env, const char *function, json_t *arguments, const char *words)
{
    json_t *answer = call_with(env, function, arguments);
    if (strstr(error_of(answer), words) == NULL)
        fail_msg("%s: expected \"%s\" in \"%s\"", function, words, error_of(answer));
    json_decref(answer);
    json_decref(arguments);
}

/* The arguments with one of them replaced, or removed if value is NULL. Takes value. */
static json_t *with(const json_t *arguments, const char *key, json_t *value)
{
    json_t *changed = json_copy((json_t *)arguments);
    if (value == NULL)
        json_object_del(changed, key);
    else
        json_object_set_new(changed, key, value);
    return changed;
}

/* Checks each argument as null and as an object, and an unknown one. */
static void check_function(struct test_env *env, const struct function_row *row)
{
    char words[96];
    const char *key;
    const json_t *value;
    json_t *arguments = backend_json(env, row->arguments);
    json_t *answer = call_with(env, row->name, arguments);
    if (strstr(error_of(answer), "ArgumentValidationError") != NULL)
        fail_msg("%s refuses %s: %s", row->name, row->arguments, error_of(answer));
    json_decref(answer);
    json_object_foreach (arguments, key, value) {
        snprintf(words, sizeof words, "Path: .%s\nValue: null", key);
        expect_error(env, row->name, with(arguments, key, json_null()), words);
        snprintf(words, sizeof words, "Path: .%s", key);
        if (!json_is_object(value))
            expect_error(env, row->name, with(arguments, key, json_object()), words);
    }
    expect_error(env, row->name, with(arguments, "surplus", json_true()),
        "Object contains extra field `surplus` that is not in the validator.");
    expect_error(env, row->name, with(arguments, "serviceToken", json_integer(1)),
        "Path: .serviceToken\nValue: 1");
    json_decref(arguments);
}

static void check_functions(struct test_env *env, const struct function_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_function(env, &rows[i]);
}

static void test_v0_validates_strictly(void **state)
{
    check_functions(*state, shared_functions, COUNT(shared_functions));
    check_functions(*state, v0_functions, COUNT(v0_functions));
}

static void test_v1_validates_strictly(void **state)
{
    check_functions(*state, shared_functions, COUNT(shared_functions));
    check_functions(*state, v1_functions, COUNT(v1_functions));
    check_functions(*state, v1_only_functions, COUNT(v1_only_functions));
}

static void test_v0_lacks_the_functions_of_v1(void **state)
{
    for (size_t i = 0; i < COUNT(v1_only_functions); i++)
        backend_refuses(*state,
            "Could not find public function for 'service/actions:", v1_only_functions[i].name, "%s",
            v1_only_functions[i].arguments);
}

static void test_v0_refuses_arguments_of_v1(void **state)
{
    backend_refuses(*state, "extra field `suppressAgentNotifications`", "createMessageFromAgent",
        "{" AGENT "," TASK ",'content':'x','suppressAgentNotifications':false}");
}

/* One row for each required argument and each nested or listed value. */
static const struct {
    const char *function;
    const char *arguments;
    const char *error;
} refused_by_v1[] = {
    {"markNotificationRead", "{}", "Object is missing the required field `notificationId`."},
    {"createMessageFromAgent", "{" AGENT "," TASK "}", "missing the required field `content`"},
    {"createMessageFromAgent", "{" AGENT ",'content':'x'}", "missing the required field `taskId`"},
    {"createMessageFromAgent",
        "{" AGENT "," TASK
        ",'content':'x','attachments':[{'url':'u','name':'n','type':'t','size':1}]}",
        "missing the required field `storageId`"},
    {"createMessageFromAgent",
        "{'agentId':'jd000000000000000000000000000000'," TASK ",'content':'x'}",
        "Found ID \"jd000000000000000000000000000000\" from table `tasks`, which does not match "
        "the "
        "table name in validator `v.id(\"agents\")`."},
    {"updateTaskStatusFromAgent", "{" AGENT "," TASK ",'status':'finished'}", "Path: .status"},
    {"updateTaskStatusFromAgent", "{" AGENT "," TASK ",'status':'done','expectedStatus':'open'}",
        "Path: .expectedStatus"},
    {"listTasksForOrchestratorHeartbeat", "{'statuses':['inbox','open']}", "Path: .statuses[1]"},
    {"listTasksForOrchestratorHeartbeat", "{}", "missing the required field `statuses`"},
    {"createTaskFromAgent", "{" AGENT "}", "missing the required field `title`"},
    {"createTaskFromAgent", "{" AGENT ",'title':'t','labels':[1]}", "Path: .labels[0]"},
    {"createTaskFromAgent", "{" AGENT ",'title':'t','assignedAgentIds':['jarvis']}",
        "Path: .assignedAgentIds[0]\nValue: \"jarvis\"\nValidator: v.id(\"agents\")"},
    {"createTaskFromAgent", "{" AGENT ",'title':'t','priority':'high'}", "Path: .priority"},
    {"createResponseRequestNotifications",
        "{" AGENT "," TASK ",'recipientSlugs':['a'],'message':'m'}",
        "missing the required field `requesterAgentId`"},
    {"createDocumentFromAgent", "{" AGENT ",'title':'t','content':'c','type':'letter'}",
        "Validator: v.union(v.literal(\"deliverable\"), v.literal(\"note\"), "
        "v.literal(\"template\"), v.literal(\"reference\"))"},
    {"listDocumentsForAgent", "{" AGENT "}", "extra field `agentId`"},
    {"linkTaskToPrForAgentTool", "{" AGENT "," TASK ",'prNumber':'12'}", "Path: .prNumber"},
};

static void test_v1_names_the_argument_that_is_wrong(void **state)
{
    for (size_t i = 0; i < COUNT(refused_by_v1); i++)
        backend_refuses(*state, refused_by_v1[i].error, refused_by_v1[i].function, "%s",
            refused_by_v1[i].arguments);
}

/* In the order of the checks. */
static void test_v1_checks_the_token(void **state)
{
    struct test_env *env = *state;
    char token[600];
    memset(token, 'x', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    backend_refuses(env, "Uncaught Error: Invalid service token\n", "getOrchestratorAgentId",
        "{'serviceToken':'%s'}", token);
    token[512] = '\0';
    backend_refuses(env, "Uncaught Error: Invalid service token format\n", "getOrchestratorAgentId",
        "{'serviceToken':'%s'}", token);
    backend_refuses(env, "Uncaught Error: Invalid service token structure\n",
        "getOrchestratorAgentId", "{'serviceToken':'mc_service_x'}");
    backend_refuses(env, "Not found: Account does not exist", "getOrchestratorAgentId",
        "{'serviceToken':'mc_service_k5000000000000000000000000000000_x'}");
    backend_refuses(env, "Uncaught Error: Invalid service token\n", "getOrchestratorAgentId",
        "{'serviceToken':'%s0'}", TEST_TOKEN);
}

static void test_versions_are_told_apart_by_the_list(void **state)
{
    struct test_env *env = *state;
    bool is_v1 = env->options.backend != NULL;
    test_env_list_agents(env, true);
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *agents = backend_value(env, "listAgents", "{}");
    value_must_be(env, agents, is_v1 ? "0.sessionKey" : "0.systemSessionKey", "");
    assert_non_null(value_at(agents, is_v1 ? "0.systemSessionKey" : "0.sessionKey"));
    json_decref(agents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_v0_validates_strictly),
        V1(test_v1_validates_strictly),
        TEST_IN_ENV(test_v0_lacks_the_functions_of_v1),
        TEST_IN_ENV(test_v0_refuses_arguments_of_v1),
        V1(test_v1_names_the_argument_that_is_wrong),
        V1(test_v1_checks_the_token),
        TEST_IN_ENV(test_versions_are_told_apart_by_the_list),
        V1(test_versions_are_told_apart_by_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
