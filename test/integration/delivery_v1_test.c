/* Deliveries on version 1 of the backend: sessions, prompts, empty answers, changes of version. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static const char *text_of(const json_t *run, const char *key)
{
    const char *text = board_string(run, key);
    assert_non_null(text);
    return text;
}

static void test_mention_is_answered_in_the_session_of_its_task(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "@jarvis what is the time?");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    json_t *run = thread_run(env, 0);
    const char *session = text_of(run, "session");
    assert_int_equal(strncmp(session, "agent:jarvis:task:", strlen("agent:jarvis:task:")), 0);
    assert_string_equal(text_of(run, "user"), session);
    assert_string_equal(text_of(run, "x-openclaw-agent-id"), "jarvis");
    assert_non_null(strstr(text_of(run, "instructions"), "**Jarvis**"));
    assert_non_null(strstr(text_of(run, "input"), "## Notification: mention"));
    assert_non_null(strstr(text_of(run, "input"), "what is the time?"));
    assert_int_equal(thread_count_replies(env), 1);
    test_env_wait(env, "typing=0");
    assert_int_equal(test_env_stat(env, "backend", "markNotificationRead"), 1);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationDeliveryEnded"), 0);
    json_decref(run);
    test_env_stop_runtime(env);
}

/* Context, read, message, mark, and the list that all share; the first delivery finds the version.
 */
static void test_mention_costs_four_calls_beside_the_list(void **state)
{
    static const char *const functions[] = {"getNotificationForDelivery", "markNotificationRead",
        "createMessageFromAgent", "markNotificationDelivered", "markNotificationDeliveryEnded",
        "updateTaskStatusFromAgent"};
    static const long expected[] = {1, 1, 1, 1, 0, 0};
    long before[sizeof functions / sizeof functions[0]];
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "Delivered ");
    /* The lane is free a moment later; a look ahead before that would cost another read. */
    test_env_wait_words(env, "/metrics", "\nmission_control_lanes 0\n", true);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        before[i] = test_env_stat(env, "backend", functions[i]);
    thread_say(env, "@jarvis hello again");
    test_env_wait(env, "undelivered=0&messages=4");
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (test_env_stat(env, "backend", functions[i]) - before[i] != expected[i])
            fail_msg("%s was called %ld times", functions[i],
                test_env_stat(env, "backend", functions[i]) - before[i]);
    test_env_stop_runtime(env);
}

/* Acknowledged, and the task begins. */
static void test_assignment_begins_its_task(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'work','status':'assigned','assign':['jarvis']}]}");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    json_t *tasks = board_documents(env, "tasks");
    assert_string_equal(board_string(json_array_get(tasks, 0), "status"), "in_progress");
    json_decref(tasks);
    assert_true(thread_count_replies(env) >= 1);
    test_env_stop_runtime(env);
}

/* One agent works on two tasks at once, as each has a session of its own. */
static void test_one_agent_works_on_two_tasks_at_once(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'one'},{'title':'two'}]}");
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "hold", "times", 2));
    backend_set_up(env, "message", "{'task':'one','content':'@jarvis first'}");
    backend_set_up(env, "message", "{'task':'two','content':'@jarvis second'}");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=2");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "max_in_flight_per_session"), 1);
    test_env_stop_runtime(env);
}

static void test_lanes_can_be_agents(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'one'},{'title':'two'}]}");
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 100));
    backend_set_up(env, "message", "{'task':'one','content':'@jarvis first'}");
    backend_set_up(env, "message", "{'task':'two','content':'@jarvis second'}");
    test_env_start_runtime(env, STRINGS("DELIVERY_LANES=agent"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "max_in_flight"), 1);
    test_env_stop_runtime(env);
}

/* Fails the test unless the session of that run begins and ends so. */
static void session_must_be(
    struct test_env *env, size_t number, const char *beginning, const char *end)
{
    json_t *run = thread_run(env, number);
    const char *session = text_of(run, "session");
    size_t bytes = strlen(session);
    if (strncmp(session, beginning, strlen(beginning)) != 0 || bytes < strlen(end) ||
        strcmp(session + bytes - strlen(end), end) != 0)
        fail_msg("session %s, expected %s...%s", session, beginning, end);
    json_decref(run);
}

static void set_field(struct test_env *env, const char *name, const char *key, const char *value)
{
    json_decref(backend_control(env, "set", "{'id':'$%s','fields':{'%s':'%s'}}", name, key, value));
}

