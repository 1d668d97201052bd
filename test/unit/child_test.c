/*
 * Child processes: output, exit status, time limits, and the environment, signals and descriptors
 * that they inherit. No child or descendant survives. Time limits are asserted as ranges whose
 * upper end, PROMPT_MS, is far below the children's sleep of 60 s, so that slow machines pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sync.h"
#include "base/text.h"

/* PROMPT_MS is long for what should take no time, but short against the children's sleeps. */
enum { LONG_MS = 20000, PROMPT_MS = 10000 };

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

struct child_result {
    int result;
    char output[4096];
    struct child_exit ended;
    struct error error;
};

static struct child_result run_to_end(const char *const argv[])
{
    struct child_result child_result = {0};
    child_result.result = child_output(argv, LONG_MS, -1, child_result.output,
        sizeof child_result.output, &child_result.ended, &child_result.error);
    return child_result;
}

static void test_output_and_exit_code_are_returned(void **state)
{
    (void)state;
    struct child_result child_result = run_to_end(SHELL("echo hello; echo dropped >&2; exit 3"));
    assert_int_equal(child_result.result, 0);
    assert_string_equal(child_result.output, "hello\n");
    assert_int_equal(child_result.ended.code, 3);
    assert_int_equal(child_result.ended.signal, 0);
}

static void test_signal_is_returned(void **state)
{
    (void)state;
    struct child_result child_result = run_to_end(SHELL("kill -TERM $$"));
    assert_int_equal(child_result.result, 0);
    assert_int_equal(child_result.ended.code, -1);
    assert_int_equal(child_result.ended.signal, SIGTERM);
}

static void test_missing_program_is_an_error(void **state)
{
    (void)state;
    struct child_result child_result = run_to_end(ARGV("no-such-program-here"));
    assert_int_equal(child_result.result, ERROR_SYSTEM);
    assert_non_null(strstr(child_result.error.text, "no-such-program-here"));
    assert_non_null(strstr(child_result.error.text, strerror(ENOENT)));
}

static void test_arguments_are_not_expanded(void **state)
{
    (void)state;
    struct child_result child_result = run_to_end(ARGV("echo", "$HOME; `id` *"));
    assert_string_equal(child_result.output, "$HOME; `id` *\n");
}

static void test_excess_output_is_dropped(void **state)
{
    (void)state;
    char output[8];
    struct child_exit ended;
    int result = child_output(SHELL("printf 123456789; head -c 1000000 /dev/zero; exit 5"), LONG_MS,
        -1, output, sizeof output, &ended, NULL);
    assert_int_equal(result, 0);
    assert_string_equal(output, "1234567");
    assert_int_equal(ended.code, 5);
}

static void test_child_may_close_its_output(void **state)
{
    (void)state;
    struct child_result child_result =
        run_to_end(SHELL("echo before; exec >&-; sleep 0.1; exit 4"));
    assert_int_equal(child_result.result, 0);
    assert_string_equal(child_result.output, "before\n");
    assert_int_equal(child_result.ended.code, 4);
}

static void must_time_out(const char *const argv[])
{
    char output[16];
    struct error error;
    int64_t began_ms = clock_monotonic_ms();
    int result = child_output(argv, 50, -1, output, sizeof output, NULL, &error);
    assert_int_equal(result, ERROR_TIMEOUT);
    assert_non_null(strstr(error.text, argv[0]));
    assert_in_range(clock_monotonic_ms() - began_ms, 50, PROMPT_MS);
}

static void test_time_limit_kills_any_child(void **state)
{
    (void)state;
    must_time_out(ARGV("sleep", "60"));
    must_time_out(ARGV("yes"));
    must_time_out(SHELL("trap '' TERM INT; while :; do sleep 60; done"));
}

static void test_stop_descriptor_interrupts(void **state)
{
    (void)state;
    char output[16];
    struct error error;
    int stop_fd = eventfd(1, EFD_CLOEXEC);
    int64_t began_ms = clock_monotonic_ms();
    int result =
        child_output(ARGV("sleep", "60"), LONG_MS, stop_fd, output, sizeof output, NULL, &error);
    assert_int_equal(result, ERROR_INTERRUPTED);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, PROMPT_MS);
    close(stop_fd);
}

/* Whether the process still runs; a zombie that init has not reaped yet does not count. */
static bool is_running(long pid)
{
    char path[64];
    char line[256] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool has_line = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    return has_line && strstr(line, ") Z ") == NULL;
}

static void test_background_processes_are_killed(void **state)
{
    (void)state;
    int64_t began_ms = clock_monotonic_ms();
    struct child_result child_result = run_to_end(SHELL("sleep 60 & echo $!"));
    assert_int_equal(child_result.result, 0);
    long pid = strtol(child_result.output, NULL, 10);
    assert_true(pid > 1);
    while (is_running(pid) && clock_monotonic_ms() - began_ms < PROMPT_MS)
        poll(NULL, 0, 1);
    assert_false(is_running(pid));
}

