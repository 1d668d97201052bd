/*
 * Whom the runtime asks on version 1 of the backend, from the notification to the metric. The rules
 * by themselves are in test/unit/policy_test.c. Also what bounds agents that answer each other, and
 * what the rules say about agents that come, go and change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"
#include "base/containers.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

enum peculiarity {
    NOTHING,
    IN_CHAT,     /* the task is the orchestrator's chat */
    IS_ANSWER,   /* the message answered a thread update */
    IS_FOLLOWED, /* its author writes again afterwards */
};

/* One notification in a task of its own, and what becomes of it. */
struct policy_case {
    const char *type;
    const char *agent;  /* the recipient: boss (the orchestrator), dev (assigned), peer or judge */
    const char *status; /* of the task */
    const char *author; /* of its message: an agent, Bob or NULL for none */
    enum peculiarity peculiarity;
    const char *reason; /* why it is skipped; NULL: its agent is asked */
};

static const struct policy_case policy_cases[] = {
    {"mention", "boss", "in_progress", "Bob", IN_CHAT, NULL},
    {"mention", "dev", "in_progress", "Bob", IN_CHAT, "not_the_orchestrator"},
    {"assignment", "dev", "in_progress", NULL, IN_CHAT, "not_the_orchestrator"},
    {"thread_update", "dev", "in_progress", "Bob", NOTHING, NULL},
    {"thread_update", "dev", "done", "Bob", NOTHING, "task_at_rest"},
    {"thread_update", "dev", "blocked", "Bob", NOTHING, "task_at_rest"},
    {"mention", "dev", "done", "Bob", NOTHING, NULL},
    {"status_change", "dev", "in_progress", NULL, NOTHING, NULL},
    {"status_change", "dev", "done", NULL, NOTHING, "status_at_rest"},
    {"status_change", "boss", "blocked", NULL, NOTHING, "status_at_rest"},
    {"status_change", "dev", "review", NULL, NOTHING, "not_a_reviewer"},
    {"status_change", "judge", "review", NULL, NOTHING, NULL},
    {"status_change", "boss", "review", NULL, NOTHING, NULL},
    {"thread_update", "boss", "in_progress", "peer", NOTHING, NULL},
    {"thread_update", "boss", "in_progress", "peer", IS_ANSWER, NULL},
    {"thread_update", "peer", "in_progress", "dev", NOTHING, "not_assigned"},
    {"thread_update", "dev", "in_progress", "peer", NOTHING, NULL},
    {"thread_update", "dev", "in_progress", "peer", IS_ANSWER, "answers_an_update"},
    {"thread_update", "dev", "in_progress", "boss", IS_ANSWER, NULL},
    {"thread_update", "peer", "in_progress", "boss", IS_ANSWER, "answers_an_update"},
    {"thread_update", "judge", "review", "peer", IS_ANSWER, NULL},
    {"thread_update", "judge", "in_progress", "peer", IS_ANSWER, "answers_an_update"},
    {"mention", "dev", "in_progress", "dev", NOTHING, "own_message"},
    {"thread_update", "dev", "in_progress", "Bob", IS_FOLLOWED, "stale_update"},
    {"mention", "dev", "in_progress", "Bob", IS_FOLLOWED, NULL},
    {"response_request", "peer", "in_progress", NULL, NOTHING, NULL},
    {"assignment", "peer", "archived", NULL, NOTHING, NULL},
    {"poke", "peer", "in_progress", NULL, NOTHING, NULL},
};

enum { CASES = sizeof policy_cases / sizeof policy_cases[0] };

static void seed_squad(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'users':[{'name':'Bob','email':'bob@example.com'}],'agents':["
        "{'slug':'boss','heartbeatInterval':1440,'orchestrator':true},"
        "{'slug':'dev','heartbeatInterval':1440},{'slug':'peer','heartbeatInterval':1440},"
        "{'slug':'judge','heartbeatInterval':1440,'flags':{'canReviewTasks':true}}],"
        "'tasks':[{'title':'chat','orchestratorChat':true}]}");
}

