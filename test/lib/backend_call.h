/* Calls of the backend functions and the control API of a sandbox, in a compact form. */
#ifndef TEST_LIB_BACKEND_CALL_H
#define TEST_LIB_BACKEND_CALL_H

#include "base/containers.h"
#include "test_env.h"

/*
 * Arguments, bodies and expected values are texts, printf formats where noted, of JSON with ' in
 * place of ". A string "$name" in them stands for the id of the document with that slug, name or
 * title.
 */

/* Such a text as JSON; a new reference. */
json_t *backend_json(struct test_env *env, const char *text);

/* The id of the document with that slug, name or title. */
void backend_id(struct test_env *env, const char *name, char id[static ID_BYTES]);

/* POST of a format on the control API; the answer is a new reference. */
json_t *backend_control(struct test_env *env, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for an answer that is of no interest. */
void backend_set_up(struct test_env *env, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * POST of body, whose reference it takes, to any path of the sandbox with the gateway's token and
 * one more header (NULL: none). The answer, a new reference, must have the status.
 */
json_t *backend_post(
    struct test_env *env, const char *path, const char *header, json_t *body, int status);

/*
 * Calls a function with a format as the arguments, to which accountId and serviceToken are added
 * unless they are there. Returns its value; fails the test if the call fails.
 */
json_t *backend_value(struct test_env *env, const char *function, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a call whose value is of no interest. */
void backend_do(struct test_env *env, const char *function, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fails the test unless the call fails with an error that contains words. */
void backend_refuses(struct test_env *env, const char *words, const char *function,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The value at a path like "thread.0.content", borrowed; NULL if there is none. */
const json_t *value_at(const json_t *value, const char *path);

/* Fails the test unless the value at path equals the one that text describes ("": it is absent). */
void value_must_be(struct test_env *env, const json_t *value, const char *path, const char *text);

/* The string at path, borrowed; fails the test if there is none. */
const char *value_string(const json_t *value, const char *path);

#endif
