/*
 * Thin wrappers of the sandbox's control API (docs/sandbox.md). Every call is synchronous: when it
 * returns, the board has changed.
 */
#include "board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/text.h"

json_t *board_load(struct test_env *env, int count, int agents)
{
    json_t *answer = test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:i}", "notifications", count, "agents", agents, "tasks", agents));
    json_t *rows = json_incref(json_object_get(answer, "notifications"));
    json_decref(answer);
    assert_int_equal(json_array_size(rows), count);
    return rows;
}

void board_load_one(struct test_env *env, char id[static ID_BYTES])
{
    json_t *rows = board_load(env, 1, 1);
    assert_true(text_copy(id, ID_BYTES, board_string(json_array_get(rows, 0), "id")));
    json_decref(rows);
}

void board_set(struct test_env *env, json_t *settings)
{
    json_decref(test_env_post(env, "/sandbox/settings", settings));
}

void board_set_flag(struct test_env *env, const char *key, bool value)
{
    board_set(env, json_pack("{s:b}", key, value));
}

static void add_rule(struct test_env *env, const char *side, json_t *rule)
{
    assert_non_null(rule);
    json_decref(test_env_post(env, "/sandbox/faults", json_pack("{s:[o]}", side, rule)));
}

void board_gateway_fault(struct test_env *env, json_t *rule)
{
    add_rule(env, "gateway", rule);
}

void board_backend_fault(struct test_env *env, json_t *rule)
{
    add_rule(env, "backend", rule);
}

void board_fail(struct test_env *env, const char *function, const char *behaviour, int times)
{
    board_backend_fault(env,
        json_pack("{s:s, s:s, s:i}", "action", function, "behaviour", behaviour, "times", times));
}

void board_hold_agents(struct test_env *env, const char *name)
{
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "hold", "name", name));
}

int board_fault_hits(struct test_env *env, const char *name)
{
    json_t *faults = test_env_get(env, "/sandbox/faults");
    const json_t *rule;
    size_t index;
    int hits = 0;
    json_array_foreach (json_object_get(faults, "rules"), index, rule)
        if (json_guard_is(rule, "name", name, ""))
            hits += (int)json_number_value(json_object_get(rule, "hits"));
    json_decref(faults);
    return hits;
}

void board_clear_faults(struct test_env *env)
{
    json_decref(test_env_post(env, "/sandbox/faults/clear", json_object()));
}

void board_release(struct test_env *env, const char *name)
{
    json_decref(test_env_post(env, "/sandbox/release", json_pack("{s:s}", "name", name)));
}

json_t *board_documents(struct test_env *env, const char *table)
{
    char path[128];
    snprintf(path, sizeof path, "/sandbox/state?tables=%s", table);
    json_t *state = test_env_get(env, path);
    json_t *documents = json_incref(json_object_get(state, table));
    json_decref(state);
    if (!json_is_array(documents))
        fail_msg("/sandbox/state has no table %s", table);
    return documents;
}

const json_t *board_message_for(const json_t *messages, const char *notification_id, int *count)
{
    const json_t *found = NULL;
    const json_t *message;
    size_t index;
    *count = 0;
    json_array_foreach (messages, index, message) {
        const char *source = json_guard_string(message, "sourceNotificationId");
        if (source == NULL || strcmp(source, notification_id) != 0)
            continue;
        found = message;
        ++*count;
    }
    return found;
}

int board_requests_for(struct test_env *env, const char *notification_id)
{
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    const json_t *request;
    size_t index;
    int count = 0;
    json_array_foreach (json_object_get(gateway, "requests"), index, request) {
        const char *notification = json_guard_string(request, "notification");
        count += notification != NULL && strcmp(notification, notification_id) == 0;
    }
    json_decref(gateway);
    return count;
}

const char *board_string(const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    if (value == NULL)
        fail_msg("no string %s", key);
    return value;
}
