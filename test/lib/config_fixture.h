/* Settings loaded from a list of variables, and what was said about them. */
#ifndef TEST_LIB_CONFIG_FIXTURE_H
#define TEST_LIB_CONFIG_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/config.h"
#include "tmp_dir.h"

#define ACCOUNT "ACCOUNT_ID=k57abc"
#define CONVEX "CONVEX_URL=https://happy-animal-123.convex.cloud"
#define TOKEN_VALUE "mc_service_k57abc_9f8e7d6c5b4a"
#define TOKEN "SERVICE_TOKEN=mc_service_k57abc_9f8e7d6c5b4a"
#define HOME "HOME=/home/jo"
#define REQUIRED ACCOUNT, CONVEX, TOKEN, HOME

enum {
    CONFIG_FIXTURE_PATH_BYTES = TMP_DIR_BYTES + 16,
    CONFIG_FIXTURE_VARIABLE_BYTES = CONFIG_FIXTURE_PATH_BYTES + 64
};

/* env_file lies in directory, a temporary one, and is read when has_env_file is set. */
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
 * config_load from the variables, which end with NULL, in place of what was loaded before. Secrets
 * known until then are forgotten.
 */
int config_fixture_load(struct config_fixture *fixture, const char *const *variables);

#define LOAD(fixture, ...) config_fixture_load(fixture, (const char *const[]){__VA_ARGS__, NULL})

/* All problems as they are written out; the caller frees. */
char *config_fixture_messages(const struct config_fixture *fixture);

/* Each fails the test, showing what was said: some line holds part; result is 0 and nothing was
 * said; result is ERROR_INVALID for one reason only, whose line holds part. */
void must_report(const struct config_fixture *fixture, const char *part);
void must_load(const struct config_fixture *fixture, int result);
void must_fail_with(const struct config_fixture *fixture, int result, const char *part);

/* Makes text the content of the env file, with mode, and has it read from now on. */
void config_fixture_env_file(struct config_fixture *fixture, const char *text, mode_t mode);

/* Makes a file with the bytes in it, and in variable "NAME_FILE=path" for it. */
void config_fixture_value_file(struct config_fixture *fixture, const char *name, const char *bytes,
    size_t length_bytes, char variable[static CONFIG_FIXTURE_VARIABLE_BYTES]);

#endif
