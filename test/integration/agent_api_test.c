/* Agents use the HTTP API: who may, in which order that is checked, and what becomes of a request.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/agent_caller.h"
#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/loopback.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static const char to_review[] = "{'taskId':'%s','status':'review'}";

static void task_status(struct test_env *env, char status[static 32])
{
    json_t *tasks = board_documents(env, "tasks");
    snprintf(status, 32, "%s", board_string(json_array_get(tasks, 0), "status"));
    json_decref(tasks);
}

static void task_must_be(struct test_env *env, const char *expected)
{
    char status[32];
    task_status(env, status);
    assert_string_equal(status, expected);
}

/* The body of a request that moves the task to review. */
static void make_move(struct test_env *env, char body[static 160])
{
    char id[ID_BYTES];
    backend_id(env, "work", id);
    snprintf(body, 160, to_review, id);
}

static void must_refuse_key(struct test_env *env, const char *credential)
{
    long before = agent_caller_refused_keys(env);
    char body[160];
    make_move(env, body);
    agent_caller_must_get(
        env, "/agent/task-status", credential, body, 401, "\"Unknown session key\"");
    assert_int_equal(agent_caller_refused_keys(env), before + 1);
    task_must_be(env, "in_progress");
}

static void test_agent_moves_its_task(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    char body[160];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    make_move(env, body);
    agent_caller_must_get(env, "/agent/task-status", credential, body, 200, "\"durationMs\"");
    task_must_be(env, "review");
    test_env_wait_words(env, "/metrics",
        "agent_api_requests_total{endpoint=\"task-status\",status=\"2xx\"} 1\n", true);
    test_env_wait_words(env, "/metrics", "mission_control_agent_api_in_flight 0\n", true);
    test_env_stop_runtime(env);
}

static void must_answer(struct test_env *env, const char *method, const char *path,
    const char *headers, int status, const char *words)
{
    struct plain_response answer;
    plain_http_request(env->health_port, method, path, headers, &answer);
    if (answer.status != status || strstr(answer.body, words) == NULL)
        fail_msg("%s %s: %d %s", method, path, answer.status, answer.body);
    if (status == 405)
        assert_non_null(strstr(answer.header, "\r\nAllow: POST\r\n"));
    plain_response_fini(&answer);
}

/* Each request passes one check more than the one before it. */
static void test_checks_come_in_order(void **state)
{
    struct test_env *env = *state;
    char jarvis[AGENT_CREDENTIAL_BYTES];
    char vision[AGENT_CREDENTIAL_BYTES];
    char large[AGENT_CREDENTIAL_BYTES + 128];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", jarvis);
    agent_caller_credential(env, "vision", vision);
    must_answer(env, "GET", "/agent/nothing", "", 405,
        "{\"success\":false,\"error\":\"Method Not Allowed\"}");
    must_answer(env, "PUT", "/agent/task-status", "Content-Length: 9999999\r\n", 405, "Method");
    agent_caller_must_get(env, "/agent/nothing", NULL, "x", 401,
        "{\"success\":false,\"error\":\"Missing x-openclaw-session-key header\"}");
    agent_caller_must_get(env, "/agent/nothing", "", "x", 401, "Missing");
    agent_caller_must_get(env, "/agent/nothing", "main", "x", 401,
        "{\"success\":false,\"error\":\"Unknown session key\"}");
    agent_caller_must_get(env, "/agent/nothing", jarvis, "x", 404, "Not Found");
    agent_caller_must_get(env, "/agent/", jarvis, "x", 404, "Not Found");
    agent_caller_must_get(env, "/agent/task-status/", jarvis, "x", 404, "Not Found");
    agent_caller_must_get(env, "/agent/task-list", jarvis, "x", 403,
        "\"Forbidden: Only the orchestrator can list tasks\"");
    snprintf(
        large, sizeof large, "x-openclaw-session-key: %s\r\nContent-Length: 4000000\r\n", jarvis);
    must_answer(env, "POST", "/agent/task-delete", large, 403, "Only the orchestrator can delete");
    agent_caller_must_get(env, "/agent/task-list", vision, "x", 400, "Invalid JSON body");
    agent_caller_must_get(env, "/agent/task-list", vision, "{}", 200, "\"work\"");
    agent_caller_must_get(env, "/agent/task-status?x=1", jarvis, "", 400, "Invalid JSON body");
    agent_caller_must_get(env, "/agent/task-status", jarvis, "null", 400, "Invalid JSON body");
    agent_caller_must_get(env, "/agent/task-status", jarvis, "{}", 400, "Missing required fields");
    snprintf(
        large, sizeof large, "x-openclaw-session-key: %s\r\nContent-Length: 5242881\r\n", jarvis);
    must_answer(env, "POST", "/agent/task-status", large, 413, "Request body over 5 MiB");
    test_env_stop_runtime(env);
}

