/* The token in a shared file: made once, whole, private, and kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../lib/config_fixture.h"
#include "../lib/tmp_dir.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/generated_token.h"

enum { TOKEN_CHARS = 64 };

static const char *path_in(const struct config_fixture *fixture, const char *name)
{
    static char path[CONFIG_FIXTURE_PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return path;
}

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.' ? 1 : 0;
    closedir(dir);
    return count;
}

static void write_token(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_token_is_made_once_and_is_private(void **state)
{
    struct config_fixture *fixture = *state;
    struct error error;
    struct stat status;
    char *first;
    char *second;
    const char *path = path_in(fixture, "token");
    size_t before = count_entries(fixture->dir);
    assert_int_equal(generated_token_load(path, &first, &error), 0);
    assert_int_equal(strspn(first, "0123456789abcdef"), TOKEN_CHARS);
    assert_int_equal(strlen(first), TOKEN_CHARS);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(count_entries(fixture->dir), before + 1);
    assert_int_equal(generated_token_load(path, &second, &error), 0);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void test_token_of_the_gateway_is_taken(void **state)
{
    struct error error;
    char *token;
    const char *path = path_in(*state, "token");
    write_token(path, "of-the-gateway\n");
    assert_int_equal(generated_token_load(path, &token, &error), 0);
    assert_string_equal(token, "of-the-gateway");
    free(token);
}

static void test_failures_name_the_file(void **state)
{
    struct error error;
    char *token;
    const char *path = path_in(*state, "token");
    write_token(path, "\n");
    assert_int_equal(generated_token_load(path, &token, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "/token is empty"));
    assert_int_equal(
        generated_token_load(path_in(*state, "none/token"), &token, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "cannot create "));
    assert_non_null(strstr(error.text, "/none/token"));
}

/* Loads the settings with the file and more. */
static int load_with(struct config_fixture *fixture, const char *more)
{
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES + 64];
    snprintf(
        variable, sizeof variable, "OPENCLAW_GENERATED_TOKEN_FILE=%s", path_in(fixture, "token"));
    return LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_URL=http://gateway:1", variable, more);
}

/* It makes a token superfluous where one is required, and is a secret like any other. */
static void test_setting_takes_the_place_of_a_token(void **state)
{
    struct config_fixture *fixture = *state;
    struct text redacted = {0};
    must_load(fixture, load_with(fixture, "A=b"));
    assert_int_equal(strlen(fixture->config.gateway_token), TOKEN_CHARS);
    text_append(&redacted, fixture->config.gateway_token);
    redact(redacted.data);
    assert_string_not_equal(redacted.data, fixture->config.gateway_token);
    text_fini(&redacted);
    must_load(fixture, load_with(fixture, "OPENCLAW_GATEWAY_TOKEN=given"));
    assert_string_equal(fixture->config.gateway_token, "given");
    must_load(fixture, load_with(fixture, "OPENCLAW_GATEWAY_TOKEN="));
    assert_string_equal(fixture->config.gateway_token, "");
}

static void test_setting_that_cannot_be_used_is_reported(void **state)
{
    struct config_fixture *fixture = *state;
    write_token(path_in(fixture, "token"), "");
    must_fail_with(fixture, load_with(fixture, "A=b"), "OPENCLAW_GENERATED_TOKEN_FILE: ");
}

/* A supervisor tries again after a refusal of the system, but not after a wrong setting. */
static void test_refusal_of_the_system_is_no_wrong_setting(void **state)
{
    struct config_fixture *fixture = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = load_with(fixture, "A=b");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(result, ERROR_SYSTEM);
    must_report(fixture, "error: OPENCLAW_GENERATED_TOKEN_FILE: cannot create ");
}

int main(void)
{
#define WITH_FIXTURE(test) \
    cmocka_unit_test_setup_teardown(test, config_fixture_setup, config_fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(test_token_is_made_once_and_is_private),
        WITH_FIXTURE(test_token_of_the_gateway_is_taken),
        WITH_FIXTURE(test_failures_name_the_file),
        WITH_FIXTURE(test_setting_takes_the_place_of_a_token),
        WITH_FIXTURE(test_setting_that_cannot_be_used_is_reported),
        WITH_FIXTURE(test_refusal_of_the_system_is_no_wrong_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
