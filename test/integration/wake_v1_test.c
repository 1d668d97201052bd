/* Agents of a v1 backend that are woken: what they are told, what they do, and what is posted. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/agent_caller.h"
#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

/*
 * In minutes: woken once in the test, if it is the first agent, and otherwise not, as the first
 * wake-ups are spread; or every 0.3 s to 0.6 s.
 */
#define ONCE "1440"
#define OFTEN "0.005"

/* Jarvis with two tasks of its own and one that is done, beside friday, who has one. */
static void seed_board(struct test_env *env, const char *interval)
{
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:i}", "gateway_input_bytes", 65536));
    backend_set_up(env, "seed",
        "{'users':[{'name':'Bob','email':'bob@example.com'}],"
        "'agents':[{'slug':'jarvis','name':'Jarvis','heartbeatInterval':%s},"
        "{'slug':'friday','name':'Friday','heartbeatInterval':" ONCE "}],"
        "'tasks':[{'title':'letter','status':'assigned','assign':['jarvis'],"
        "'description':'To the bank'},"
        "{'title':'launch','status':'in_progress','assign':['jarvis']},"
        "{'title':'old','status':'done','assign':['jarvis']},"
        "{'title':'poster','status':'in_progress','assign':['friday']}]}",
        interval);
    thread_mark_all(env);
}

/* The agent's answers to its next wake-ups have these words, or all do with times -1. */
static void let_jarvis_say(struct test_env *env, const char *words, int times)
{
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:i, s:s}", "match", "agent", "jarvis",
                                 "action", "reply", "times", times, "text", words));
}

static void let_jarvis_call(struct test_env *env, const char *name, const char *arguments)
{
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:[{s:s, s:s}]}", "match", "agent", "jarvis", "action",
                 "reply", "times", 1, "calls", "name", name, "arguments", arguments));
}

/* The run of that number, from 0, of an agent; a new reference. */
static json_t *run_of(struct test_env *env, const char *slug, size_t number)
{
    char path[96];
    snprintf(path, sizeof path, "/sandbox/gateway?agent=%s", slug);
    json_t *record = test_env_get(env, path);
    json_t *run = json_incref(json_array_get(json_object_get(record, "requests"), number));
    json_decref(record);
    assert_non_null(run);
    return run;
}

static void run_must_show(struct test_env *env, const char *slug, size_t number, const char *words)
{
    json_t *run = run_of(env, slug, number);
    if (strstr(board_string(run, "input"), words) == NULL)
        fail_msg("the run does not show \"%s\": %s", words, board_string(run, "input"));
    json_decref(run);
}

static json_t *document_of(struct test_env *env, const char *table, const char *id)
{
    json_t *documents = board_documents(env, table);
    json_t *found = NULL;
    size_t index;
    json_t *document;
    json_array_foreach (documents, index, document)
        if (strcmp(board_string(document, "_id"), id) == 0)
            found = json_incref(document);
    json_decref(documents);
    assert_non_null(found);
    return found;
}

/* The only message of an agent is on that task, and has those words. */
static void message_must_be(struct test_env *env, const char *task, const char *words)
{
    char task_id[ID_BYTES];
    backend_id(env, task, task_id);
    assert_int_equal(thread_count_replies(env), 1);
    json_t *messages = board_documents(env, "messages");
    const json_t *message = json_array_get(messages, json_array_size(messages) - 1);
    assert_string_equal(board_string(message, "taskId"), task_id);
    assert_string_equal(board_string(message, "content"), words);
    assert_null(json_object_get(message, "sourceNotificationId"));
    json_decref(messages);
}

/* What the board shows jarvis to be at work on; "" for nothing. */
static void jarvis_must_work_on(struct test_env *env, const char *task)
{
    char id[ID_BYTES];
    char task_id[ID_BYTES] = "";
    backend_id(env, "jarvis", id);
    if (task[0] != '\0')
        backend_id(env, task, task_id);
    json_t *agent = document_of(env, "agents", id);
    const json_t *current = json_object_get(agent, "currentTaskId");
    assert_string_equal(board_string(agent, "status"), "online");
    assert_string_equal(current != NULL ? json_string_value(current) : "", task_id);
    json_decref(agent);
}

static void metric_must_be(struct test_env *env, const char *line)
{
    if (!test_env_health_has(env, "/metrics", line))
        fail_msg("/metrics lacks %s", line);
}