/* An archived task's sessions are closed; what comes after that is for a new one. */
static void test_task_has_a_new_session_after_it_was_archived(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    test_env_start_runtime(env, NULL);
    thread_say_and_wait(env, "@jarvis hello", 2);
    backend_set_up(env, "status", "{'task':'work','status':'archived'}");
    backend_set_up(env, "status", "{'task':'work','status':'assigned'}");
    test_env_wait(env, "undelivered=0");
    long before = thread_count_runs(env);
    thread_say(env, "@jarvis hello again");
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    test_env_wait(env, "undelivered=0");
    session_must_be(env, 0, "agent:jarvis:task:", ":v1");
    session_must_be(env, (size_t)before, "agent:jarvis:task:", ":v2");
    test_env_stop_runtime(env);
}

/* The backend keeps the session's key, which has the old slug; the gateway knows the new one. */
static void test_renamed_agent_is_asked_under_its_new_slug(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    test_env_start_runtime(env, NULL);
    thread_say_and_wait(env, "@jarvis hello", 2);
    set_field(env, "jarvis", "slug", "edwin");
    thread_say_and_wait(env, "@edwin hello", 4);
    session_must_be(env, 1, "agent:edwin:task:", ":v1");
    json_t *run = thread_run(env, 1);
    assert_string_equal(text_of(run, "x-openclaw-agent-id"), "edwin");
    json_decref(run);
    test_env_stop_runtime(env);
}

/* Its session would be another kind of the gateway's, so it waits, and is seen to wait. */
static void test_agent_with_a_reserved_slug_waits_for_another(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    set_field(env, "jarvis", "slug", "subagent");
    thread_say(env, "@subagent hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_MAX_MS=50"));
    test_env_wait_log(env, "the agent cannot be asked under its slug \"subagent\"");
    test_env_wait_calls(env, "getNotificationForDelivery", 2);
    assert_int_equal(thread_count_runs(env), 0);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationRead"), 0);
    assert_true(
        test_env_health_has(env, "/metrics", "mission_control_notifications_undelivered 1\n"));
    set_field(env, "subagent", "slug", "edwin");
    test_env_wait(env, "undelivered=0");
    session_must_be(env, 0, "agent:edwin:task:", ":v1");
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* The gateway lacks the agent, so the fallback runs, in a session that is the agent's alone. */
static void test_fallback_agent_has_a_session_for_each_agent(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("OPENCLAW_FALLBACK_AGENT=main"));
    test_env_wait(env, "undelivered=0&messages=2");
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    const json_t *request;
    const json_t *delivery = NULL;
    size_t index;
    /* The agent may have been woken before it or after it. */
    json_array_foreach (json_object_get(gateway, "requests"), index, request)
        if (json_object_get(request, "notification") != NULL)
            delivery = request;
    assert_int_equal(strncmp(text_of(delivery, "session"),
                         "agent:main:jarvis:task:", strlen("agent:main:jarvis:task:")),
        0);
    assert_string_equal(text_of(delivery, "x-openclaw-agent-id"), "main");
    json_decref(gateway);
    test_env_stop_runtime(env);
}

enum { SMILES = 60000, SMILE_BYTES = 4, LIMIT_UNITS = 100000 };

/* Lets the agent reply once with more than the thread takes. */
static void reply_with_smiles(struct test_env *env)
{
    char *reply = malloc(SMILES * SMILE_BYTES + 1);
    assert_non_null(reply);
    for (size_t i = 0; i < SMILES; i++)
        memcpy(reply + i * SMILE_BYTES, "\xF0\x9F\x98\x80", SMILE_BYTES);
    reply[(size_t)SMILES * SMILE_BYTES] = '\0';
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", reply));
    free(reply);
}

/*
 * Fails the test unless the thread's second message has as many smiles as fit beside a notice, and
 * that notice.
 */
