/* The tags of session keys, and the file with the key that they are made with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/tmp_dir.h"
#include "agent_tools/capability.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 32 };

static const char session[] = "agent:jarvis:task:t1:acc:v1";
static const char other_session[] = "agent:jarvis:task:t2:acc:v1";

struct fixture {
    char dir[TMP_DIR_BYTES];
    char path[PATH_BYTES];
};

static int setup(void **state)
{
    static struct fixture fixture;
    tmp_dir_create(fixture.dir);
    snprintf(fixture.path, sizeof fixture.path, "%s/agent-api.key", fixture.dir);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tmp_dir_remove(fixture->dir);
    return 0;
}

static struct capability *must_create(const char *dir)
{
    struct error error;
    struct capability *capability = NULL;
    if (capability_create(&capability, dir, &error) != 0)
        fail_msg("%s", error.text);
    return capability;
}

static void write_key(const struct fixture *fixture, const char *bytes, size_t length, mode_t mode)
{
    int fd = open(fixture->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void must_refuse(const struct fixture *fixture, const char *part)
{
    struct error error;
    struct capability *capability = NULL;
    assert_int_equal(capability_create(&capability, fixture->dir, &error), ERROR_INVALID);
    if (strstr(error.text, part) == NULL || strstr(error.text, fixture->path) == NULL ||
        strstr(error.text, "remove it") == NULL)
        fail_msg("not about \"%s\": %s", part, error.text);
}

static void test_tag_is_that_of_the_hmac(void **state)
{
    const struct fixture *fixture = *state;
    char tag[CAPABILITY_TAG_BYTES];
    write_key(fixture, "0123456789abcdef0123456789abcdef", 32, 0600);
    struct capability *capability = must_create(fixture->dir);
    /* printf 'agent:jarvis:task:t1:acc:v1\0a1' | openssl dgst -sha256 -hmac KEY -binary | base32 */
    capability_tag(capability, session, "a1", tag);
    assert_string_equal(tag, "cyupsjnhgfafvugha52gxdflbq");
    capability_destroy(capability);
}

static void test_tag_has_its_form(void **state)
{
    (void)state;
    struct capability *capability = must_create(NULL);
    for (int i = 0; i < 200; i++) {
        char tag[CAPABILITY_TAG_BYTES];
        char id[16];
        snprintf(id, sizeof id, "a%d", i);
        capability_tag(capability, session, id, tag);
        assert_int_equal(strlen(tag), 26);
        assert_int_equal(strspn(tag, "abcdefghijklmnopqrstuvwxyz234567"), 26);
        assert_true(capability_check(capability, session, id, tag));
    }
    capability_destroy(capability);
}

static void test_only_the_right_tag_is_accepted(void **state)
{
    (void)state;
    struct capability *capability = must_create(NULL);
    char tag[CAPABILITY_TAG_BYTES];
    char longer[CAPABILITY_TAG_BYTES + 1];
    capability_tag(capability, session, "a1", tag);
    assert_true(capability_check(capability, session, "a1", tag));
    assert_false(capability_check(capability, other_session, "a1", tag));
    assert_false(capability_check(capability, session, "a2", tag));
    /* The boundary between key and id is part of it. */
    assert_false(capability_check(capability, "agent:jarvis:task:t1:acc:v1a", "1", tag));
    assert_false(capability_check(capability, session, "a1", ""));
    snprintf(longer, sizeof longer, "%sa", tag);
    assert_false(capability_check(capability, session, "a1", longer));
    for (size_t i = 0; i < sizeof tag - 1; i++) {
        char wrong[CAPABILITY_TAG_BYTES];
        memcpy(wrong, tag, sizeof wrong);
        wrong[i] = wrong[i] == 'a' ? 'b' : 'a';
        assert_false(capability_check(capability, session, "a1", wrong));
        wrong[i] = '\0';
        assert_false(capability_check(capability, session, "a1", wrong));
    }
    capability_destroy(capability);
}

