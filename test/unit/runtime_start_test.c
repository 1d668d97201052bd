/*
 * A startup that fails at any point stops, frees and closes everything it has started. The
 * allocation sweep runs the whole startup once per allocation and thread, under the sanitizers'
 * leak checks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/alloc_fault.h"
#include "../lib/loopback.h"
#include "../lib/tmp_dir.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "runtime.h"

static char base[TMP_DIR_BYTES];
static char state_dir[TMP_DIR_BYTES + 32];
static struct config config;

/* No server listens at these addresses: startup does not depend on any. */
static int setup(void **state)
{
    (void)state;
    tmp_dir_create(base);
    snprintf(state_dir, sizeof state_dir, "STATE_DIR=%s/state", base);
    static char account[] = "ACCOUNT_ID=k57a";
    static char url[] = "CONVEX_URL=http://127.0.0.1:9";
    static char token[] = "SERVICE_TOKEN=mc_service_k57a_0123456789";
    static char gateway[] = "OPENCLAW_GATEWAY_URL=";
    static char version[] = "OPENCLAW_VERSION=2026.9.6";
    static char port[] = "HEALTH_PORT=0";
    static char grace[] = "SHUTDOWN_GRACE_MS=1000";
    char *const environment[] = {
        account, url, token, gateway, version, port, grace, state_dir, NULL};
    struct problems problems = {0};
    int result = config_load(&config, environment, NULL, &problems);
    problems_write(&problems, stderr);
    problems_fini(&problems);
    json_guard_start();
    return result;
}

static int teardown(void **state)
{
    (void)state;
    config_fini(&config);
    redact_forget_all();
    tmp_dir_remove(base);
    return 0;
}

static int attempt_start(unsigned number)
{
    struct runtime *runtime = NULL;
    struct error error = {0};
    alloc_fault_arm(number);
    int result = runtime_start(&runtime, &config, &error);
    alloc_fault_disarm();
    assert_int_equal(result == 0, runtime != NULL);
    assert_int_equal(result == 0, error.text[0] == '\0');
    if (result == 0)
        runtime_stop(runtime);
    return result;
}

static size_t count_open_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void test_failed_start_leaks_nothing(void **state)
{
    (void)state;
    assert_int_equal(attempt_start(0), 0);
    size_t before = count_open_descriptors();
    alloc_fault_sweep(attempt_start);
    assert_int_equal(count_open_descriptors(), before);
}

/* With a gateway command, whose supervisor has not been started when the port is refused. */
static void test_port_in_use_fails_the_start(void **state)
{
    (void)state;
    struct error error = {0};
    struct runtime *runtime = NULL;
    unsigned port;
    int fd = loopback_listen(1, &port);
    config.health_port = port;
    config.gateway_command = strdup("true");
    free(config.gateway_url);
    config.gateway_url = strdup("http://127.0.0.1:9");
    assert_int_equal(runtime_start(&runtime, &config, &error), ERROR_UNREACHABLE);
    assert_null(runtime);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_start_leaks_nothing),
        cmocka_unit_test(test_port_in_use_fails_the_start),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
