/* Writing below a root that agents write to, too: links, others' folders, disks that refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "agents/profile_files.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 128, NOBODY = 65534, DISK_BYTES = 64 * 1024 };

static const char id_a[] = "k57agent0a";
static const char id_b[] = "k57agent0b";

struct fixture {
    char dir[TMP_DIR_BYTES]; /* has outside/secret, which must stay as it is, and the root */
    char root[PATH_BYTES];
    char outside[PATH_BYTES];
    char secret[PATH_BYTES];
    struct profile_folders folders;
    struct error error;
    bool has_disk; /* mounted at the root */
};

static struct text_span span(const char *text)
{
    return (struct text_span){text, strlen(text)};
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    snprintf(fixture->root, sizeof fixture->root, "%s/made/agents", fixture->dir);
    snprintf(fixture->outside, sizeof fixture->outside, "%s/outside", fixture->dir);
    snprintf(fixture->secret, sizeof fixture->secret, "%s/outside/secret", fixture->dir);
    assert_int_equal(mkdir(fixture->outside, 0700), 0);
    test_file_write(fixture->secret, "secret");
    assert_int_equal(profile_root_open(fixture->root, &fixture->folders.root_fd, NULL), 0);
    *state = fixture;
    return 0;
}

/* Whatever a test did, nothing was written outside the root. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char *secret = test_file_read(fixture->secret);
    struct stat status;
    assert_string_equal(secret, "secret");
    assert_int_equal(stat(fixture->outside, &status), 0);
    assert_int_equal(status.st_nlink, 2); /* no folder was made in it */
    assert_int_equal(unlink(fixture->secret), 0);
    assert_int_equal(rmdir(fixture->outside), 0); /* and no file */
    free(secret);
    close(fixture->folders.root_fd);
    profile_folders_fini(&fixture->folders);
    if (fixture->has_disk)
        umount(fixture->root);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

static const char *in_root(const struct fixture *fixture, const char *name)
{
    static char path[PATH_BYTES + 256];
    snprintf(path, sizeof path, "%s/%s", fixture->root, name);
    return path;
}

static void expect_content(const struct fixture *fixture, const char *name, const char *content)
{
    char *found = test_file_read(in_root(fixture, name));
    assert_string_equal(found, content);
    free(found);
}

static bool exists(const struct fixture *fixture, const char *name)
{
    struct stat status;
    return lstat(in_root(fixture, name), &status) == 0;
}

/* Claims the folder as profiles.c does; the descriptor, or -1. */
static int claim(struct fixture *fixture, const char *slug, const char *id)
{
    int fd = -1;
    int result = profile_folder_claim(&fixture->folders, slug, id, &fd, &fixture->error);
    assert_int_equal(result == 0, fd >= 0);
    return result == 0 ? fd : -1;
}

static void claim_and_note(struct fixture *fixture, const char *slug, const char *id)
{
    int fd = claim(fixture, slug, id);
    assert_true(fd >= 0);
    assert_int_equal(
        profile_file_put(fd, "MEMORY.md", span(id), PROFILE_KEEP, NULL, &fixture->error), 0);
    close(fd);
}

static void begin_next_sync(struct fixture *fixture)
{
    int root_fd = fixture->folders.root_fd;
    profile_folders_fini(&fixture->folders);
    fixture->folders.root_fd = root_fd;
}

static void test_only_plain_names_are_safe(void **state)
{
    (void)state;
    static const char longest[] =
        "a123456789b123456789c123456789d123456789e123456789f123456789g123";
    static const char *const wrong[] = {"", ".", "..", "../x", "a/b", "/", "/x", "x/..", ".x", "-x",
        "_x", "a b", "a.b", "a\n", "a\\b", "\xC3\xA9", "a:b", "~"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(profile_name_is_safe(wrong[i]));
    assert_true(profile_name_is_safe("jarvis"));
    assert_true(profile_name_is_safe("J4r_v-is"));
    assert_int_equal(strlen(longest), 64);
    assert_true(profile_name_is_safe(longest));
    char too_long[66];
    snprintf(too_long, sizeof too_long, "%sx", longest);
    assert_false(profile_name_is_safe(too_long));
}

static void test_a_linked_folder_is_refused(void **state)
{
    struct fixture *fixture = *state;
    int fd;
    assert_int_equal(symlink(fixture->outside, in_root(fixture, "jarvis")), 0);
    assert_int_equal(claim(fixture, "jarvis", id_a), -1);
    assert_int_equal(fixture->error.code, ERROR_SYSTEM);
    assert_string_equal(fixture->error.text, "jarvis is not a folder");
    int jarvis = claim(fixture, "friday", id_b);
    static const char *const below[] = {"memory", "skills", "deliverables"};
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
        assert_int_equal(symlinkat(fixture->outside, jarvis, below[i]), 0);
        assert_int_equal(
            profile_folder_enter(jarvis, below[i], &fd, &fixture->error), ERROR_SYSTEM);
        assert_int_equal(fd, -1);
    }
    close(jarvis);
}

