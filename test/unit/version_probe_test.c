/* The OpenClaw version: which program is run, and what its output is parsed to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../lib/tmp_dir.h"
#include "base/sync.h"
#include "gateway/version_probe.h"

enum { TIMEOUT_MS = 20000, PATH_BYTES = TMP_DIR_BYTES + 32 };

/* PATH is a temporary directory, so only programs created there are found. */
struct fixture {
    char dir[TMP_DIR_BYTES];
    char *path_before;
};

static void path_in(const struct fixture *fixture, const char *name, char path[static PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", fixture->dir, name);
}

static void add_program(const struct fixture *fixture, const char *name, const char *script)
{
    char path[PATH_BYTES];
    path_in(fixture, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\n%s\n", script);
    close(fd);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    const char *path_before = getenv("PATH");
    fixture->path_before = strdup(path_before == NULL ? "" : path_before);
    setenv("PATH", fixture->dir, 1);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tmp_dir_remove(fixture->dir);
    setenv("PATH", fixture->path_before, 1);
    free(fixture->path_before);
    free(fixture);
    return 0;
}

static void expect_version(const char *configured, const char *version)
{
    struct version_probe *probe = NULL;
    char found[VERSION_PROBE_BYTES] = "";
    assert_int_equal(version_probe_start(&probe, configured, NULL), 0);
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    while (!version_probe_get(probe, found, sizeof found) && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 1);
    version_probe_stop(probe);
    assert_string_equal(found, version);
}

static void test_configured_version_needs_no_program(void **state)
{
    add_program(*state, "openclaw", "echo 1.2.3");
    struct version_probe *probe = NULL;
    char found[VERSION_PROBE_BYTES] = "";
    assert_int_equal(version_probe_start(&probe, "my build", NULL), 0);
    assert_true(version_probe_get(probe, found, sizeof found));
    assert_string_equal(found, "my build");
    version_probe_stop(probe);
    expect_version("", "1.2.3");
}

static void test_openclaw_is_preferred(void **state)
{
    add_program(*state, "openclaw", "[ \"$*\" = --version ] && echo 'OpenClaw 2026.9.6 (eb377ac)'");
    add_program(*state, "clawdbot", "echo 1.1.1");
    expect_version(NULL, "2026.9.6");
}

static void test_clawdbot_is_run_without_openclaw(void **state)
{
    add_program(*state, "clawdbot", "echo 2026.1.24-3");
    expect_version(NULL, "2026.1.24-3");
}

static void test_clawdbot_is_run_if_openclaw_fails(void **state)
{
    add_program(*state, "openclaw", "echo 9.9.9 >&2; exit 1");
    add_program(*state, "clawdbot", "echo 2026.1.24-3");
    expect_version(NULL, "2026.1.24-3");
}

static void test_version_is_unknown_without_output(void **state)
{
    expect_version(NULL, "unknown");
    add_program(*state, "openclaw", "echo no version here");
    expect_version(NULL, "unknown");
}

static void test_stop_kills_a_hanging_program(void **state)
{
    char started[PATH_BYTES];
    path_in(*state, "asked", started);
    add_program(*state, "openclaw", "echo 1.2.3; : > \"${0%/*}/asked\"; exec /bin/sleep 60");
    struct version_probe *probe = NULL;
    char found[VERSION_PROBE_BYTES];
    assert_int_equal(version_probe_start(&probe, NULL, NULL), 0);
    int64_t began_ms = clock_monotonic_ms();
    while (access(started, F_OK) != 0 && clock_monotonic_ms() - began_ms < TIMEOUT_MS)
        poll(NULL, 0, 1);
    assert_int_equal(access(started, F_OK), 0);
    assert_false(version_probe_get(probe, found, sizeof found));
    began_ms = clock_monotonic_ms();
    version_probe_stop(probe);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 5000);
}

static void test_stop_right_after_the_start(void **state)
{
    add_program(*state, "openclaw", "exec /bin/sleep 60");
    for (int i = 0; i < 20; i++) {
        struct version_probe *probe = NULL;
        assert_int_equal(version_probe_start(&probe, NULL, NULL), 0);
        version_probe_stop(probe);
    }
    version_probe_stop(NULL);
}

/* No program is installed beside a gateway in another container, which tells its release itself. */
static void test_release_of_the_gateway_is_the_last_resort(void **state)
{
    (void)state;
    struct gateway_roster *roster;
    struct version_probe *probe;
    char version[VERSION_PROBE_BYTES];
    const struct gateway_release release = {GATEWAY_CURRENT, "2026.9.6"};
    assert_int_equal(gateway_roster_create(&roster, NULL), 0);
    assert_int_equal(version_probe_start(&probe, VERSION_PROBE_UNKNOWN, NULL), 0);
    assert_true(version_probe_get_any(probe, roster, version, sizeof version));
    assert_string_equal(version, VERSION_PROBE_UNKNOWN);
    gateway_roster_set_release(roster, &release);
    assert_true(version_probe_get_any(probe, roster, version, sizeof version));
    assert_string_equal(version, "2026.9.6");
    assert_true(version_probe_get_any(probe, NULL, version, sizeof version));
    assert_string_equal(version, VERSION_PROBE_UNKNOWN);
    version_probe_stop(probe);
    assert_int_equal(version_probe_start(&probe, "2026.2.19", NULL), 0);
    assert_true(version_probe_get_any(probe, roster, version, sizeof version));
    assert_string_equal(version, "2026.2.19");
    version_probe_stop(probe);
    gateway_roster_destroy(roster);
}

static void test_versions_are_found_in_output(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"OpenClaw 2026.9.6 (eb377ac)\n", "2026.9.6"},
        {"2026.2.19\n", "2026.2.19"},
        {"2026.2.19", "2026.2.19"},
        {"2026.1.24-3\n", "2026.1.24-3"},
        {"openclaw/2026.2.19 linux-x64 node-v22.1.0", "2026.2.19"},
        {"v1.2.3-beta.1+build.7,", "1.2.3-beta.1+build.7"},
        {"version 1.2.3. Done", "1.2.3"},
        {"(1.2.3)", "1.2.3"},
        {"1.2.3-", "1.2.3"},
        {"warning 5\nOpenClaw 1.2", "1.2"},
        {"took 1.5s, is 1.2.3", "1.2.3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char version[VERSION_PROBE_BYTES] = "";
        assert_true(version_probe_parse(cases[i][0], version));
        assert_string_equal(version, cases[i][1]);
    }
}

