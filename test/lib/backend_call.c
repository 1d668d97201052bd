/*
 * Posts to /api/action as a runtime does, through the environment's client. Names are resolved by
 * reading the board, so a test states what it means and needs no variables for ids.
 */
#include "backend_call.h"
#include "json_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/text.h"

static const char *id_in_table(const json_t *table, const char *name)
{
    static const char *const keys[] = {"slug", "name", "title"};
    size_t index;
    const json_t *document;
    json_array_foreach (table, index, document) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const char *value = json_guard_string(document, keys[i]);
            if (value != NULL && strcmp(value, name) == 0)
                return json_guard_string(document, "_id");
        }
    }
    return NULL;
}

static json_t *resolve_name(struct test_env *env, const char *name)
{
    json_t *state =
        test_env_get(env, "/sandbox/state?tables=agents,tasks,users,accounts,documents,skills");
    const char *id = NULL;
    const char *key;
    const json_t *table;
    json_object_foreach (state, key, table) {
        if (id == NULL)
            id = id_in_table(table, name);
    }
    if (id == NULL)
        fail_msg("nothing is called %s", name);
    json_t *string = json_string(id);
    json_decref(state);
    return string;
}

static json_t *resolve_names(struct test_env *env, json_t *value)
{
    const char *string = json_string_value(value);
    const char *key;
    json_t *member;
    size_t index;
    if (string != NULL && string[0] == '$')
        return resolve_name(env, string + 1);
    json_object_foreach (value, key, member) {
        json_object_set_new(value, key, resolve_names(env, member));
    }
    json_array_foreach (value, index, member) {
        json_array_set_new(value, index, resolve_names(env, member));
    }
    return json_incref(value);
}

void backend_id(struct test_env *env, const char *name, char id[static ID_BYTES])
{
    json_t *found = resolve_name(env, name);
    text_copy(id, ID_BYTES, json_string_value(found));
    json_decref(found);
}

json_t *backend_json(struct test_env *env, const char *text)
{
    json_error_t error;
    char *quoted = json_fixture_quote(text);
    json_t *parsed = json_loads(quoted, JSON_DECODE_ANY, &error);
    if (parsed == NULL)
        fail_msg("%s in %s", error.text, text);
    free(quoted);
    json_t *resolved = resolve_names(env, parsed);
    json_decref(parsed);
    return resolved;
}

__attribute__((format(printf, 2, 0))) static json_t *format_json(
    struct test_env *env, const char *format, va_list arguments)
{
    struct text text = {0};
    text_vprintf(&text, format, arguments);
    assert_false(text.failed);
    json_t *json = backend_json(env, text.data);
    text_fini(&text);
    return json;
}

json_t *backend_control(struct test_env *env, const char *path, const char *format, ...)
{
    va_list arguments;
    char whole[128];
    snprintf(whole, sizeof whole, "/sandbox/%s", path);
    va_start(arguments, format);
    json_t *body = format_json(env, format, arguments);
    va_end(arguments);
    return test_env_post(env, whole, body);
}

void backend_set_up(struct test_env *env, const char *path, const char *format, ...)
{
    va_list arguments;
    char whole[128];
    snprintf(whole, sizeof whole, "/sandbox/%s", path);
    va_start(arguments, format);
    json_t *body = format_json(env, format, arguments);
    va_end(arguments);
    json_decref(test_env_post(env, whole, body));
}

json_t *backend_post(
    struct test_env *env, const char *path, const char *header, json_t *body, int status)
{
    const char *const headers[] = {"Content-Type: application/json",
        "Authorization: Bearer " TEST_GATEWAY_TOKEN, header, NULL};
    struct http_response answer;
    char url[192];
    snprintf(url, sizeof url, "%s%s", env->url, path);
    char *text = json_dumps(body, JSON_COMPACT);
    assert_non_null(text);
    json_decref(body);
    const struct http_request request = {.url = url,
        .headers = headers,
        .body = text,
        .body_bytes = strlen(text),
        .timeout_ms = TEST_WAIT_MS,
        .response_limit_bytes = 65536,
        .ignore_proxy = true};
    http_client_perform(env->client, &request, &answer);
    if (answer.status != status)
        fail_msg("%s %s: status %d, %.*s", path, text, answer.status, (int)answer.body.length_bytes,
            answer.body.bytes);
    free(text);
    json_t *value = json_loadb(answer.body.bytes, answer.body.length_bytes, 0, NULL);
    assert_non_null(value);
    return value;
}

