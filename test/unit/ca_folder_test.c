#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote/ca_folder.h"

enum { PATH_BYTES = 256 };

struct fixture {
    char root[PATH_BYTES];
    char folder[PATH_BYTES + 16];
    char bundle[PATH_BYTES + 16];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    snprintf(fixture->root, sizeof fixture->root, "%s/authorities-XXXXXX", parent);
    assert_non_null(mkdtemp(fixture->root));
    snprintf(fixture->folder, sizeof fixture->folder, "%s/certs", fixture->root);
    snprintf(fixture->bundle, sizeof fixture->bundle, "%s/bundle.crt", fixture->root);
    assert_int_equal(mkdir(fixture->folder, 0700), 0);
    *state = fixture;
    return 0;
}

static void name_path(char *path, const struct fixture *fixture, const char *name)
{
    snprintf(path, PATH_BYTES + 64, "%s/%s", fixture->folder, name);
}

static void add_to_folder(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES + 64];
    name_path(path, fixture, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void write_bundle(const struct fixture *fixture, const char *text)
{
    FILE *file = fopen(fixture->bundle, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "0123abcd.0", "0123abcd.1", "ffffffff.10", "0123abcd.r0", "0123abcd.", "own.pem"};
    struct fixture *fixture = *state;
    char path[PATH_BYTES + 64];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        name_path(path, fixture, names[i]);
        unlink(path);
    }
    unlink(fixture->bundle);
    assert_int_equal(rmdir(fixture->folder), 0);
    assert_int_equal(rmdir(fixture->root), 0);
    free(fixture);
    return 0;
}

static const char three[] = "# Example\n"
                            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
                            "-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n"
                            "-----END TRUSTED CERTIFICATE-----\n"
                            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

static void test_folder_with_all_of_the_bundle(void **state)
{
    const struct fixture *fixture = *state;
    write_bundle(fixture, three);
    add_to_folder(fixture, "0123abcd.0");
    add_to_folder(fixture, "0123abcd.1");
    assert_false(ca_folder_is_whole(fixture->folder, fixture->bundle));
    add_to_folder(fixture, "ffffffff.10");
    assert_true(ca_folder_is_whole(fixture->folder, fixture->bundle));
}

static void test_names_by_which_nothing_is_found(void **state)
{
    const struct fixture *fixture = *state;
    write_bundle(fixture, three);
    add_to_folder(fixture, "0123abcd.0");
    add_to_folder(fixture, "0123abcd.r0");
    add_to_folder(fixture, "0123abcd.");
    add_to_folder(fixture, "own.pem");
    assert_false(ca_folder_is_whole(fixture->folder, fixture->bundle));
}

static void test_bundle_that_is_not_there(void **state)
{
    const struct fixture *fixture = *state;
    add_to_folder(fixture, "0123abcd.0");
    assert_false(ca_folder_is_whole(fixture->folder, fixture->bundle));
    write_bundle(fixture, "no certificate\n");
    assert_false(ca_folder_is_whole(fixture->folder, fixture->bundle));
}

static void test_folder_that_is_not_there(void **state)
{
    const struct fixture *fixture = *state;
    write_bundle(fixture, three);
    assert_false(ca_folder_is_whole("/nonexistent/folder", fixture->bundle));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_folder_with_all_of_the_bundle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_by_which_nothing_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bundle_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_that_is_not_there, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