static void wait_for_online(struct test_env *env, int agents)
{
    char condition[64];
    snprintf(condition, sizeof condition, "action=updateAgentHeartbeat&calls=%d", agents);
    test_env_wait(env, condition);
}

static void test_agent_is_told_of_its_tasks(void **state)
{
    struct test_env *env = *state;
    char expected[512];
    char launch[ID_BYTES];
    char letter[ID_BYTES];
    seed_board(env, ONCE);
    backend_id(env, "launch", launch);
    backend_id(env, "letter", letter);
    backend_set_up(env, "message", "{'task':'launch','content':'Any news?'}");
    thread_mark_all(env);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    snprintf(expected, sizeof expected,
        "\nAssigned tasks:\n- launch (in_progress) — Task ID: %s\n- letter (assigned) — Task ID: "
        "%s — To the bank\n\n",
        launch, letter);
    run_must_show(env, "jarvis", 0, expected);
    run_must_show(env, "jarvis", 0, "\nRecent focus task thread updates:\n- Ada [user] (");
    run_must_show(env, "jarvis", 0, "): Any news?\n");
    snprintf(expected, sizeof expected, "\nFocus Task ID: %s (launch)\n", launch);
    run_must_show(env, "jarvis", 0, expected);
    json_t *run = run_of(env, "jarvis", 0);
    assert_null(json_object_get(run, "instructions"));
    /* As for an assignee on a task. */
    assert_int_equal(json_array_size(json_object_get(run, "tools")), 8);
    assert_string_equal(board_string(run, "session"), "agent:jarvis:system:" TEST_ACCOUNT ":v1");
    json_decref(run);
    assert_int_equal(thread_count_replies(env), 0);
    jarvis_must_work_on(env, "");
    metric_must_be(env, "mission_control_heartbeat_messages_total{outcome=\"silent\"} 1");
    test_env_stop_runtime(env);
}