static void set_default(json_t *arguments, const char *key, const char *value)
{
    if (json_object_get(arguments, key) == NULL)
        assert_int_equal(json_object_set_new(arguments, key, json_string(value)), 0);
}

/* Returns the whole answer, {"status": ...}. */
__attribute__((format(printf, 3, 0))) static json_t *call_function(
    struct test_env *env, const char *function, const char *format, va_list list)
{
    char path[96];
    json_t *arguments = format_json(env, format, list);
    set_default(arguments, "accountId", TEST_ACCOUNT);
    set_default(arguments, "serviceToken", TEST_TOKEN);
    snprintf(path, sizeof path, "service/actions:%s", function);
    return test_env_post(env, "/api/action",
        json_pack(
            "{s:s, s:s, s:[o]}", "path", path, "format", "convex_encoded_json", "args", arguments));
}

__attribute__((format(printf, 3, 0))) static json_t *call_for_value(
    struct test_env *env, const char *function, const char *format, va_list list)
{
    json_t *answer = call_function(env, function, format, list);
    const char *error = json_guard_string(answer, "errorMessage");
    if (error != NULL)
        fail_msg("%s: %s", function, error);
    json_t *value = json_incref(json_object_get(answer, "value"));
    json_decref(answer);
    assert_non_null(value);
    return value;
}

json_t *backend_value(struct test_env *env, const char *function, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *value = call_for_value(env, function, format, arguments);
    va_end(arguments);
    return value;
}

void backend_do(struct test_env *env, const char *function, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_decref(call_for_value(env, function, format, arguments));
    va_end(arguments);
}

void backend_refuses(
    struct test_env *env, const char *words, const char *function, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = call_function(env, function, format, arguments);
    va_end(arguments);
    const char *error = json_guard_string(answer, "errorMessage");
    if (error == NULL || strstr(error, words) == NULL) {
        char *text = json_dumps(answer, JSON_COMPACT);
        fail_msg("%s %s: expected \"%s\" in %s", function, format, words, text);
    }
    json_decref(answer);
}

const json_t *value_at(const json_t *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        char key[64];
        size_t length = strcspn(path, ".");
        assert_true(length < sizeof key);
        memcpy(key, path, length);
        key[length] = '\0';
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
        path += length + (path[length] == '.');
    }
    return value;
}

/* Whether two values are equal; numbers by value, as the backend writes 1 as 1.0. */
static bool values_equal(const json_t *one, const json_t *other)
{
    const char *key;
    const json_t *member;
    if (json_is_number(one) && json_is_number(other))
        return json_number_value(one) == json_number_value(other);
    if (json_is_array(one) && json_is_array(other)) {
        size_t count = json_array_size(one);
        for (size_t i = 0; i < count; i++)
            if (!values_equal(json_array_get(one, i), json_array_get(other, i)))
                return false;
        return count == json_array_size(other);
    }
    if (!json_is_object(one) || !json_is_object(other))
        return json_equal(one, other);
    json_object_foreach ((json_t *)one, key, member) {
        if (!values_equal(member, json_object_get(other, key)))
            return false;
    }
    return json_object_size(one) == json_object_size(other);
}

void value_must_be(struct test_env *env, const json_t *value, const char *path, const char *text)
{
    const json_t *part = value_at(value, path);
    json_t *expected = *text == '\0' ? NULL : backend_json(env, text);
    bool equal = part == NULL || expected == NULL ? part == expected : values_equal(part, expected);
    json_decref(expected);
    if (equal)
        return;
    char *is = json_dumps(part, JSON_COMPACT | JSON_ENCODE_ANY);
    fail_msg("%s is %s, expected %s", path, is == NULL ? "absent" : is,
        *text == '\0' ? "nothing" : text);
}

const char *value_string(const json_t *value, const char *path)
{
    const char *string = json_string_value(value_at(value, path));
    if (string == NULL)
        fail_msg("there is no string at %s", path);
    return string;
}