/* A name that is a link, whichever of those that are written, is replaced and never followed. */
static void test_a_linked_file_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    static const char *const links[] = {
        "SOUL.md", "SOUL.md.new", ".mission-control-agent", ".mission-control-agent.new"};
    assert_int_equal(mkdir(in_root(fixture, "jarvis"), 0700), 0);
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "jarvis/%s", links[i]);
        assert_int_equal(symlink(fixture->secret, in_root(fixture, name)), 0);
    }
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, NULL, NULL), 0);
    expect_content(fixture, "jarvis/SOUL.md", "soul");
    expect_content(fixture, "jarvis/.mission-control-agent", "k57agent0a\n");
    assert_false(exists(fixture, "jarvis/SOUL.md.new"));
    close(fd);
}

static void test_a_link_to_nowhere_makes_no_file(void **state)
{
    struct fixture *fixture = *state;
    char target[PATH_BYTES + 8];
    snprintf(target, sizeof target, "%s/new", fixture->outside);
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(symlinkat(target, fd, "MEMORY.md"), 0);
    assert_int_equal(symlinkat(target, fd, "USER.md.new"), 0);
    assert_int_equal(profile_file_put(fd, "MEMORY.md", span("m"), PROFILE_KEEP, NULL, NULL), 0);
    assert_int_equal(profile_file_put(fd, "USER.md", span("u"), PROFILE_REPLACE, NULL, NULL), 0);
    expect_content(fixture, "jarvis/USER.md", "u");
    close(fd);
}

/* A second name for another file must not let us write into that. */
static void test_a_hard_link_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    int fd = claim(fixture, "jarvis", id_a);
    bool written = false;
    assert_int_equal(profile_file_put(fd, "MEMORY.md", span("mine"), PROFILE_KEEP, NULL, NULL), 0);
    assert_int_equal(linkat(fd, "MEMORY.md", fd, "SOUL.md", 0), 0);
    assert_int_equal(linkat(fd, "MEMORY.md", fd, "SOUL.md.new", 0), 0);
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", span("mine"), PROFILE_REPLACE, &written, NULL), 0);
    assert_true(written); /* the same content, but it was shared */
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, NULL, NULL), 0);
    expect_content(fixture, "jarvis/MEMORY.md", "mine");
    expect_content(fixture, "jarvis/SOUL.md", "soul");
    close(fd);
}

static void test_a_pipe_does_not_hang_us(void **state)
{
    struct fixture *fixture = *state;
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(mkfifoat(fd, "SOUL.md", 0600), 0);
    assert_int_equal(mkfifoat(fd, "SOUL.md.new", 0600), 0);
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, NULL, NULL), 0);
    expect_content(fixture, "jarvis/SOUL.md", "soul");
    assert_int_equal(mkdirat(fd, "USER.md", 0700), 0);
    assert_int_equal(
        profile_file_put(fd, "USER.md", span("user"), PROFILE_REPLACE, NULL, &fixture->error),
        ERROR_SYSTEM);
    assert_string_equal(fixture->error.text, "cannot write USER.md: Is a directory");
    assert_false(exists(fixture, "jarvis/USER.md.new"));
    close(fd);
}