static void test_environment_has_no_service_token(void **state)
{
    (void)state;
    setenv("SERVICE_TOKEN", "hidden-one", 1);
    setenv("SERVICE_TOKEN_FILE", "hidden-two", 1);
    setenv("BACKUP", "kept as mc_service_k57_hidden-three", 1);
    setenv("OPENCLAW_GATEWAY_TOKEN", "gateway", 1);
    setenv("SERVICE_TOKENS", "other", 1);
    struct child_result child_result = run_to_end(ARGV("env"));
    assert_int_equal(child_result.result, 0);
    assert_null(strstr(child_result.output, "hidden-one"));
    assert_null(strstr(child_result.output, "hidden-two"));
    assert_null(strstr(child_result.output, "hidden-three"));
    assert_non_null(strstr(child_result.output, "OPENCLAW_GATEWAY_TOKEN=gateway\n"));
    assert_non_null(strstr(child_result.output, "SERVICE_TOKENS=other\n"));
    assert_non_null(strstr(child_result.output, "PATH="));
}

/* glibc reserves signals 32 and 33 and makes every spawned process ignore them. */
#define LIBRARY_SIGNALS (3ULL << 31)

static unsigned long long signal_set(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 16);
}

static void test_signals_are_reset_and_descriptors_closed(void **state)
{
    (void)state;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    signal(SIGPIPE, SIG_IGN);
    int leaking = dup2(STDERR_FILENO, 100);
    struct child_result child_result =
        run_to_end(ARGV("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"));
    struct child_result files = run_to_end(SHELL("[ -e /proc/$$/fd/100 ] && echo leaked"));
    struct child_result input = run_to_end(ARGV("readlink", "/proc/self/fd/0"));
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(leaking);
    assert_int_equal(signal_set(child_result.output, "SigBlk:"), 0);
    assert_int_equal(signal_set(child_result.output, "SigIgn:") & ~LIBRARY_SIGNALS, 0);
    assert_string_equal(files.output, "");
    assert_string_equal(input.output, "/dev/null\n");
}

static void test_wait_signal_and_reap(void **state)
{
    (void)state;
    struct child child;
    struct child_exit ended;
    int stop_fd = eventfd(0, EFD_CLOEXEC);
    int result = child_start(&child, SHELL("exec sleep 60"), CHILD_STDERR_DROPPED, NULL);
    assert_int_equal(result, 0);
    assert_int_equal(getpgid(child.pid), child.pid);
    assert_int_equal(child_wait(&child, clock_monotonic_ms() + 20, stop_fd), ERROR_TIMEOUT);
    eventfd_write(stop_fd, 1);
    assert_int_equal(child_wait(&child, SYNC_NO_DEADLINE, stop_fd), ERROR_INTERRUPTED);
    child_signal_group(&child, SIGTERM);
    assert_int_equal(child_wait(&child, clock_monotonic_ms() + LONG_MS, -1), 0);
    child_fini(&child, &ended);
    assert_int_equal(ended.signal, SIGTERM);
    close(stop_fd);
}

static void test_stderr_can_be_merged(void **state)
{
    (void)state;
    struct child child;
    struct child_exit ended;
    char output[64] = "";
    int result = child_start(&child, SHELL("echo out; echo err >&2"), CHILD_STDERR_MERGED, NULL);
    assert_int_equal(result, 0);
    assert_int_equal(child_wait(&child, clock_monotonic_ms() + LONG_MS, -1), 0);
    assert_int_equal(read(child.output_fd, output, sizeof output - 1), 8);
    assert_string_equal(output, "out\nerr\n");
    child_fini(&child, &ended);
    assert_int_equal(ended.code, 0);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_no_descriptor_leaks(void **state)
{
    (void)state;
    char output[16];
    unsigned before = count_descriptors();
    run_to_end(ARGV("true"));
    run_to_end(ARGV("no-such-program-here"));
    child_output(ARGV("sleep", "60"), 1, -1, output, sizeof output, NULL, NULL);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_exit_code_are_returned),
        cmocka_unit_test(test_signal_is_returned),
        cmocka_unit_test(test_missing_program_is_an_error),
        cmocka_unit_test(test_arguments_are_not_expanded),
        cmocka_unit_test(test_excess_output_is_dropped),
        cmocka_unit_test(test_child_may_close_its_output),
        cmocka_unit_test(test_time_limit_kills_any_child),
        cmocka_unit_test(test_stop_descriptor_interrupts),
        cmocka_unit_test(test_background_processes_are_killed),
        cmocka_unit_test(test_environment_has_no_service_token),
        cmocka_unit_test(test_signals_are_reset_and_descriptors_closed),
        cmocka_unit_test(test_wait_signal_and_reap),
        cmocka_unit_test(test_stderr_can_be_merged),
        cmocka_unit_test(test_no_descriptor_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
