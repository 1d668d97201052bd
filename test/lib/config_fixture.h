/* Settings loaded from a list of variables, and the problems reported. */
#ifndef TEST_LIB_CONFIG_FIXTURE_H
#define TEST_LIB_CONFIG_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/config.h"
#include "tmp_dir.h"

#define ACCOUNT "ACCOUNT_ID=k57abc"
#define CONVEX "CONVEX_URL=https://happy-otter-42.convex.cloud"
#define TOKEN_VALUE "mc_service_k57abc_9f8e7d6c5b4a3f2e"
#define TOKEN "SERVICE_TOKEN=mc_service_k57abc_9f8e7d6c5b4a3f2e"
#define HOME "HOME=/home/jo"
#define REQUIRED ACCOUNT, CONVEX, TOKEN, HOME

enum {
    CONFIG_FIXTURE_PATH_BYTES = TMP_DIR_BYTES + 16,
    CONFIG_FIXTURE_VARIABLE_BYTES = CONFIG_FIXTURE_PATH_BYTES + 64
};

/* env_file is a path in dir, a temporary directory; it is read if has_env_file is set. */
struct config_fixture {
    struct config config;
    struct problems problems;
    char dir[TMP_DIR_BYTES];
    char env_file[CONFIG_FIXTURE_PATH_BYTES];
    bool has_env_file;
};

/* For cmocka_unit_test_setup_teardown; *state becomes a struct config_fixture. */
int config_fixture_setup(void **state);
int config_fixture_teardown(void **state);

/*
 * Replaces the settings by those of the NULL-terminated variables; returns config_load's result.
 * Forgets all secrets first.
 */
int config_fixture_load(struct config_fixture *fixture, const char *const *variables);

#define LOAD(fixture, ...) config_fixture_load(fixture, (const char *const[]){__VA_ARGS__, NULL})

/* Returns all problems as they are printed; the caller frees it. */
char *config_fixture_messages(const struct config_fixture *fixture);

/* Part of the warning of a short token. */
#define SHORT_TOKEN "fewer than 16 characters"

/*
 * Warnings of short tokens do not count as problems here, as most tests use tokens that are easy to
 * read. Each fails the test, printing the problems, unless: some problem contains part; result is 0
 * without problems; result is ERROR_INVALID with exactly one problem, which contains part.
 */
void must_report(const struct config_fixture *fixture, const char *part);
void must_load(const struct config_fixture *fixture, int result);
void must_fail_with(const struct config_fixture *fixture, int result, const char *part);

/* Writes the env file with that mode; later loads read it. */
void config_fixture_env_file(struct config_fixture *fixture, const char *text, mode_t mode);

/* Writes a file with the bytes and sets variable to "NAME_FILE=path" for it. */
void config_fixture_value_file(struct config_fixture *fixture, const char *name, const char *bytes,
    size_t length_bytes, char variable[static CONFIG_FIXTURE_VARIABLE_BYTES]);

#endif