static void test_forged_keys_are_refused(void **state)
{
    struct test_env *env = *state;
    char jarvis[AGENT_CREDENTIAL_BYTES];
    char key[AGENT_CREDENTIAL_BYTES];
    char forged[2 * AGENT_CREDENTIAL_BYTES];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", jarvis);
    agent_caller_key(env, "vision", key);
    const char *tag = strchr(jarvis, '~');
    must_refuse_key(env, key);
    snprintf(forged, sizeof forged, "%s%s", key, tag);
    must_refuse_key(env, forged);
    snprintf(forged, sizeof forged, "%s~aaaaaaaaaaaaaaaaaaaaaaaaaa", key);
    must_refuse_key(env, forged);
    snprintf(forged, sizeof forged, "%.*s2%s", (int)(tag - jarvis) - 1, jarvis, tag);
    must_refuse_key(env, forged);
    snprintf(forged, sizeof forged, "%s%s", jarvis, tag);
    must_refuse_key(env, forged);
    must_refuse_key(env, tag);
    must_refuse_key(env, "agent:nobody:system:" TEST_ACCOUNT ":v1~aaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 0);
    test_env_wait_log(env, "Refused a request to the agents' API: Unknown session key");
    test_env_stop_runtime(env);
}

static void test_tags_last_until_the_key_file_is_replaced(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    char path[sizeof env->dir + 32];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    test_env_stop_runtime(env);
    agent_caller_start_runtime(env, NULL);
    agent_caller_must_get(env, "/agent/document-list", credential, "{}", 200, "documents");
    test_env_stop_runtime(env);
    snprintf(path, sizeof path, "%s/state/agent-api.key", env->dir);
    assert_int_equal(unlink(path), 0);
    agent_caller_start_runtime(env, NULL);
    must_refuse_key(env, credential);
    agent_caller_credential(env, "jarvis", credential);
    agent_caller_must_get(env, "/agent/document-list", credential, "{}", 200, "documents");
    test_env_stop_runtime(env);
}

static void test_tags_can_be_switched_off(void **state)
{
    struct test_env *env = *state;
    char key[AGENT_CREDENTIAL_BYTES];
    char tagged[AGENT_CREDENTIAL_BYTES + 32];
    agent_caller_start(env, STRINGS("AGENT_API_TAGS=off"));
    agent_caller_key(env, "jarvis", key);
    agent_caller_must_get(env, "/agent/document-list", key, "{}", 200, "documents");
    snprintf(tagged, sizeof tagged, "%s~aaaaaaaaaaaaaaaaaaaaaaaaaa", key);
    agent_caller_must_get(env, "/agent/document-list", tagged, "{}", 200, "documents");
    must_refuse_key(env, "agent:jarvis:system:otheraccount:v1");
    must_refuse_key(env, "agent:jarvis:whatever");
    must_refuse_key(env, "agent:nobody:system:" TEST_ACCOUNT ":v1");
    test_env_stop_runtime(env);
}

static void test_v0_has_no_api(void **state)
{
    struct test_env *env = *state;
    agent_caller_start(env, NULL);
    agent_caller_must_get(env, "/agent/task-status", "agent:jarvis:x~aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "{}", 503, "needs version 1 of the backend");
    agent_caller_must_get(env, "/agent/task-status", NULL, "{}", 401, "Missing");
    assert_int_equal(agent_caller_refused_keys(env), 0);
    test_env_stop_runtime(env);
}

static void test_outcomes_of_the_backend_are_told_apart(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    char body[160];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    make_move(env, body);
    board_fail(env, "getOrchestratorAgentId", "drop_before", 1);
    agent_caller_must_get(
        env, "/agent/document-list", credential, "{}", 503, "\"Backend unavailable\"");
    board_fail(env, "updateTaskStatusFromAgent", "drop_after", 1);
    agent_caller_must_get(env, "/agent/task-status", credential, body, 504,
        "Outcome unknown: look before you try again");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    task_must_be(env, "review");
    test_env_stop_runtime(env);
}

/* Sends a request without waiting for its answer. */
static int send_request(struct test_env *env, const char *path, const char *credential)
{
    char request[AGENT_CREDENTIAL_BYTES + 256];
    int fd = plain_http_connect(env->health_port);
    int length = snprintf(request, sizeof request,
        "POST %s HTTP/1.1\r\nHost: h\r\nx-openclaw-session-key: %s\r\nContent-Length: 2\r\n\r\n{}",
        path, credential);
    assert_int_equal(send(fd, request, (size_t)length, MSG_NOSIGNAL), length);
    return fd;
}

static void must_receive(int fd, const char *words)
{
    char answer[4096];
    size_t length = 0;
    ssize_t got;
    while ((got = recv(fd, answer + length, sizeof answer - 1 - length, 0)) > 0)
        length += (size_t)got;
    answer[length] = '\0';
    close(fd);
    if (strstr(answer, words) == NULL)
        fail_msg("no \"%s\" in: %s", words, answer);
}

static void test_shutdown_ends_requests_in_flight(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    int fds[6];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", credential);
    board_fail(env, "listDocumentsForAgent", "hold", -1);
    for (size_t i = 0; i < 4; i++)
        fds[i] = send_request(env, "/agent/document-list", credential);
    /* The others only now: otherwise one of them might take the place of one of these. */
    test_env_wait(env, "held=4");
    for (size_t i = 4; i < 6; i++)
        fds[i] = send_request(env, "/agent/document-list", credential);
    test_env_wait_words(env, "/metrics", "agent_api_in_flight 6\n", true);
    process_signal(&env->runtime, SIGTERM);
    must_receive(fds[4], "HTTP/1.1 503 ");
    must_receive(fds[5], "The runtime is shutting down");
    board_clear_faults(env);
    for (size_t i = 0; i < 4; i++)
        must_receive(fds[i], "HTTP/1.1 200 ");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
}

static void test_session_has_at_most_16_requests(void **state)
{
    struct test_env *env = *state;
    char jarvis[AGENT_CREDENTIAL_BYTES];
    char friday[AGENT_CREDENTIAL_BYTES];
    int fds[16];
    agent_caller_start(env, NULL);
    agent_caller_credential(env, "jarvis", jarvis);
    agent_caller_credential(env, "friday", friday);
    board_fail(env, "listDocumentsForAgent", "hold", -1);
    for (size_t i = 0; i < 16; i++)
        fds[i] = send_request(env, "/agent/document-list", jarvis);
    test_env_wait_words(env, "/metrics", "agent_api_in_flight 16\n", true);
    agent_caller_must_get(env, "/agent/document-list", jarvis, "{}", 429, "Too many requests");
    int other = send_request(env, "/agent/document-list", friday);
    test_env_wait_words(env, "/metrics", "agent_api_in_flight 17\n", true);
    board_clear_faults(env);
    for (size_t i = 0; i < 16; i++)
        must_receive(fds[i], "HTTP/1.1 200 ");
    must_receive(other, "HTTP/1.1 200 ");
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_agent_moves_its_task),
        V1(test_checks_come_in_order),
        V1(test_forged_keys_are_refused),
        V1(test_tags_last_until_the_key_file_is_replaced),
        V1(test_tags_can_be_switched_off),
        TEST_IN_ENV_WITH(test_v0_has_no_api, .backend = "v0"),
        V1(test_outcomes_of_the_backend_are_told_apart),
        V1(test_shutdown_ends_requests_in_flight),
        V1(test_session_has_at_most_16_requests),
    };
    return cmocka_run_group_tests_name("agent_api", tests, NULL, NULL);
}