static void test_agent_without_tasks_is_woken(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis','heartbeatInterval':" ONCE "}]}");
    let_jarvis_say(env, "All is quiet.", 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    run_must_show(env, "jarvis", 0, "\nAssigned tasks:\n- None\n");
    run_must_show(env, "jarvis", 0, "\nNo assigned tasks found.\n");
    json_t *run = run_of(env, "jarvis", 0);
    assert_int_equal(json_array_size(json_object_get(run, "tools")), 4);
    json_decref(run);
    assert_int_equal(test_env_stat(env, NULL, "messages"), 0);
    metric_must_be(env, "mission_control_heartbeat_messages_total{outcome=\"no_task\"} 1");
    test_env_stop_runtime(env);
}

/* Each of these answers posts nothing. */
static void test_silence_is_not_posted(void **state)
{
    static const char *const silent[] = {"HEARTBEAT_OK",
        "I looked at everything.\nHEARTBEAT_OK, nothing to do.", "NO_REPLY", " \n ",
        "No response from OpenClaw.", "NO_"};
    enum { SILENT = sizeof silent / sizeof silent[0] };
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    for (int i = 0; i < SILENT; i++)
        let_jarvis_say(env, silent[i], 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, SILENT + 1);
    assert_int_equal(thread_count_replies(env), 0);
    test_env_stop_runtime(env);
}

static void test_words_are_posted_to_the_focus(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    let_jarvis_say(env, "The launch is on Friday.", 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    message_must_be(env, "launch", "The launch is on Friday.");
    jarvis_must_work_on(env, "launch");
    metric_must_be(env, "mission_control_heartbeat_messages_total{outcome=\"posted\"} 1");
    test_env_stop_runtime(env);
}

static void test_words_are_posted_to_the_task_that_they_name(void **state)
{
    struct test_env *env = *state;
    char words[128];
    char letter[ID_BYTES];
    seed_board(env, ONCE);
    backend_id(env, "letter", letter);
    snprintf(words, sizeof words, "Written.\n**Task ID:** %s", letter);
    let_jarvis_say(env, words, 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    message_must_be(env, "letter", words);
    jarvis_must_work_on(env, "letter");
    test_env_stop_runtime(env);
}

/* Of a task that the agent was not shown it may have read anywhere. */
static void test_task_that_was_not_shown_is_not_posted_to(void **state)
{
    struct test_env *env = *state;
    char words[128];
    char poster[ID_BYTES];
    seed_board(env, ONCE);
    backend_id(env, "poster", poster);
    snprintf(words, sizeof words, "Done. Task ID: %s", poster);
    let_jarvis_say(env, words, 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    message_must_be(env, "launch", words);
    test_env_stop_runtime(env);
}

/* A call that names no task is for the focus; a wake-up gives no right to close tasks. */
static void test_calls_are_carried_out(void **state)
{
    struct test_env *env = *state;
    char launch[ID_BYTES];
    seed_board(env, ONCE);
    backend_id(env, "launch", launch);
    let_jarvis_call(env, "task_status", "{\"status\":\"review\"}");
    let_jarvis_call(env, "task_status", "{\"status\":\"done\"}");
    let_jarvis_say(env, "Ready for review.", 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    json_t *task = document_of(env, "tasks", launch);
    assert_string_equal(board_string(task, "status"), "review");
    json_decref(task);
    json_t *last = run_of(env, "jarvis", 2);
    const json_t *result = json_array_get(json_object_get(last, "results"), 0);
    assert_non_null(strstr(board_string(result, "output"), "Forbidden"));
    json_decref(last);
    message_must_be(env, "launch", "Ready for review.");
    metric_must_be(env, "mission_control_tool_rounds_total 2");
    test_env_stop_runtime(env);
}

/* What is said beside calls tells what comes; a wake-up that then ends without words says nothing.
 */
static void test_words_beside_calls_are_not_posted(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:s, s:[{s:s, s:s}]}", "match", "agent", "jarvis",
                 "action", "reply", "times", 1, "text", "Let me move it.", "calls", "name",
                 "task_status", "arguments", "{\"status\":\"review\"}"));
    let_jarvis_say(env, " \n ", 1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    metric_must_be(env, "mission_control_tool_rounds_total 1");
    assert_int_equal(thread_count_replies(env), 0);
    test_env_stop_runtime(env);
}

static void test_rounds_of_a_wake_up_are_limited(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    for (int i = 0; i < 3; i++)
        let_jarvis_call(env, "task_load", "{}");
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_TOOL_ROUNDS=2"));
    wait_for_online(env, 1);
    json_t *last = run_of(env, "jarvis", 2);
    assert_null(json_object_get(last, "tools"));
    json_decref(last);
    test_env_stop_runtime(env);
}

/* Without tools the message names the HTTP API and a key that it takes. */
static void test_agent_without_tools_is_told_of_the_http_api(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    char launch[ID_BYTES];
    char body[160];
    seed_board(env, ONCE);
    backend_id(env, "launch", launch);
    test_env_start_runtime(env, STRINGS("OPENCLAW_CLIENT_TOOLS_ENABLED=false"));
    wait_for_online(env, 1);
    run_must_show(env, "jarvis", 0, "- POST /agent/task-status: ");
    run_must_show(env, "jarvis", 0, "HTTP base URL: http://127.0.0.1:");
    json_t *run = run_of(env, "jarvis", 0);
    static const char header[] = "x-openclaw-session-key: ";
    const char *key = strstr(board_string(run, "input"), header) + strlen(header);
    snprintf(credential, sizeof credential, "%.*s", (int)strcspn(key, " \n"), key);
    json_decref(run);
    snprintf(body, sizeof body, "{'taskId':'%s','status':'review'}", launch);
    agent_caller_must_get(env, "/agent/task-status", credential, body, 200, "\"success\":true");
    test_env_stop_runtime(env);
}

/* The agent is woken all the same, and the next read is made. */
static void test_failing_read_shortens_the_message(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    board_fail(env, "getOrchestratorAgentId", "function_error", -1);
    board_fail(env, "loadTaskDetailsForAgentTool", "status", -1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    run_must_show(env, "jarvis", 0, "- launch (in_progress)");
    run_must_show(env, "jarvis", 0, "\nRecent focus task thread updates:\n- None\n");
    metric_must_be(env, "mission_control_heartbeat_reads_failed_total{read=\"orchestrator\"} 1");
    metric_must_be(env, "mission_control_heartbeat_reads_failed_total{read=\"focus_thread\"} 1");
    metric_must_be(env, "mission_control_heartbeats_total{outcome=\"woken\"} 1");
    test_env_stop_runtime(env);
}

static void test_no_list_of_tasks_is_no_reason_not_to_wake(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    board_fail(env, "listAssignedTasksForAgent", "drop_before", -1);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    run_must_show(env, "jarvis", 0, "\nNo assigned tasks found.\n");
    metric_must_be(env, "mission_control_heartbeat_reads_failed_total{read=\"assigned_tasks\"} 1");
    test_env_stop_runtime(env);
}

/* The message was posted and the answer lost: the thread is looked at before it is posted again. */
static void test_post_of_unknown_outcome_is_looked_for(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    let_jarvis_say(env, "The launch is on Friday.", 1);
    board_fail(env, "createMessageFromAgent", "drop_after", 1);
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/metrics",
        "mission_control_heartbeat_messages_total{outcome=\"already_posted\"} 1", true);
    assert_int_equal(test_env_stat(env, "backend", "createMessageFromAgent"), 1);
    message_must_be(env, "launch", "The launch is on Friday.");
    metric_must_be(env, "mission_control_heartbeat_messages_total{outcome=\"delayed\"} 1");
    test_env_stop_runtime(env);
}

/* The same where it was not posted, and where the backend refuses it for good. */
static void test_post_that_failed_is_made_later(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    let_jarvis_say(env, "The launch is on Friday.", 1);
    board_fail(env, "createMessageFromAgent", "drop_before", 2);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "messages=1");
    message_must_be(env, "launch", "The launch is on Friday.");
    board_fail(env, "createMessageFromAgent", "function_error", -1);
    let_jarvis_say(env, "It is on Monday.", 1);
    test_env_wait_words(
        env, "/metrics", "mission_control_heartbeat_messages_total{outcome=\"given_up\"} 1", true);
    board_clear_faults(env);
    test_env_wait_calls(env, "updateAgentHeartbeat", 2);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* The gateway refuses the results for a while: the call is not made again. */
static void test_results_are_sent_by_the_next_wake_up(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    let_jarvis_call(env, "task_status", "{\"status\":\"review\"}");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s, s:i, s:i, s:{s:{s:s}}}", "match",
                                 "agent", "jarvis", "action", "status", "name", "busy", "times", 2,
                                 "status", 429, "body_json", "error", "message", "slow down"));
    let_jarvis_say(env, "Ready for review.", 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "messages=1");
    message_must_be(env, "launch", "Ready for review.");
    assert_int_equal(board_fault_hits(env, "busy"), 2);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    test_env_stop_runtime(env);
}