static void must_be_cut(struct test_env *env, const char *notice)
{
    json_t *messages = board_documents(env, "messages");
    assert_int_equal(json_array_size(messages), 2);
    const char *content = board_string(json_array_get(messages, 1), "content");
    size_t smiles = strspn(content, "\xF0\x9F\x98\x80") / SMILE_BYTES;
    const char *said = content + smiles * SMILE_BYTES;
    if (strstr(said, notice) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", said, notice);
    assert_in_range(2 * smiles + strlen(said), LIMIT_UNITS - 1000, LIMIT_UNITS);
    json_decref(messages);
}

/* The whole reply is in one document of the task, of which the id is returned. */
static void must_be_in_a_document(struct test_env *env, char id[static ID_BYTES])
{
    json_t *documents = board_documents(env, "documents");
    assert_int_equal(json_array_size(documents), 1);
    const json_t *document = json_array_get(documents, 0);
    assert_int_equal(strlen(board_string(document, "content")), SMILES * SMILE_BYTES);
    assert_non_null(json_object_get(document, "taskId"));
    text_copy(id, ID_BYTES, board_string(document, "_id"));
    json_decref(documents);
}

/* The board checks the length before it looks whether it has the message already. */
static void test_reply_over_the_limit_becomes_one_document(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char notice[256];
    thread_seed(env);
    reply_with_smiles(env);
    board_fail(env, "createDocumentFromAgent", "drop_before", 1);
    board_fail(env, "createDocumentFromAgent", "drop_after", 1);
    board_fail(env, "createMessageFromAgent", "drop_after", 1);
    board_fail(env, "createMessageFromAgent", "status_after", 1);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "backend", "createDocumentFromAgent"), 2);
    assert_int_equal(test_env_stat(env, "backend", "createMessageFromAgent"), 3);
    must_be_in_a_document(env, id);
    snprintf(notice, sizeof notice,
        "[This reply was cut: the task thread takes 100000 characters. Full text: [Full "
        "reply](/document/%s)]",
        id);
    must_be_cut(env, notice);
    test_env_stop_runtime(env);
}

/* The next reply of the agent has that many characters; post: what somebody writes before it. */
static void reply_at_length(struct test_env *env, char character, size_t length, json_t *post)
{
    char *reply = malloc(length + 1);
    assert_non_null(reply);
    memset(reply, character, length);
    reply[length] = '\0';
    json_t *rule = json_pack("{s:s, s:s, s:i}", "action", "reply", "text", reply, "times", 1);
    if (post != NULL)
        assert_int_equal(json_object_set_new(rule, "post", post), 0);
    board_gateway_fault(env, rule);
    free(reply);
}

/*
 * A notification that comes to be about a newer message is answered twice, each time at length. The
 * second document must not be taken for the first, whose title would be the same.
 */
static void test_each_long_reply_has_a_document_of_its_own(void **state)
{
    enum { LENGTH = 120000 };
    struct test_env *env = *state;
    thread_seed(env);
    reply_at_length(env, 'a', LENGTH, json_pack("{s:s}", "content", "and more"));
    reply_at_length(env, 'b', LENGTH, NULL);
    thread_say(env, "hello");
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "createDocumentFromAgent",
                                 "behaviour", "drop_after", "times", 2));
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0&messages=4");
    json_t *documents = board_documents(env, "documents");
    json_t *messages = board_documents(env, "messages");
    assert_int_equal(json_array_size(documents), 2);
    assert_int_equal(json_array_size(messages), 4);
    for (size_t i = 0; i < 2; i++) {
        const json_t *document = json_array_get(documents, i);
        char link[64];
        snprintf(link, sizeof link, "(/document/%s)", board_string(document, "_id"));
        const char *content = board_string(json_array_get(messages, 2 + i), "content");
        assert_int_equal(content[0], board_string(document, "content")[0]);
        assert_non_null(strstr(content, link));
    }
    json_decref(messages);
    json_decref(documents);
    test_env_stop_runtime(env);
}

/* Nor may a refusal hold up the reply. */
static void test_reply_over_the_limit_is_posted_without_a_document(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    reply_with_smiles(env);
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "createDocumentFromAgent",
                                 "behaviour", "function_error", "message", "Server Error"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0");
    must_be_cut(env, "[This reply was cut: the task thread takes 100000 characters.]");
    test_env_stop_runtime(env);
}

/* Where agents may create no documents. */
static void test_reply_over_the_limit_is_posted_once_and_cut(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','flags':{'canCreateDocuments':false}}],"
        "'tasks':[{'title':'work','status':'in_progress','assign':['jarvis']}]}");
    thread_mark_all(env);
    reply_with_smiles(env);
    board_fail(env, "createMessageFromAgent", "drop_after", 1);
    board_fail(env, "createMessageFromAgent", "status_after", 1);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "backend", "createMessageFromAgent"), 3);
    assert_int_equal(test_env_stat(env, "backend", "createDocumentFromAgent"), 0);
    must_be_cut(env, "[This reply was cut: the task thread takes 100000 characters.]");
    test_env_stop_runtime(env);
}

