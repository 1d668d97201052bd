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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sync.h"
#include "fault_env.h"

enum { DAY_S = 24 * 3600, PROMPT_MS = 5000 };

static void load(struct fault_env *faults, int count, int agents)
{
    json_decref(board_load(faults->env, count, agents));
}

static void hold_agents(struct fault_env *faults, int times)
{
    board_gateway_fault(faults->env,
        json_pack("{s:s, s:s, s:i}", "action", "hold", "name", "agents", "times", times));
}

/* Their replies are longer than what is free in the last page of a small file. */
static void hold_wordy_agents(struct fault_env *faults, int times)
{
    static char text[8 * 1024];
    memset(text, 'x', sizeof text - 1);
    board_gateway_fault(faults->env, json_pack("{s:s, s:s, s:i, s:s}", "action", "hold", "name",
                                         "agents", "times", times, "text", text));
}

static void stop_process(const struct process *process)
{
    int status = 0;
    process_signal(process, SIGSTOP);
    assert_int_equal(waitpid(process->pid, &status, WUNTRACED), process->pid);
    assert_true(WIFSTOPPED(status));
}

/* Nothing is to happen meanwhile: the condition is one that does not come true. */
static void let_time_pass(struct fault_env *faults, int time_ms)
{
    char path[96];
    snprintf(path, sizeof path, "/sandbox/wait?delivered=1000000&timeout_ms=%d", time_ms);
    json_decref(test_env_get(faults->env, path));
}

static void test_stopped_runtime_takes_the_answers_that_came(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 8, 4);
    hold_agents(faults, 4);
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=4");
    stop_process(&faults->env->runtime);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "answered=4");
    let_time_pass(faults, 300);
    assert_int_equal(test_env_stat(faults->env, NULL, "replies"), 0);
    process_signal(&faults->env->runtime, SIGCONT);
    fault_env_settle(faults, &fault_env_strict);
}

/* It wakes after every deadline: whether an answer or the timeout counts, the budget holds. */
static void test_runtime_stopped_beyond_its_timeouts_stays_in_the_budget(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 8, 4);
    hold_agents(faults, 4);
    fault_env_start(faults, (const char *[]){"OPENCLAW_REQUEST_TIMEOUT_MS=500", NULL});
    test_env_wait(faults->env, "held=4");
    stop_process(&faults->env->runtime);
    let_time_pass(faults, 1000);
    board_release(faults->env, "agents");
    process_signal(&faults->env->runtime, SIGCONT);
    fault_env_settle(faults, &(const struct history_rules){.max_runs = 2, .lost_answers = true});
}

static void test_second_runtime_disturbs_nothing(void **state)
{
    struct fault_env *faults = *state;
    board_set(faults->env, json_pack("{s:i}", "gateway_latency_ms", 20));
    load(faults, 60, 6);
    fault_env_start(faults, NULL);
    for (int i = 0; i < 3; i++) {
        test_env_launch(faults->env, &faults->env->second, NULL, NULL);
        assert_int_equal(process_wait_exit(&faults->env->second, TEST_WAIT_MS), 75);
    }
    fault_env_settle(faults, &fault_env_strict);
}

/* The library that shifts a program's clock, for whatever processor; false when there is none. */
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
    char fresh[310];
    snprintf(path, sizeof path, "%s/clock", faults->env->dir);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    fprintf(file, "%+ld\n", offset_s);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0);
}

/* Whether some line of the log was written on the day that many seconds from now. */
static bool has_logged_on(struct fault_env *faults, long offset_s)
{
    char day[32];
    struct tm parts;
    time_t then = (time_t)(clock_wall_ms() / 1000) + offset_s;
    gmtime_r(&then, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT", &parts);
    return process_has_output(&faults->env->runtime, day);
}

/* Jumps while agents work and while entries wait for their next attempt. */
static void expect_no_harm_by_jump(struct fault_env *faults, long offset_s)
{
    load(faults, 8, 4);
    hold_agents(faults, 4);
    FAULT(faults->backend, .kind = FAULT_RESET, .times = 4, .match = "createMessageFromAgent");
    test_env_wait(faults->env, "held=4");
    int64_t began_ms = clock_monotonic_ms();
    set_clock(faults, offset_s);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "undelivered=0");
    assert_true(clock_monotonic_ms() - began_ms < PROMPT_MS);
    assert_true(has_logged_on(faults, offset_s));
}

static void test_clock_that_jumps_a_day_changes_nothing(void **state)
{
    struct fault_env *faults = *state;
    char library[128];
    char preload[160];
    char clock_file[330];
    if (process_timeout_scale() > 1 || !find_faketime(library, sizeof library)) {
        print_message("skipped: %s\n", process_timeout_scale() > 1
                                           ? "libfaketime and sanitizers exclude each other"
                                           : "libfaketime is not installed");
        skip();
    }
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    snprintf(clock_file, sizeof clock_file, "FAKETIME_TIMESTAMP_FILE=%s/clock", faults->env->dir);
    set_clock(faults, 0);
    fault_env_start(faults, (const char *[]){preload, clock_file, "FAKETIME_NO_CACHE=1",
                                "FAKETIME_DONT_FAKE_MONOTONIC=1", NULL});
    expect_no_harm_by_jump(faults, DAY_S);
    expect_no_harm_by_jump(faults, -DAY_S);
    expect_no_harm_by_jump(faults, DAY_S);
    fault_env_settle(faults, &fault_env_strict);
}

