/* Faults of the machine: stopped processes, jumping clocks, full disks, a second runtime. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sync.h"
#include "fault_env.h"

enum { DAY_S = 24 * 3600, PROMPT_MS = 5000 };

static void hold_agents(struct fault_env *faults, int times)
{
    board_gateway_fault(faults->env,
        json_pack("{s:s, s:s, s:i}", "action", "hold", "name", "agents", "times", times));
}

/* Their replies do not fit into the free part of a small file's last page. */
static void hold_agents_with_long_replies(struct fault_env *faults, int times)
{
    static char text[8 * 1024];
    memset(text, 'x', sizeof text - 1);
    board_gateway_fault(faults->env, json_pack("{s:s, s:s, s:i, s:s}", "action", "hold", "name",
                                         "agents", "times", times, "text", text));
}

/* Lets time pass for a stopped process: waits for a condition that never comes true. */
static void wait_for_time(struct fault_env *faults, int time_ms)
{
    char path[96];
    snprintf(path, sizeof path, "/sandbox/wait?delivered=1000000&timeout_ms=%d", time_ms);
    json_decref(test_env_get(faults->env, path));
}

static void test_stopped_runtime_keeps_answers_that_arrived(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 8, 4);
    hold_agents(faults, 4);
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=4");
    process_suspend(&faults->env->runtime);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "answered=4");
    wait_for_time(faults, 300);
    assert_int_equal(test_env_stat(faults->env, NULL, "replies"), 0);
    process_signal(&faults->env->runtime, SIGCONT);
    fault_env_settle(faults, &fault_env_strict);
}

/* The answers have arrived before it resumes past their deadlines: they are used. */
static void test_answers_that_arrived_are_used_after_the_timeout(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 8, 4);
    hold_agents(faults, 4);
    fault_env_start(faults, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=5000"));
    test_env_wait(faults->env, "held=4");
    process_suspend(&faults->env->runtime);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "answered=4");
    wait_for_time(faults, 5500);
    process_signal(&faults->env->runtime, SIGCONT);
    fault_env_settle(faults, &fault_env_strict);
}

/* It resumes past every deadline: the budget holds whether the answer or the timeout wins. */
static void test_runtime_stopped_past_its_timeouts_keeps_the_budget(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 8, 4);
    hold_agents(faults, 4);
    fault_env_start(faults, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=5000"));
    test_env_wait(faults->env, "held=4");
    process_suspend(&faults->env->runtime);
    wait_for_time(faults, 5500);
    board_release(faults->env, "agents");
    process_signal(&faults->env->runtime, SIGCONT);
    fault_env_settle(faults, &(const struct history_rules){.max_runs = 2, .lost_answers = true});
}

static void test_second_runtime_does_not_disturb_the_first(void **state)
{
    struct fault_env *faults = *state;
    board_set(faults->env, json_pack("{s:i}", "gateway_latency_ms", 20));
    fault_env_load(faults, 60, 6);
    fault_env_start(faults, NULL);
    for (int i = 0; i < 3; i++) {
        test_env_launch(faults->env, &faults->env->second, NULL, NULL);
        assert_int_equal(process_wait_exit(&faults->env->second, TEST_WAIT_MS), 75);
    }
    fault_env_settle(faults, &fault_env_strict);
}

/* Finds libfaketime for this architecture; false if it is not installed. */
static bool find_faketime(char *path, size_t path_bytes)
{
    DIR *dir = opendir("/usr/lib");
    const struct dirent *entry;
    bool found = false;
    if (dir == NULL)
        return false;
    while (!found && (entry = readdir(dir)) != NULL) {
        snprintf(path, path_bytes, "/usr/lib/%.64s/faketime/libfaketimeMT.so.1", entry->d_name);
        found = access(path, R_OK) == 0;
    }
    closedir(dir);
    return found;
}

static void set_clock(const struct fault_env *faults, long offset_s)
{
    char path[300];
    char temporary[310];
    snprintf(path, sizeof path, "%s/clock", faults->env->dir);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "w");
    assert_non_null(file);
    fprintf(file, "%+ld\n", offset_s);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(temporary, path), 0);
}