/* Not without end, as nobody waits for them; the call is not made again. */
static void test_results_that_are_never_taken_are_given_up(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    let_jarvis_call(env, "task_update", "{\"priority\":1}");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s, s:i, s:i, s:{s:{s:s}}}", "match",
                                 "agent", "jarvis", "action", "status", "name", "busy", "times", 3,
                                 "status", 429, "body_json", "error", "message", "slow down"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=2"));
    test_env_wait_log(env, "giving up on the interrupted tool calls of Jarvis after 3 wake-ups");
    wait_for_online(env, 1);
    assert_int_equal(board_fault_hits(env, "busy"), 3);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskFromAgent"), 1);
    test_env_stop_runtime(env);
}

/* The run fails after its call: the next wake-up is told of it. */
static void test_next_wake_up_is_told_of_the_calls_of_a_failed_one(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    let_jarvis_call(env, "task_status", "{\"status\":\"review\"}");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:i, s:i}", "match", "agent", "jarvis",
                                 "action", "status", "times", 1, "status", 500));
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 3);
    run_must_show(env, "jarvis", 2, "You have worked on this heartbeat before");
    run_must_show(env, "jarvis", 2, "- task_status {\"status\":\"review\"}");
    json_t *run = run_of(env, "jarvis", 3);
    assert_null(strstr(board_string(run, "input"), "worked on this heartbeat before"));
    json_decref(run);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    test_env_stop_runtime(env);
}

/* The shutdown ends a round between two calls; the next process makes the second one. */
static void test_shutdown_leaves_the_rest_of_a_round(void **state)
{
    struct test_env *env = *state;
    seed_board(env, OFTEN);
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:i, s:[{s:s, s:s}, {s:s, s:s}]}", "match",
                                 "agent", "jarvis", "action", "reply", "times", 1, "calls", "name",
                                 "task_status", "arguments", "{\"status\":\"review\"}", "name",
                                 "task_status", "arguments", "{\"status\":\"in_progress\"}"));
    board_fail(env, "updateTaskStatusFromAgent", "hold_after", 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_clear_faults(env);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    let_jarvis_say(env, "Back again.", 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "messages=1");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 2);
    message_must_be(env, "launch", "Back again.");
    test_env_stop_runtime(env);
}

