/*
 * The credentials are made with the runtime's own code and key file, as its prompt makes them; what
 * an agent's requests look like on the wire is written out here.
 */
#include "agent_caller.h"

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

void agent_caller_id(
    struct test_env *env, const char *table, const char *name, char id[static ID_BYTES])
{
    json_t *documents = board_documents(env, table);
    size_t index;
    const json_t *document;
    id[0] = '\0';
    json_array_foreach (documents, index, document) {
        const char *slug = json_string_value(json_object_get(document, "slug"));
        const char *title = json_string_value(json_object_get(document, "title"));
        if (strcmp(slug != NULL ? slug : title != NULL ? title : "", name) == 0)
            text_copy(id, ID_BYTES, board_string(document, "_id"));
    }
    json_decref(documents);
    if (id[0] == '\0')
        fail_msg("no %s in %s", name, table);
}

void agent_caller_key(
    struct test_env *env, const char *slug, char key[static AGENT_CREDENTIAL_BYTES])
{
    char task_id[ID_BYTES];
    agent_caller_id(env, "tasks", "work", task_id);
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
    agent_caller_id(env, "agents", slug, agent_id);
    agent_caller_key(env, slug, credential);
    if (capability_create(&capability, state_dir, &error) != 0)
        fail_msg("%s", error.text);
    capability_tag(capability, credential, agent_id, tag);
    capability_destroy(capability);
    size_t length = strlen(credential);
    snprintf(credential + length, AGENT_CREDENTIAL_BYTES - length, "~%s", tag);
}

void agent_caller_post(struct test_env *env, const char *path, const char *credential,
    const char *body, struct plain_response *answer)
{
    struct text headers = {0};
    struct text json = {0};
    text_append(&json, body);
    for (char *at = json.data; *at != '\0'; at++)
        if (*at == '\'')
            *at = '"';
    if (credential != NULL)
        text_printf(&headers, "x-openclaw-session-key: %s\r\n", credential);
    text_printf(
        &headers, "Content-Type: application/json\r\nContent-Length: %zu\r\n", json.length_bytes);
    plain_http_send(env->health_port, "POST", path, headers.data, json.data, answer);
    text_fini(&headers);
    text_fini(&json);
}

void agent_caller_must_get(struct test_env *env, const char *path, const char *credential,
    const char *body, int status, const char *words)
{
    struct plain_response answer;
    agent_caller_post(env, path, credential, body, &answer);
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