/* Writes in the task as the case says; the id of the message, "" without one. */
static void write_message(struct test_env *env, const char *task,
    const struct policy_case *policy_case, char id[static ID_BYTES])
{
    id[0] = '\0';
    if (policy_case->author == NULL)
        return;
    json_t *answer;
    if (policy_case->peculiarity == IS_ANSWER) {
        json_t *source = backend_control(env, "notify",
            "{'agent':'%s','task':'%s','type':'thread_update'}", policy_case->author, task);
        answer = backend_value(env, "createMessageFromAgent",
            "{'agentId':'$%s','taskId':'$%s','content':'I see.','sourceNotificationId':'%s'}",
            policy_case->author, task, value_string(source, "id"));
        text_copy(id, ID_BYTES, value_string(answer, "messageId"));
        json_decref(source);
    } else {
        answer = backend_control(env, "message", "{'task':'%s','author':'%s','content':'Well.'}",
            task, policy_case->author);
        text_copy(id, ID_BYTES, value_string(answer, "id"));
    }
    json_decref(answer);
    if (policy_case->peculiarity == IS_FOLLOWED)
        backend_set_up(env, "message", "{'task':'%s','author':'%s','content':'And more.'}", task,
            policy_case->author);
}

/* A notification of a case: what it is about, and then it. */
struct made {
    char task[32];
    char message[ID_BYTES];
    char id[ID_BYTES];
};

static void make_task(
    struct test_env *env, const struct policy_case *policy_case, size_t number, struct made *made)
{
    if (policy_case->peculiarity == IN_CHAT) {
        text_copy(made->task, sizeof made->task, "chat");
    } else {
        snprintf(made->task, sizeof made->task, "task %zu", number);
        backend_set_up(env, "seed",
            "{'tasks':[{'title':'%s','status':'in_progress','assign':['dev']}]}", made->task);
    }
    write_message(env, made->task, policy_case, made->message);
    backend_set_up(env, "status", "{'task':'%s','status':'%s','reason':'so'}", made->task,
        policy_case->status);
}

static void make_notification(
    struct test_env *env, const struct policy_case *policy_case, struct made *made)
{
    json_t *answer =
        backend_control(env, "notify", "{'agent':'%s','task':'%s','type':'%s','message':'%s'}",
            policy_case->agent, made->task, policy_case->type, made->message);
    text_copy(made->id, sizeof made->id, value_string(answer, "id"));
    json_decref(answer);
}

/* Each reason is counted as often as there are cases with it. */
static int count_cases(const char *reason)
{
    int count = 0;
    for (size_t i = 0; i < CASES; i++)
        count += policy_cases[i].reason != NULL && strcmp(policy_cases[i].reason, reason) == 0;
    return count;
}

static void must_have_counted(struct test_env *env, const char *reason, int count)
{
    char series[128];
    snprintf(series, sizeof series,
        "mission_control_notifications_skipped_total{reason=\"%s\"} %d\n", reason, count);
    if (!test_env_health_has(env, "/metrics", series))
        fail_msg("not in /metrics: %s", series);
}

/* Until all that was marked has been counted as well. */
static void wait_for_ends(struct test_env *env)
{
    while (!test_env_health_has(env, "/metrics", "mission_control_notifications_undelivered 0\n"))
        test_env_wait_calls(env, "listUndeliveredNotifications", 1);
}

static void be_silent(struct test_env *env)
{
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", "HEARTBEAT_OK"));
}

static void test_each_rule_decides_who_is_asked(void **state)
{
    struct test_env *env = *state;
    struct made made[CASES];
    seed_squad(env);
    be_silent(env);
    for (size_t i = 0; i < CASES; i++)
        make_task(env, &policy_cases[i], i, &made[i]);
    thread_mark_all(env);
    for (size_t i = 0; i < CASES; i++)
        make_notification(env, &policy_cases[i], &made[i]);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    wait_for_ends(env);
    for (size_t i = 0; i < CASES; i++) {
        if (policy_cases[i].reason != NULL)
            must_have_counted(env, policy_cases[i].reason, count_cases(policy_cases[i].reason));
        if (board_requests_for(env, made[i].id) != (policy_cases[i].reason == NULL))
            fail_msg("case %zu: a %s of %s", i, policy_cases[i].type, policy_cases[i].agent);
    }
    test_env_stop_runtime(env);
}

/* A context that does not say in which session the agent works: no other session is guessed. */
static void test_agent_without_a_session_is_not_asked(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "@jarvis hello");
    json_t *listed = backend_value(env, "listUndeliveredNotifications", "{}");
    json_t *context = backend_value(env, "getNotificationForDelivery", "{'notificationId':'%s'}",
        value_string(listed, "0._id"));
    json_decref(listed);
    assert_int_equal(json_object_del(context, "deliverySessionKey"), 0);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:{s:s, s:o}}", "action", "getNotificationForDelivery",
                 "behaviour", "raw_body", "body_json", "status", "success", "value", context));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    wait_for_ends(env);
    must_have_counted(env, "no_session_key", 1);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_agent_without_a_session_is_not_asked),
        V1(test_each_rule_decides_who_is_asked),
    };
    return cmocka_run_group_tests_name("policy_v1", tests, NULL, NULL);
}