/* Between one answer and the next the backend may be the other version. */
static void test_backend_that_changes_its_version_loses_nothing(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    thread_say_and_wait(env, "@jarvis one", 2);
    board_set_flag(env, "rolled_back", true);
    thread_say_and_wait(env, "@jarvis two", 4);
    /* During a run, either way. */
    board_hold_agents(env, "agent");
    thread_say(env, "@jarvis three");
    test_env_wait(env, "held=1");
    board_set_flag(env, "rolled_back", false);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0&messages=6");
    board_hold_agents(env, "agent");
    thread_say(env, "@jarvis four");
    test_env_wait(env, "held=1");
    board_set_flag(env, "rolled_back", true);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0&messages=8");
    board_set_flag(env, "rolled_back", false);
    thread_say_and_wait(env, "@jarvis five", 10);
    assert_int_equal(thread_count_runs(env), 5);
    assert_int_equal(thread_count_replies(env), 5);
    test_env_wait(env, "typing=0");
    test_env_stop_runtime(env);
}

/* The acknowledgement is posted, and the task stays as it is. */
static void test_failing_change_of_status_fails_no_delivery(void **state)
{
    static const char *const behaviours[] = {"status", "drop_after", "function_error", "raw_body"};
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}]}");
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++)
        board_fail(env, "updateTaskStatusFromAgent", behaviours[i], 1);
    backend_set_up(env, "seed",
        "{'tasks':[{'title':'one','status':'assigned','assign':['jarvis']},"
        "{'title':'two','status':'assigned','assign':['jarvis']},"
        "{'title':'three','status':'assigned','assign':['jarvis']},"
        "{'title':'four','status':'assigned','assign':['jarvis']}]}");
    /* One after the other: until a context shows the version again, v1's functions are not called.
     */
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=1"));
    test_env_wait(env, "undelivered=0&messages=4");
    /* libcurl repeats a call by itself when a kept connection is closed. */
    assert_in_range(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 4, 5);
    test_env_stop_runtime(env);
}

/* With directories of their own, two runtimes do not know of each other. */
static void test_two_runtimes_post_one_reply(void **state)
{
    struct test_env *env = *state;
    char other[TMP_DIR_BYTES + 32];
    env->options.may_overlap = true;
    snprintf(other, sizeof other, "STATE_DIR=%s/other", env->dir);
    thread_seed(env);
    board_hold_agents(env, "agent");
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_launch(env, &env->second, STRINGS(other), NULL);
    test_env_wait(env, "held=2");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0&calls=2&action=createMessageFromAgent");
    test_env_stop_runtime(env);
    process_signal(&env->second, SIGTERM);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 0);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_wait(env, "typing=0");
}

/* An empty answer to a person is asked for again, twice at most, and then counted as none. */
static void test_empty_answers_to_a_person_are_asked_for_again(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "raw_body", "body",
                                 "{\"object\":\"response\",\"status\":\"completed\","
                                 "\"output\":[]}"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 3);
    assert_int_equal(thread_count_replies(env), 0);
    test_env_wait_words(env, "/metrics",
        "mission_control_notifications_no_response_total{outcome=\"retries_exhausted\"} 1\n", true);
    test_env_wait(env, "typing=0");
    test_env_stop_runtime(env);
}

/* Silence is an answer. */
static void test_silence_is_final(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", "HEARTBEAT_OK"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    assert_int_equal(thread_count_replies(env), 0);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_mention_is_answered_in_the_session_of_its_task),
        V1(test_mention_costs_four_calls_beside_the_list),
        V1(test_assignment_begins_its_task),
        V1(test_one_agent_works_on_two_tasks_at_once),
        V1(test_lanes_can_be_agents),
        V1(test_task_has_a_new_session_after_it_was_archived),
        V1(test_renamed_agent_is_asked_under_its_new_slug),
        V1(test_agent_with_a_reserved_slug_waits_for_another),
        V1(test_fallback_agent_has_a_session_for_each_agent),
        V1(test_reply_over_the_limit_becomes_one_document),
        V1(test_each_long_reply_has_a_document_of_its_own),
        V1(test_reply_over_the_limit_is_posted_without_a_document),
        V1(test_reply_over_the_limit_is_posted_once_and_cut),
        V1(test_backend_that_changes_its_version_loses_nothing),
        V1(test_failing_change_of_status_fails_no_delivery),
        V1(test_two_runtimes_post_one_reply),
        V1(test_empty_answers_to_a_person_are_asked_for_again),
        V1(test_silence_is_final),
    };
    return cmocka_run_group_tests_name("delivery_v1", tests, NULL, NULL);
}