/* Makes the state directory a small disk of its own, seen by this process and those that it starts.
 */
static void mount_small_disk(const struct fault_env *faults)
{
    const char *path = faults->state_dir;
    if (mkdir(path, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
        syscall(SYS_mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        syscall(SYS_mount, "tmpfs", path, "tmpfs", 0, "size=256k") == 0)
        return;
    print_message("skipped: no disk can be mounted here: %s\n", strerror(errno));
    skip();
}

static int open_filler(const struct fault_env *faults, int flags)
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
    int fd = open_filler(faults, O_CREAT);
    while (write(fd, bytes, sizeof bytes) > 0)
        continue;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void make_room(const struct fault_env *faults)
{
    close(open_filler(faults, O_TRUNC));
}

static void expect_health(struct fault_env *faults, const char *words)
{
    char *body;
    assert_int_equal(test_env_health_get(faults->env, "/health", &body), 200);
    if (strstr(body, words) == NULL) {
        process_dump_output(&faults->env->runtime, "runtime");
        fail_msg("/health does not say %s: %s", words, body);
    }
    free(body);
}

static void test_full_disk_stops_no_delivery(void **state)
{
    struct fault_env *faults = *state;
    mount_small_disk(faults);
    fault_env_start(faults, NULL);
    fill_disk(faults);
    load(faults, 12, 4);
    test_env_wait(faults->env, "undelivered=0");
    assert_true(process_has_output(&faults->env->runtime, "No space left on device"));
    make_room(faults);
    load(faults, 4, 4);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

static void test_full_disk_is_shown_until_there_is_room(void **state)
{
    struct fault_env *faults = *state;
    mount_small_disk(faults);
    fault_env_start(faults, NULL);
    fill_disk(faults);
    load(faults, 12, 4);
    test_env_wait(faults->env, "undelivered=0");
    expect_health(faults, "\"degraded\"");
    assert_false(process_has_output(&faults->env->runtime, "The spool works again"));
    make_room(faults);
    load(faults, 4, 4);
    test_env_wait(faults->env, "undelivered=0");
    expect_health(faults, "\"healthy\"");
    test_env_stop_runtime(faults->env);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

/* The reply of a run that began before the disk was full has to find its way all the same. */
static void test_disk_that_fills_during_a_run_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    mount_small_disk(faults);
    load(faults, 4, 4);
    hold_wordy_agents(faults, 4);
    FAULT(faults->backend, .kind = FAULT_RESET, .times = 8, .match = "createMessageFromAgent");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=4");
    fill_disk(faults);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(fault_proxy_hits(faults->backend, FAULT_RESET), 8);
    assert_true(process_has_output(&faults->env->runtime, "No space left on device"));
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

/* Once there is room, the reply is on disk again, whether or not the backend takes it. */
static void test_reply_that_found_no_room_is_kept_later(void **state)
{
    struct fault_env *faults = *state;
    mount_small_disk(faults);
    load(faults, 1, 1);
    hold_wordy_agents(faults, 1);
    FAULT(faults->backend, .kind = FAULT_RESET, .match = "createMessageFromAgent");
    fault_env_start(faults, (const char *[]){"DELIVERY_BACKOFF_MAX_MS=50", NULL});
    test_env_wait(faults->env, "held=1");
    fill_disk(faults);
    board_release(faults->env, "agents");
    struct process *runtime = &faults->env->runtime;
    assert_true(process_wait_output(runtime, "No space left on device", TEST_WAIT_MS, NULL, 0));
    make_room(faults);
    assert_true(process_wait_output(runtime, "The spool works again", TEST_WAIT_MS, NULL, 0));
    assert_int_equal(fault_env_kill_runtime(faults), 1);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(syscall(SYS_umount2, faults->state_dir, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_stopped_runtime_takes_the_answers_that_came),
        TEST_IN_FAULT_ENV(test_runtime_stopped_beyond_its_timeouts_stays_in_the_budget),
        TEST_IN_FAULT_ENV(test_second_runtime_disturbs_nothing),
        TEST_IN_FAULT_ENV(test_clock_that_jumps_a_day_changes_nothing),
        TEST_IN_FAULT_ENV(test_full_disk_stops_no_delivery),
        TEST_IN_FAULT_ENV(test_disk_that_fills_during_a_run_loses_no_reply),
        TEST_IN_FAULT_ENV(test_full_disk_is_shown_until_there_is_room),
        TEST_IN_FAULT_ENV(test_reply_that_found_no_room_is_kept_later),
    };
    return cmocka_run_group_tests_name("machine_faults", tests, NULL, NULL);
}
