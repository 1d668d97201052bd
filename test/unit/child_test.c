/* Children: what they are given, what they are spared, and that none of them stays behind. */
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

/* Long for what should take no time, short against the sleeps of the children. */
enum { LONG_MS = 20000, PROMPT_MS = 10000 };

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

struct outcome {
    int result;
    char output[4096];
    struct child_exit ended;
    struct error error;
};

static struct outcome run(const char *const argv[])
{
    struct outcome outcome = {0};
    outcome.result = child_output(
        argv, LONG_MS, -1, outcome.output, sizeof outcome.output, &outcome.ended, &outcome.error);
    return outcome;
}

static void test_output_and_exit_code(void **state)
{
    (void)state;
    struct outcome outcome = run(SHELL("echo hello; echo dropped >&2; exit 3"));
    assert_int_equal(outcome.result, 0);
    assert_string_equal(outcome.output, "hello\n");
    assert_int_equal(outcome.ended.code, 3);
    assert_int_equal(outcome.ended.signal, 0);
}

static void test_end_by_signal(void **state)
{
    (void)state;
    struct outcome outcome = run(SHELL("kill -TERM $$"));
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.ended.code, -1);
    assert_int_equal(outcome.ended.signal, SIGTERM);
}

static void test_no_such_program(void **state)
{
    (void)state;
    struct outcome outcome = run(ARGV("no-such-program-here"));
    assert_int_equal(outcome.result, ERROR_SYSTEM);
    assert_non_null(strstr(outcome.error.text, "no-such-program-here"));
    assert_non_null(strstr(outcome.error.text, strerror(ENOENT)));
}

static void test_no_shell_in_between(void **state)
{
    (void)state;
    struct outcome outcome = run(ARGV("echo", "$HOME; `id` *"));
    assert_string_equal(outcome.output, "$HOME; `id` *\n");
}

static void test_output_that_does_not_fit(void **state)
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

static void test_output_closed_early(void **state)
{
    (void)state;
    struct outcome outcome = run(SHELL("echo before; exec >&-; sleep 0.1; exit 4"));
    assert_int_equal(outcome.result, 0);
    assert_string_equal(outcome.output, "before\n");
    assert_int_equal(outcome.ended.code, 4);
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

static void test_time_limit(void **state)
{
    (void)state;
    must_time_out(ARGV("sleep", "60"));
    must_time_out(ARGV("yes"));
    must_time_out(SHELL("trap '' TERM INT; while :; do sleep 60; done"));
}

static void test_stop_descriptor(void **state)
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

/* Whether the process still runs; a killed one may wait for its new parent to reap it. */
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

static void test_nothing_is_left_in_the_background(void **state)
{
    (void)state;
    int64_t began_ms = clock_monotonic_ms();
    struct outcome outcome = run(SHELL("sleep 60 & echo $!"));
    assert_int_equal(outcome.result, 0);
    long pid = strtol(outcome.output, NULL, 10);
    assert_true(pid > 1);
    while (is_running(pid) && clock_monotonic_ms() - began_ms < PROMPT_MS)
        poll(NULL, 0, 1);
    assert_false(is_running(pid));
}

static void test_environment(void **state)
{
    (void)state;
    setenv("SERVICE_TOKEN", "hidden-one", 1);
    setenv("SERVICE_TOKEN_FILE", "hidden-two", 1);
    setenv("BACKUP", "kept as mc_service_k57_hidden-three", 1);
    setenv("OPENCLAW_GATEWAY_TOKEN", "gateway", 1);
    setenv("SERVICE_TOKENS", "other", 1);
    struct outcome outcome = run(ARGV("env"));
    assert_int_equal(outcome.result, 0);
    assert_null(strstr(outcome.output, "hidden-one"));
    assert_null(strstr(outcome.output, "hidden-two"));
    assert_null(strstr(outcome.output, "hidden-three"));
    assert_non_null(strstr(outcome.output, "OPENCLAW_GATEWAY_TOKEN=gateway\n"));
    assert_non_null(strstr(outcome.output, "SERVICE_TOKENS=other\n"));
    assert_non_null(strstr(outcome.output, "PATH="));
}

/* The C library keeps signals 32 and 33 to itself and has every spawned process ignore them. */
#define LIBRARY_SIGNALS (3ULL << 31)

static unsigned long long signal_set(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 16);
}

static void test_signals_and_descriptors(void **state)
{
    (void)state;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    signal(SIGPIPE, SIG_IGN);
    int leaking = dup2(STDERR_FILENO, 100);
    struct outcome outcome = run(ARGV("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"));
    struct outcome files = run(SHELL("[ -e /proc/$$/fd/100 ] && echo leaked"));
    struct outcome input = run(ARGV("readlink", "/proc/self/fd/0"));
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(leaking);
    assert_int_equal(signal_set(outcome.output, "SigBlk:"), 0);
    assert_int_equal(signal_set(outcome.output, "SigIgn:") & ~LIBRARY_SIGNALS, 0);
    assert_string_equal(files.output, "");
    assert_string_equal(input.output, "/dev/null\n");
}

static void test_small_verbs(void **state)
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

static void test_errors_with_output(void **state)
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

static void test_no_descriptor_is_lost(void **state)
{
    (void)state;
    char output[16];
    unsigned before = count_descriptors();
    run(ARGV("true"));
    run(ARGV("no-such-program-here"));
    child_output(ARGV("sleep", "60"), 1, -1, output, sizeof output, NULL, NULL);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_exit_code),
        cmocka_unit_test(test_end_by_signal),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_no_shell_in_between),
        cmocka_unit_test(test_output_that_does_not_fit),
        cmocka_unit_test(test_output_closed_early),
        cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_stop_descriptor),
        cmocka_unit_test(test_nothing_is_left_in_the_background),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_signals_and_descriptors),
        cmocka_unit_test(test_small_verbs),
        cmocka_unit_test(test_errors_with_output),
        cmocka_unit_test(test_no_descriptor_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
