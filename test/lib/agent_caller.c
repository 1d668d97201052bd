/*
 * The credentials are made with the runtime's own code and key file, as its prompt makes them; what
 * an agent's requests look like on the wire is written out here.
 */
#include "agent_caller.h"
#include "json_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_tools/capability.h"
#include "backend_call.h"
#include "base/text.h"
#include "board.h"

void agent_caller_start_runtime(struct test_env *env, const char *const settings[])
{
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "agent list changed: ");
}

void agent_caller_start(struct test_env *env, const char *const settings[])
{
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440},"
        "{'slug':'friday','heartbeatInterval':1440},"
        "{'slug':'vision','heartbeatInterval':1440,'orchestrator':true}],"
        "'tasks':[{'title':'work','status':'in_progress','assign':['jarvis']}]}");
    test_env_list_agents(env, true);
    agent_caller_start_runtime(env, settings);
}

void agent_caller_key(
    struct test_env *env, const char *slug, char key[static AGENT_CREDENTIAL_BYTES])
{
    char task_id[ID_BYTES];
    backend_id(env, "work", task_id);
    snprintf(key, AGENT_CREDENTIAL_BYTES, "agent:%s:task:%s:" TEST_ACCOUNT ":v1", slug, task_id);
}

void agent_caller_credential(
    struct test_env *env, const char *slug, char credential[static AGENT_CREDENTIAL_BYTES])
{
    struct capability *capability;
    struct error error;
    char state_dir[sizeof env->dir + 16];
    char agent_id[ID_BYTES];
    char tag[CAPABILITY_TAG_BYTES];
    snprintf(state_dir, sizeof state_dir, "%s/state", env->dir);
    backend_id(env, slug, agent_id);
    agent_caller_key(env, slug, credential);
    if (capability_create(&capability, state_dir, &error) != 0)
        fail_msg("%s", error.text);
    capability_tag(capability, credential, agent_id, tag);
    capability_destroy(capability);
    size_t length = strlen(credential);
    snprintf(credential + length, AGENT_CREDENTIAL_BYTES - length, "~%s", tag);
}

/* A POST with that session key (NULL: none). body: a text of JSON with ' for ". */
static void post_as_agent(struct test_env *env, const char *path, const char *credential,
    const char *body, struct plain_response *answer)
{
    struct text headers = {0};
    char *json = json_fixture_quote(body);
    if (credential != NULL)
        text_printf(&headers, "x-openclaw-session-key: %s\r\n", credential);
    text_printf(
        &headers, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(json));
    plain_http_send(env->health_port, "POST", path, headers.data, json, answer);
    text_fini(&headers);
    free(json);
}

void agent_caller_must_get(struct test_env *env, const char *path, const char *credential,
    const char *body, int status, const char *words)
{
    struct plain_response answer;
    post_as_agent(env, path, credential, body, &answer);
    if (answer.status != status || strstr(answer.body, words) == NULL)
        fail_msg("%s: not %d with \"%s\": %d %s", path, status, words, answer.status, answer.body);
    assert_non_null(strstr(answer.header, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(answer.body, status < 400 ? "\"success\":true" : "\"success\":false"));
    plain_response_fini(&answer);
}

long agent_caller_refused_keys(struct test_env *env)
{
    static const char name[] = "\nmission_control_agent_api_refused_keys_total ";
    char *page;
    assert_int_equal(test_env_health_get(env, "/metrics", &page), 200);
    const char *found = strstr(page, name);
    assert_non_null(found);
    long count = strtol(found + sizeof name - 1, NULL, 10);
    free(page);
    return count;
}
