/*
 * Whether a directory of hashed certificates can replace a CA bundle: only if it holds all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "http/ca_store.h"

struct fixture {
    char root[TMP_DIR_BYTES];
    char dir[TMP_DIR_BYTES + 16];
    char bundle[TMP_DIR_BYTES + 16];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->root);
    snprintf(fixture->dir, sizeof fixture->dir, "%s/certs", fixture->root);
    snprintf(fixture->bundle, sizeof fixture->bundle, "%s/bundle.crt", fixture->root);
    assert_int_equal(mkdir(fixture->dir, 0700), 0);
    *state = fixture;
    return 0;
}

static void path_in_dir(char *path, const struct fixture *fixture, const char *name)
{
    snprintf(path, TMP_DIR_BYTES + 64, "%s/%s", fixture->dir, name);
}

static void add_to_dir(const struct fixture *fixture, const char *name, const char *text)
{
    char path[TMP_DIR_BYTES + 64];
    path_in_dir(path, fixture, name);
    test_file_write(path, text);
}

static bool dir_replaces_bundle(const struct fixture *fixture)
{
    return ca_dir_matches_bundle(fixture->dir, fixture->bundle);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tmp_dir_remove(fixture->root);
    free(fixture);
    return 0;
}

static void test_dir_with_the_whole_bundle_is_used(void **state)
{
    const struct fixture *fixture = *state;
    test_file_write(fixture->bundle, "one\ntwo\nthree\n");
    add_to_dir(fixture, "0123abcd.0", "one\n");
    add_to_dir(fixture, "0123abcd.1", "two\n");
    assert_false(dir_replaces_bundle(fixture));
    add_to_dir(fixture, "ffffffff.10", "three\n");
    assert_true(dir_replaces_bundle(fixture));
}

static void test_modified_bundle_is_not_replaced(void **state)
{
    const struct fixture *fixture = *state;
    add_to_dir(fixture, "0123abcd.0", "one\n");
    add_to_dir(fixture, "0123abcd.1", "two\n");
    test_file_write(fixture->bundle, "own\n");
    assert_false(dir_replaces_bundle(fixture));
    test_file_write(fixture->bundle, "one\ntwo\nown\n");
    assert_false(dir_replaces_bundle(fixture));
}

static void test_files_without_hash_names_do_not_count(void **state)
{
    const struct fixture *fixture = *state;
    test_file_write(fixture->bundle, "one\ntwo\n");
    add_to_dir(fixture, "0123abcd.0", "one\n");
    add_to_dir(fixture, "0123abcd.r0", "two\n");
    assert_false(dir_replaces_bundle(fixture));
    add_to_dir(fixture, "0123abcd.", "two\n");
    assert_false(dir_replaces_bundle(fixture));
    add_to_dir(fixture, "own.pem", "two\n");
    assert_false(dir_replaces_bundle(fixture));
}

static void test_missing_dir_or_bundle_is_not_used(void **state)
{
    const struct fixture *fixture = *state;
    assert_false(dir_replaces_bundle(fixture));
    test_file_write(fixture->bundle, "");
    assert_false(dir_replaces_bundle(fixture));
    test_file_write(fixture->bundle, "one\n");
    assert_false(ca_dir_matches_bundle("/nonexistent/directory", fixture->bundle));
    assert_false(ca_dir_matches_bundle(fixture->dir, fixture->dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dir_with_the_whole_bundle_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modified_bundle_is_not_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_files_without_hash_names_do_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_dir_or_bundle_is_not_used, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