/* What changes in the list takes effect with the next wake-up. */
static void test_changed_session_is_picked_up(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_board(env, OFTEN);
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=50"));
    wait_for_online(env, 1);
    backend_id(env, "jarvis", id);
    backend_set_up(env, "set", "{'id':'%s','fields':{'slug':'edith'}}", id);
    test_env_wait_calls(env, "listAgents", 2);
    /* The reports of two wake-ups under the old name may still be on their way. */
    test_env_wait_calls(env, "updateAgentHeartbeat", 3);
    json_t *run = run_of(env, "edith", 0);
    assert_string_equal(board_string(run, "session"), "agent:edith:system:" TEST_ACCOUNT ":v1");
    json_decref(run);
    test_env_stop_runtime(env);
}

/* What an agent that was woken asks of another counts as caused by an agent. */
static void test_requests_of_a_wake_up_begin_a_chain(void **state)
{
    struct test_env *env = *state;
    seed_board(env, ONCE);
    backend_set_up(env, "seed", "{'agents':[{'slug':'vision','heartbeatInterval':" ONCE "}]}");
    let_jarvis_call(env, "response_request",
        "{\"recipientSlugs\":[\"friday\"],\"message\":\"How far are you?\"}");
    board_gateway_fault(
        env, json_pack("{s:{s:s, s:s}, s:s, s:i, s:[{s:s, s:s}]}", "match", "agent", "friday",
                 "input", "## Notification: response_request", "action", "reply", "times", 1,
                 "calls", "name", "response_request", "arguments",
                 "{\"recipientSlugs\":[\"vision\"],\"message\":\"And you?\"}"));
    board_gateway_fault(env, json_pack("{s:{s:s, s:i}, s:s, s:s}", "match", "agent", "friday",
                                 "round", 2, "action", "reply", "text", "NO_REPLY"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_HOPS=1"));
    test_env_wait(env, "action=createResponseRequestNotifications&calls=2");
    test_env_wait(env, "undelivered=0");
    test_env_wait_words(env, "/metrics",
        "mission_control_notifications_skipped_total{reason=\"too_many_hops\"} 1", true);
    assert_int_equal(thread_count_runs(env), 1);
    test_env_stop_runtime(env);
}

/* At most eight reads at a time, however many agents are woken at once. */
static void test_reads_come_in_no_burst(void **state)
{
    enum { WOKEN = 20, READERS = 8 };
    struct test_env *env = *state;
    json_t *agents = json_array();
    for (int i = 0; i < WOKEN; i++)
        json_array_append_new(agents,
            json_pack("{s:o, s:f}", "slug", json_sprintf("agent%d", i), "heartbeatInterval", 0.01));
    test_env_list_agents(env, true);
    json_decref(test_env_post(env, "/sandbox/seed", json_pack("{s:o}", "agents", agents)));
    board_fail(env, "listAssignedTasksForAgent", "hold", -1);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=40"));
    test_env_wait(env, "held=8");
    test_env_wait_words(env, "/metrics", "mission_control_workers_busy 20", true);
    assert_int_equal(test_env_stat(env, NULL, "held"), READERS);
    board_clear_faults(env);
    wait_for_online(env, WOKEN);
    test_env_stop_runtime(env);
}

/* The orchestrator. */

enum { HOUR_MS = 3600 * 1000 };

static void age_task(struct test_env *env, const char *task, int64_t age_ms)
{
    char id[ID_BYTES];
    backend_id(env, task, id);
    backend_set_up(env, "set", "{'id':'%s','fields':{'updatedAt':%lld}}", id,
        (long long)(clock_wall_ms() - age_ms));
}

/*
 * Five tasks that stand still, one of them the orchestrator's own and one nobody's, and one that
 * does not.
 */
static void seed_squad(struct test_env *env, const char *interval)
{
    static const char *const titles[] = {"five", "four", "own", "nobody", "two", "one"};
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:i}", "gateway_input_bytes", 65536));
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'fury','heartbeatInterval':%s,'orchestrator':true},"
        "{'slug':'jarvis','heartbeatInterval':" ONCE "},"
        "{'slug':'friday','heartbeatInterval':" ONCE "}],"
        "'tasks':[{'title':'fresh','status':'in_progress','assign':['friday']},"
        "{'title':'one','status':'in_progress','assign':['jarvis']},"
        "{'title':'own','status':'in_progress','assign':['fury']},"
        "{'title':'nobody','status':'in_progress','assign':[]},"
        "{'title':'two','status':'review','assign':['jarvis','friday','fury']},"
        "{'title':'four','status':'assigned','assign':['friday']},"
        "{'title':'five','status':'assigned','assign':['jarvis']}]}",
        interval);
    thread_mark_all(env);
    for (int i = 0; i < 6; i++)
        age_task(env, titles[i], (int64_t)(i + 1) * HOUR_MS);
}