static void test_other_output_is_not_a_version(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "\n", "unknown", "17", "v", "v3", ".5", "1.", "1..2",
        "a1.2", "1.2a", "command not found"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char version[VERSION_PROBE_BYTES] = "kept";
        assert_false(version_probe_parse(cases[i], version));
        assert_string_equal(version, "kept");
    }
}

static void test_long_version_is_truncated(void **state)
{
    (void)state;
    char output[512];
    char version[VERSION_PROBE_BYTES];
    memset(output, '1', sizeof output - 1);
    output[1] = '.';
    output[sizeof output - 1] = '\0';
    assert_true(version_probe_parse(output, version));
    assert_int_equal(strlen(version), VERSION_PROBE_BYTES - 1);
}

#define WITH_PATH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PATH(test_configured_version_needs_no_program),
        WITH_PATH(test_openclaw_is_preferred),
        WITH_PATH(test_clawdbot_is_run_without_openclaw),
        WITH_PATH(test_clawdbot_is_run_if_openclaw_fails),
        WITH_PATH(test_version_is_unknown_without_output),
        WITH_PATH(test_stop_kills_a_hanging_program),
        WITH_PATH(test_stop_right_after_the_start),
        cmocka_unit_test(test_release_of_the_gateway_is_the_last_resort),
        cmocka_unit_test(test_versions_are_found_in_output),
        cmocka_unit_test(test_other_output_is_not_a_version),
        cmocka_unit_test(test_long_version_is_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
