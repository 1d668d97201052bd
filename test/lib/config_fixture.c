/*
 * Loads settings from a list of variables and captures the problems. Registered secrets are
 * forgotten around each load, since they are global and would leak from one test into the next.
 */
#include "config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "test_file.h"

enum { VARIABLES_MAX = 24 };

int config_fixture_setup(void **state)
{
    struct config_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    snprintf(fixture->env_file, sizeof fixture->env_file, "%s/env", fixture->dir);
    *state = fixture;
    return 0;
}

int config_fixture_teardown(void **state)
{
    struct config_fixture *fixture = *state;
    tmp_dir_remove(fixture->dir);
    config_fini(&fixture->config);
    problems_fini(&fixture->problems);
    redact_forget_all();
    free(fixture);
    return 0;
}

int config_fixture_load(struct config_fixture *fixture, const char *const *variables)
{
    char *environment[VARIABLES_MAX + 1] = {NULL};
    size_t count = 0;
    for (; variables[count] != NULL; count++) {
        assert_true(count < VARIABLES_MAX);
        environment[count] = strdup(variables[count]);
    }
    config_fini(&fixture->config);
    problems_fini(&fixture->problems);
    redact_forget_all();
    const char *env_file = fixture->has_env_file ? fixture->env_file : NULL;
    int result = config_load(&fixture->config, environment, env_file, &fixture->problems);
    for (size_t i = 0; i < count; i++)
        free(environment[i]);
    return result;
}

char *config_fixture_messages(const struct config_fixture *fixture)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&bytes, &size);
    assert_non_null(stream);
    problems_write(&fixture->problems, stream);
    fclose(stream);
    return bytes;
}

void must_report(const struct config_fixture *fixture, const char *part)
{
    char *messages = config_fixture_messages(fixture);
    if (strstr(messages, part) == NULL)
        fail_msg("missing: %s\nproblems:\n%s", part, messages);
    free(messages);
}

static size_t count_problems(const struct config_fixture *fixture)
{
    size_t count = 0;
    for (size_t i = 0; i < fixture->problems.count; i++)
        count += strstr(fixture->problems.items[i].text, SHORT_TOKEN) == NULL;
    return count;
}

void must_load(const struct config_fixture *fixture, int result)
{
    char *messages = config_fixture_messages(fixture);
    if (result != 0 || count_problems(fixture) != 0)
        fail_msg("result %d, problems:\n%s", result, messages);
    free(messages);
}

void must_fail_with(const struct config_fixture *fixture, int result, const char *part)
{
    assert_int_equal(result, ERROR_INVALID);
    must_report(fixture, part);
    must_report(fixture, "error: ");
    char *messages = config_fixture_messages(fixture);
    if (count_problems(fixture) != 1)
        fail_msg("expected one problem:\n%s", messages);
    free(messages);
    assert_null(fixture->config.account_id);
}

void config_fixture_env_file(struct config_fixture *fixture, const char *text, mode_t mode)
{
    test_file_write_bytes(fixture->env_file, text, strlen(text), mode);
    fixture->has_env_file = true;
}

void config_fixture_value_file(struct config_fixture *fixture, const char *name, const char *bytes,
    size_t length_bytes, char variable[static CONFIG_FIXTURE_VARIABLE_BYTES])
{
    char path[CONFIG_FIXTURE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/value", fixture->dir);
    test_file_write_bytes(path, bytes, length_bytes, 0600);
    snprintf(variable, CONFIG_FIXTURE_VARIABLE_BYTES, "%s_FILE=%s", name, path);
}