/* The tasks of response requests so far, in order, as titles with blanks between them. */
static void requests_must_be(struct test_env *env, const char *expected)
{
    char made[256] = "";
    json_t *notifications = board_documents(env, "notifications");
    size_t index;
    const json_t *row;
    json_array_foreach (notifications, index, row) {
        if (strcmp(board_string(row, "type"), "response_request") != 0)
            continue;
        json_t *task = document_of(env, "tasks", board_string(row, "taskId"));
        size_t used = strlen(made);
        snprintf(made + used, sizeof made - used, "%s%s", used > 0 ? " " : "",
            board_string(task, "title"));
        json_decref(task);
    }
    json_decref(notifications);
    assert_string_equal(made, expected);
}

/* Whether someone was asked in these words. */
static bool was_asked(struct test_env *env, const char *words)
{
    bool found = false;
    json_t *notifications = board_documents(env, "notifications");
    size_t index;
    const json_t *row;
    json_array_foreach (notifications, index, row)
        found = found || (strcmp(board_string(row, "type"), "response_request") == 0 &&
                             strstr(board_string(row, "body"), words) != NULL);
    json_decref(notifications);
    return found;
}

static void test_orchestrator_follows_tasks_up(void **state)
{
    struct test_env *env = *state;
    char one[ID_BYTES];
    char expected[160];
    seed_squad(env, ONCE);
    backend_id(env, "one", one);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    test_env_wait(env, "action=createResponseRequestNotifications&calls=3");
    run_must_show(env, "fury", 0, "\nTracked tasks:\n");
    snprintf(expected, sizeof expected, "\nFocus Task ID: %s (one)\n", one);
    run_must_show(env, "fury", 0, expected);
    run_must_show(env, "fury", 0, "ask their assignees with response_request");
    json_t *run = run_of(env, "fury", 0);
    assert_int_equal(json_array_size(json_object_get(run, "tools")), 16);
    json_decref(run);
    metric_must_be(env, "mission_control_heartbeat_follow_ups_total{outcome=\"sent\"} 3");
    /* Two assignees of "two", without the orchestrator. */
    requests_must_be(env, "one two two four");
    assert_true(was_asked(env, "no assignee has written about \"four\" for about 12"));
    test_env_stop_runtime(env);
}

/* What was asked lately is left to the backend's rule, and the tasks after it have their turn. */
static void test_follow_ups_go_on_to_other_tasks(void **state)
{
    struct test_env *env = *state;
    seed_squad(env, OFTEN);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:s}", "match", "input", "## Notification: response_request",
                 "action", "reply", "text", "NO_REPLY"));
    test_env_start_runtime(env, NULL);
    test_env_wait_words(
        env, "/metrics", "mission_control_heartbeat_follow_ups_total{outcome=\"sent\"} 4", true);
    test_env_wait_calls(env, "updateAgentHeartbeat", 2);
    requests_must_be(env, "one two two four five");
    test_env_stop_runtime(env);
}

enum { TASKS = 30 };

/* Tasks of friday's that do not stand still, and an orchestrator. */
static void seed_many_tasks(struct test_env *env)
{
    json_t *tasks = json_array();
    for (int i = 0; i < TASKS; i++)
        json_array_append_new(
            tasks, json_pack("{s:o, s:s, s:[s]}", "title", json_sprintf("task %d", i), "status",
                       "in_progress", "assign", "friday"));
    test_env_list_agents(env, true);
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:f, s:b}, {s:s, s:i}], s:o}", "agents", "slug", "fury",
            "heartbeatInterval", 0.005, "orchestrator", 1, "slug", "friday", "heartbeatInterval",
            1440, "tasks", tasks)));
    thread_mark_all(env);
}