/* Whether a log line carries the date offset_s from now. */
static bool has_logged_on_day(struct fault_env *faults, long offset_s)
{
    char day[32];
    struct tm parts;
    time_t then = (time_t)(clock_wall_ms() / 1000) + offset_s;
    gmtime_r(&then, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT", &parts);
    return process_wait_output(&faults->env->runtime, day, TEST_WAIT_MS, NULL, 0);
}

/* The clock jumps while runs are in flight and entries wait for their next attempt. */
static void expect_prompt_delivery_after_jump(struct fault_env *faults, long offset_s)
{
    fault_env_load(faults, 8, 4);
    hold_agents(faults, 4);
    FAULT(faults->backend, .kind = FAULT_RESET, .times = 4, .match = "createMessageFromAgent");
    test_env_wait(faults->env, "held=4");
    int64_t began_ms = clock_monotonic_ms();
    set_clock(faults, offset_s);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "undelivered=0");
    assert_true(clock_monotonic_ms() - began_ms < PROMPT_MS);
    assert_true(has_logged_on_day(faults, offset_s));
}

static void test_clock_jump_of_a_day_delays_nothing(void **state)
{
    struct fault_env *faults = *state;
    char library[128];
    char preload[160];
    char clock_file[330];
    if (process_timeout_scale() > 1 || !find_faketime(library, sizeof library)) {
        print_message("skipped: %s\n", process_timeout_scale() > 1
                                           ? "libfaketime does not work with sanitizers"
                                           : "libfaketime is not installed");
        skip();
    }
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    snprintf(clock_file, sizeof clock_file, "FAKETIME_TIMESTAMP_FILE=%s/clock", faults->env->dir);
    set_clock(faults, 0);
    fault_env_start(faults,
        STRINGS(preload, clock_file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"));
    expect_prompt_delivery_after_jump(faults, DAY_S);
    expect_prompt_delivery_after_jump(faults, -DAY_S);
    expect_prompt_delivery_after_jump(faults, DAY_S);
    fault_env_settle(faults, &fault_env_strict);
}

/* Mounts a small file system as the state directory, in this process' own mount namespace. */
static void mount_small_state_dir(const struct fault_env *faults)
{
    const char *path = faults->state_dir;
    if (mkdir(path, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
        syscall(SYS_mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        syscall(SYS_mount, "tmpfs", path, "tmpfs", 0, "size=256k") == 0)
        return;
    print_message("skipped: cannot mount a file system here: %s\n", strerror(errno));
    skip();
}

static int open_filler_file(const struct fault_env *faults, int flags)
{
    char path[320];
    snprintf(path, sizeof path, "%s/filler", faults->state_dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void fill_disk(const struct fault_env *faults)
{
    static const char bytes[4096];
    int fd = open_filler_file(faults, O_CREAT | O_APPEND);
    /* Several times, as the kernel counts free pages by processor, a few too few at first. */
    for (int refused = 0; refused < 10;)
        if (write(fd, bytes, sizeof bytes) < 0) {
            assert_int_equal(errno, ENOSPC);
            refused++;
        }
    close(fd);
}

static void empty_disk(const struct fault_env *faults)
{
    close(open_filler_file(faults, O_TRUNC));
}

static void test_full_disk_does_not_stop_deliveries(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fault_env_start(faults, NULL);
    fill_disk(faults);
    fault_env_load(faults, 12, 4);
    test_env_wait(faults->env, "undelivered=0");
    test_env_wait_log(faults->env, "No space left on device");
    empty_disk(faults);
    fault_env_load(faults, 4, 4);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

static void test_full_disk_degrades_health_until_there_is_room(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fault_env_start(faults, NULL);
    fill_disk(faults);
    fault_env_load(faults, 12, 4);
    test_env_wait(faults->env, "undelivered=0");
    test_env_wait_words(faults->env, "/health", "\"degraded\"", true);
    assert_false(process_has_output(&faults->env->runtime, "the spool works again"));
    empty_disk(faults);
    fault_env_load(faults, 4, 4);
    test_env_wait(faults->env, "undelivered=0");
    test_env_wait_words(faults->env, "/health", "\"healthy\"", true);
    test_env_stop_runtime(faults->env);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

/* The run began before the disk was full; its reply must still be written. */
static void test_disk_full_during_a_run_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fault_env_load(faults, 4, 4);
    hold_agents_with_long_replies(faults, 4);
    FAULT(faults->backend, .kind = FAULT_RESET, .times = 8, .match = "createMessageFromAgent");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=4");
    fill_disk(faults);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(fault_proxy_hits(faults->backend, FAULT_RESET), 8);
    test_env_wait_log(faults->env, "No space left on device");
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

/* Once there is room the reply is saved, even while the backend rejects it. */
static void test_reply_is_saved_once_there_is_room(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fault_env_load(faults, 1, 1);
    hold_agents_with_long_replies(faults, 1);
    FAULT(faults->backend, .kind = FAULT_RESET, .match = "createMessageFromAgent");
    /* Without a poll only the save itself can find that there is room. */
    fault_env_start(faults, STRINGS("DELIVERY_BACKOFF_MAX_MS=50", "DELIVERY_INTERVAL=3600000",
                                "DELIVERY_INTERVAL_ACTIVE=3600000"));
    test_env_wait(faults->env, "held=1");
    fill_disk(faults);
    board_release(faults->env, "agents");
    struct process *runtime = &faults->env->runtime;
    assert_true(process_wait_output(runtime, "without the spool", TEST_WAIT_MS, NULL, 0));
    empty_disk(faults);
    assert_true(process_wait_output(runtime, "the spool works again", TEST_WAIT_MS, NULL, 0));
    assert_int_equal(fault_env_kill_runtime(faults), 1);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

/* A start that the disk prevents is one to try again, and succeeds once the disk lets it. */
static void expect_refused_start(struct fault_env *faults, const char *reason)
{
    struct process *runtime = &faults->env->runtime;
    fault_env_launch(faults, NULL);
    assert_int_equal(process_wait_exit(runtime, TEST_WAIT_MS), EX_OSERR);
    assert_true(process_wait_output(runtime, reason, TEST_WAIT_MS, NULL, 0));
    process_fini(runtime);
}

static void test_full_disk_at_the_start_is_one_to_try_again(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fill_disk(faults);
    expect_refused_start(faults, "No space left on device");
    empty_disk(faults);
    fault_env_load(faults, 4, 4);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

static void test_read_only_disk_at_the_start_is_one_to_try_again(void **state)
{
    struct fault_env *faults = *state;
    const char *path = faults->state_dir;
    mount_small_state_dir(faults);
    assert_int_equal(
        syscall(SYS_mount, "none", path, NULL, MS_REMOUNT | MS_RDONLY, "size=256k"), 0);
    expect_refused_start(faults, "Read-only file system");
    assert_int_equal(syscall(SYS_mount, "none", path, NULL, MS_REMOUNT, "size=256k"), 0);
    fault_env_load(faults, 4, 4);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, path, 0), 0);
}

/* Also while nothing is delivered, so that no operator restarts it for the sake of /health. */
static void test_health_recovers_by_itself_once_there_is_room(void **state)
{
    struct fault_env *faults = *state;
    mount_small_state_dir(faults);
    fault_env_start(faults, STRINGS("DELIVERY_INTERVAL=50"));
    fill_disk(faults);
    fault_env_load(faults, 1, 1);
    test_env_wait(faults->env, "undelivered=0");
    test_env_wait_words(faults->env, "/health", "\"degraded\"", true);
    empty_disk(faults);
    test_env_wait_log(faults->env, "the spool works again");
    test_env_wait_words(faults->env, "/health", "\"healthy\"", true);
    test_env_stop_runtime(faults->env);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

static void test_removed_spool_is_made_again(void **state)
{
    struct fault_env *faults = *state;
    char path[320];
    fault_env_start(faults, STRINGS("DELIVERY_INTERVAL=50"));
    snprintf(path, sizeof path, "%s/spool", faults->state_dir);
    assert_int_equal(rmdir(path), 0);
    fault_env_load(faults, 4, 4);
    test_env_wait_log(faults->env, "spool/ in the state directory was removed");
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(access(path, W_OK), 0);
    test_env_wait_words(faults->env, "/health", "\"healthy\"", true);
    fault_env_settle(faults, &fault_env_strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_stopped_runtime_keeps_answers_that_arrived),
        TEST_IN_FAULT_ENV(test_answers_that_arrived_are_used_after_the_timeout),
        TEST_IN_FAULT_ENV(test_runtime_stopped_past_its_timeouts_keeps_the_budget),
        TEST_IN_FAULT_ENV(test_second_runtime_does_not_disturb_the_first),
        TEST_IN_FAULT_ENV(test_clock_jump_of_a_day_delays_nothing),
        TEST_IN_FAULT_ENV(test_full_disk_does_not_stop_deliveries),
        TEST_IN_FAULT_ENV(test_disk_full_during_a_run_loses_no_reply),
        TEST_IN_FAULT_ENV(test_full_disk_degrades_health_until_there_is_room),
        TEST_IN_FAULT_ENV(test_reply_is_saved_once_there_is_room),
        TEST_IN_FAULT_ENV(test_full_disk_at_the_start_is_one_to_try_again),
        TEST_IN_FAULT_ENV(test_read_only_disk_at_the_start_is_one_to_try_again),
        TEST_IN_FAULT_ENV(test_health_recovers_by_itself_once_there_is_room),
        TEST_IN_FAULT_ENV(test_removed_spool_is_made_again),
    };
    return cmocka_run_group_tests_name("machine_faults", tests, NULL, NULL);
}