static void test_equal_content_is_not_written(void **state)
{
    struct fixture *fixture = *state;
    struct stat before;
    struct stat after;
    bool written = false;
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, &written, NULL), 0);
    assert_true(written);
    assert_int_equal(fstat(fd, &before), 0);
    written = false;
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, &written, NULL), 0);
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("x"), PROFILE_KEEP, &written, NULL), 0);
    assert_false(written);
    /* Not even a temporary file was made. */
    assert_int_equal(fstat(fd, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", span("sou1"), PROFILE_REPLACE, &written, NULL), 0);
    assert_true(written);
    close(fd);
}

/* Nobody inherits a memory, and everybody keeps their own. */
static void test_a_folder_belongs_to_an_agent(void **state)
{
    struct fixture *fixture = *state;
    claim_and_note(fixture, "jarvis", id_a);
    begin_next_sync(fixture);
    claim_and_note(fixture, "jarvis", id_b);
    expect_content(fixture, "jarvis/MEMORY.md", id_b);
    expect_content(fixture, "jarvis.k57agent0a/MEMORY.md", id_a);
    /* The first one comes back under another slug. */
    begin_next_sync(fixture);
    claim_and_note(fixture, "friday", id_a);
    expect_content(fixture, "friday/MEMORY.md", id_a);
    assert_false(exists(fixture, "jarvis.k57agent0a"));
}

static void test_two_agents_exchange_slugs(void **state)
{
    struct fixture *fixture = *state;
    claim_and_note(fixture, "jarvis", id_a);
    claim_and_note(fixture, "friday", id_b);
    begin_next_sync(fixture);
    claim_and_note(fixture, "friday", id_a);
    claim_and_note(fixture, "jarvis", id_b);
    expect_content(fixture, "friday/MEMORY.md", id_a);
    expect_content(fixture, "jarvis/MEMORY.md", id_b);
    assert_false(exists(fixture, "friday.k57agent0b"));
}

static void test_a_folder_of_nobody_is_taken(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(mkdir(in_root(fixture, "jarvis"), 0700), 0);
    test_file_write(in_root(fixture, "jarvis/MEMORY.md"), "from before");
    claim_and_note(fixture, "jarvis", id_a);
    expect_content(fixture, "jarvis/MEMORY.md", "from before");
    expect_content(fixture, "jarvis/.mission-control-agent", "k57agent0a\n");
    /* A marker that names no agent counts as none. */
    test_file_write(in_root(fixture, "jarvis/.mission-control-agent"), "../../etc\n");
    claim_and_note(fixture, "jarvis", id_b);
    expect_content(fixture, "jarvis/MEMORY.md", "from before");
}

static void test_a_folder_that_stays_anothers_is_not_used(void **state)
{
    struct fixture *fixture = *state;
    claim_and_note(fixture, "jarvis", id_a);
    assert_int_equal(mkdir(in_root(fixture, "jarvis.k57agent0a"), 0700), 0);
    test_file_write(in_root(fixture, "jarvis.k57agent0a/file"), "in the way");
    int fd = -1;
    assert_int_equal(profile_folder_claim(&fixture->folders, "jarvis", id_b, &fd, &fixture->error),
        ERROR_LOCKED);
    assert_non_null(strstr(fixture->error.text, id_a));
    expect_content(fixture, "jarvis/MEMORY.md", id_a);
}

/* Out of descriptors it cannot be told whose a folder is, so none is begun or taken. */
static void test_a_shortage_of_descriptors_changes_no_owner(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit limit;
    claim_and_note(fixture, "jarvis", id_a);
    begin_next_sync(fixture);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    for (int spare = 0; spare < 4; spare++) {
        const struct rlimit tight = {(rlim_t)(lowest + spare), limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        int fd = claim(fixture, "friday", id_a);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (fd >= 0)
            close(fd);
        begin_next_sync(fixture);
    }
    claim_and_note(fixture, "friday", id_a);
    expect_content(fixture, "friday/MEMORY.md", id_a);
    assert_false(exists(fixture, "jarvis"));
}

static void test_a_folder_of_another_user_is_refused(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    int fd = claim(fixture, "jarvis", id_a);
    int below;
    assert_int_equal(mkdirat(fd, "memory", 0777), 0);
    assert_int_equal(fchownat(fd, "memory", NOBODY, NOBODY, 0), 0);
    assert_int_equal(profile_folder_enter(fd, "memory", &below, &fixture->error), ERROR_SYSTEM);
    assert_string_equal(fixture->error.text, "the folder memory belongs to another user");
    assert_int_equal(fchown(fd, NOBODY, NOBODY), 0);
    assert_int_equal(claim(fixture, "jarvis", id_a), -1);
    assert_string_equal(fixture->error.text, "the folder jarvis belongs to another user");
    close(fd);
}

/* Mounts a small disk at the root if we may; the test is skipped otherwise. */
static void mount_small_disk(struct fixture *fixture)
{
    char options[32];
    snprintf(options, sizeof options, "size=%d", DISK_BYTES);
    /* Of this process alone, so that nothing stays mounted if it dies. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        skip();
    if (mount("tmpfs", fixture->root, "tmpfs", 0, options) != 0)
        skip();
    fixture->has_disk = true;
    close(fixture->folders.root_fd);
    assert_int_equal(profile_root_open(fixture->root, &fixture->folders.root_fd, NULL), 0);
}

static void test_a_full_disk_keeps_the_old_content(void **state)
{
    struct fixture *fixture = *state;
    mount_small_disk(fixture);
    char *large = calloc(2, DISK_BYTES);
    assert_non_null(large);
    memset(large, 'x', (size_t)2 * DISK_BYTES);
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, NULL, NULL), 0);
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", (struct text_span){large, (size_t)2 * DISK_BYTES},
            PROFILE_REPLACE, NULL, &fixture->error),
        ERROR_SYSTEM);
    assert_string_equal(fixture->error.text, "cannot write SOUL.md: No space left on device");
    expect_content(fixture, "jarvis/SOUL.md", "soul");
    assert_false(exists(fixture, "jarvis/SOUL.md.new"));
    close(fd);
    free(large);
}

/* The same without the rights to mount: a limit on the size of files. */
static void test_a_cut_write_keeps_the_old_content(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before;
    int fd = claim(fixture, "jarvis", id_a);
    assert_int_equal(profile_file_put(fd, "SOUL.md", span("soul"), PROFILE_REPLACE, NULL, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 6, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = profile_file_put(
        fd, "SOUL.md", span("a longer soul"), PROFILE_REPLACE, NULL, &fixture->error);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(result, ERROR_SYSTEM);
    expect_content(fixture, "jarvis/SOUL.md", "soul");
    assert_false(exists(fixture, "jarvis/SOUL.md.new"));
    close(fd);
}

static void test_a_read_only_disk_is_told(void **state)
{
    struct fixture *fixture = *state;
    mount_small_disk(fixture);
    claim_and_note(fixture, "jarvis", id_a);
    assert_int_equal(mount(NULL, fixture->root, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    int fd = claim(fixture, "jarvis", id_a); /* nothing to write */
    assert_true(fd >= 0);
    assert_int_equal(
        profile_file_put(fd, "SOUL.md", span("x"), PROFILE_REPLACE, NULL, &fixture->error),
        ERROR_SYSTEM);
    assert_string_equal(fixture->error.text, "cannot write SOUL.md: Read-only file system");
    close(fd);
    assert_int_equal(claim(fixture, "friday", id_b), -1);
    assert_string_equal(
        fixture->error.text, "cannot make the folder friday: Read-only file system");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown((test), setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_only_plain_names_are_safe),
        TEST(test_a_linked_folder_is_refused),
        TEST(test_a_linked_file_is_replaced),
        TEST(test_a_link_to_nowhere_makes_no_file),
        TEST(test_a_hard_link_is_given_up),
        TEST(test_a_pipe_does_not_hang_us),
        TEST(test_equal_content_is_not_written),
        TEST(test_a_folder_belongs_to_an_agent),
        TEST(test_two_agents_exchange_slugs),
        TEST(test_a_folder_of_nobody_is_taken),
        TEST(test_a_folder_that_stays_anothers_is_not_used),
        TEST(test_a_shortage_of_descriptors_changes_no_owner),
        TEST(test_a_folder_of_another_user_is_refused),
        TEST(test_a_full_disk_keeps_the_old_content),
        TEST(test_a_cut_write_keeps_the_old_content),
        TEST(test_a_read_only_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