/* How many different tasks the next calls are about that read a thread for follow-ups. */
static size_t count_looked_at(const json_t *calls, size_t from, size_t count)
{
    json_t *tasks = json_object();
    for (size_t i = from; i < from + count; i++) {
        const json_t *arguments = json_object_get(json_array_get(calls, i), "arguments");
        json_object_set_new(tasks, board_string(arguments, "taskId"), json_true());
    }
    size_t found = json_object_size(tasks);
    json_decref(tasks);
    return found;
}

/*
 * Three wake-ups look at thirty tasks, and the next three again, although the order of the tasks is
 * reversed between the first and the second.
 */
static void test_each_of_many_tasks_has_its_turn(void **state)
{
    struct test_env *env = *state;
    char title[32];
    seed_many_tasks(env);
    board_fail(env, "listTaskThreadForAgentTool", "hold", -1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    for (int i = 0; i < TASKS; i++) {
        snprintf(title, sizeof title, "task %d", i);
        age_task(env, title, (int64_t)i * 1000);
    }
    board_clear_faults(env);
    test_env_wait(env, "action=listTaskThreadForAgentTool&calls=60");
    json_t *record = test_env_get(env, "/sandbox/calls?action=listTaskThreadForAgentTool");
    const json_t *calls = json_object_get(record, "calls");
    assert_int_equal(count_looked_at(calls, 0, TASKS), TASKS);
    assert_int_equal(count_looked_at(calls, TASKS, TASKS), TASKS);
    json_decref(record);
    test_env_stop_runtime(env);
}

/* What the agent has asked itself counts among the three. */
static void test_own_requests_of_the_orchestrator_count(void **state)
{
    struct test_env *env = *state;
    char four[ID_BYTES];
    char arguments[192];
    seed_squad(env, ONCE);
    backend_id(env, "four", four);
    snprintf(arguments, sizeof arguments,
        "{\"taskId\":\"%s\",\"recipientSlugs\":[\"friday\"],\"message\":\"And?\"}", four);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:[{s:s, s:s}]}", "match", "agent", "fury", "action",
                 "reply", "times", 1, "calls", "name", "response_request", "arguments", arguments));
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    test_env_wait_words(
        env, "/metrics", "mission_control_heartbeat_follow_ups_total{outcome=\"sent\"} 2", true);
    requests_must_be(env, "four one two two");
    test_env_stop_runtime(env);
}

static void test_orchestrator_that_may_not_ask_does_not(void **state)
{
    struct test_env *env = *state;
    char fury[ID_BYTES];
    seed_squad(env, ONCE);
    backend_id(env, "fury", fury);
    backend_set_up(env, "set",
        "{'id':'%s','fields':{'openclawConfig':{'behaviorFlags':{'canMentionAgents':false}}}}",
        fury);
    test_env_start_runtime(env, NULL);
    wait_for_online(env, 1);
    assert_int_equal(test_env_stat(env, "backend", "createResponseRequestNotifications"), 0);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_agent_is_told_of_its_tasks),
        V1(test_agent_without_tasks_is_woken),
        V1(test_silence_is_not_posted),
        V1(test_words_are_posted_to_the_focus),
        V1(test_words_are_posted_to_the_task_that_they_name),
        V1(test_task_that_was_not_shown_is_not_posted_to),
        V1(test_calls_are_carried_out),
        V1(test_words_beside_calls_are_not_posted),
        V1(test_rounds_of_a_wake_up_are_limited),
        V1(test_agent_without_tools_is_told_of_the_http_api),
        V1(test_failing_read_shortens_the_message),
        V1(test_no_list_of_tasks_is_no_reason_not_to_wake),
        V1(test_post_of_unknown_outcome_is_looked_for),
        V1(test_post_that_failed_is_made_later),
        V1(test_results_are_sent_by_the_next_wake_up),
        V1(test_results_that_are_never_taken_are_given_up),
        V1(test_next_wake_up_is_told_of_the_calls_of_a_failed_one),
        V1(test_shutdown_leaves_the_rest_of_a_round),
        V1(test_changed_session_is_picked_up),
        V1(test_requests_of_a_wake_up_begin_a_chain),
        V1(test_reads_come_in_no_burst),
        V1(test_orchestrator_follows_tasks_up),
        V1(test_follow_ups_go_on_to_other_tasks),
        V1(test_each_of_many_tasks_has_its_turn),
        V1(test_own_requests_of_the_orchestrator_count),
        V1(test_orchestrator_that_may_not_ask_does_not),
    };
    return cmocka_run_group_tests_name("wake_v1", tests, NULL, NULL);
}