static void test_long_keys_have_tags_too(void **state)
{
    (void)state;
    static char key[20000];
    char tag[CAPABILITY_TAG_BYTES];
    struct capability *capability = must_create(NULL);
    memset(key, 'k', sizeof key - 1);
    capability_tag(capability, key, "a1", tag);
    assert_true(capability_check(capability, key, "a1", tag));
    assert_false(capability_check(capability, key, "a2", tag));
    key[sizeof key - 2] = 'x';
    assert_false(capability_check(capability, key, "a1", tag));
    capability_destroy(capability);
}

static void test_key_file_is_private_and_kept(void **state)
{
    const struct fixture *fixture = *state;
    struct stat status;
    char first[CAPABILITY_TAG_BYTES];
    char second[CAPABILITY_TAG_BYTES];
    struct capability *capability = must_create(fixture->dir);
    capability_tag(capability, session, "a1", first);
    capability_destroy(capability);
    assert_int_equal(lstat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
    assert_int_equal(status.st_size, 32);
    capability = must_create(fixture->dir);
    capability_tag(capability, session, "a1", second);
    capability_destroy(capability);
    assert_string_equal(first, second);
    assert_int_equal(unlink(fixture->path), 0);
    capability = must_create(fixture->dir);
    assert_false(capability_check(capability, session, "a1", first));
    capability_destroy(capability);
}

static void test_damaged_key_files_are_refused(void **state)
{
    const struct fixture *fixture = *state;
    char elsewhere[PATH_BYTES];
    write_key(fixture, "short", 5, 0600);
    must_refuse(fixture, "32 bytes");
    write_key(fixture, "0123456789abcdef0123456789abcdefX", 33, 0600);
    must_refuse(fixture, "32 bytes");
    write_key(fixture, "0123456789abcdef0123456789abcdef", 32, 0640);
    must_refuse(fixture, "read by others");
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", fixture->dir);
    assert_int_equal(rename(fixture->path, elsewhere), 0);
    assert_int_equal(chmod(elsewhere, 0600), 0);
    assert_int_equal(symlink(elsewhere, fixture->path), 0);
    must_refuse(fixture, "symbolic link");
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    must_refuse(fixture, "regular file");
    assert_int_equal(rmdir(fixture->path), 0);
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    must_refuse(fixture, "regular file");
    if (geteuid() == 0) {
        assert_int_equal(unlink(fixture->path), 0);
        write_key(fixture, "0123456789abcdef0123456789abcdef", 32, 0600);
        assert_int_equal(chown(fixture->path, 1, 1), 0);
        must_refuse(fixture, "another user");
    }
}

/* What a power failure left must not give the new key another mode. */
static void test_leftover_of_a_write_does_no_harm(void **state)
{
    const struct fixture *fixture = *state;
    char leftover[PATH_BYTES + 8];
    snprintf(leftover, sizeof leftover, "%s.new", fixture->path);
    int fd = open(leftover, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    close(fd);
    capability_destroy(must_create(fixture->dir));
    capability_destroy(must_create(fixture->dir));
}

static void test_unwritable_directory_leaves_the_key_in_memory(void **state)
{
    (void)state;
    struct capability *capability = must_create("/proc/self");
    char tag[CAPABILITY_TAG_BYTES];
    capability_tag(capability, session, "a1", tag);
    assert_true(capability_check(capability, session, "a1", tag));
    capability_destroy(capability);
    capability_destroy(must_create("/nonexistent/state"));
    capability_destroy(NULL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tag_is_that_of_the_hmac),
        TEST(test_tag_has_its_form),
        TEST(test_only_the_right_tag_is_accepted),
        TEST(test_long_keys_have_tags_too),
        TEST(test_key_file_is_private_and_kept),
        TEST(test_damaged_key_files_are_refused),
        TEST(test_leftover_of_a_write_does_no_harm),
        TEST(test_unwritable_directory_leaves_the_key_in_memory),
    };
    return cmocka_run_group_tests_name("capability", tests, NULL, NULL);
}
