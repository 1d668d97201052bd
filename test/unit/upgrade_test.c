/*
 * Upgrade results are reported once, by the process that follows the requested restart. A new
 * process is simulated by upgrade_begin on the same state directory; the version probe runs a
 * script that blocks until the test lets it print a version.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/stub_server.h"
#include "../lib/tmp_dir.h"
#include "base/sync.h"
#include "report/upgrade.h"

enum {
    INITIATED_AT_MS = 1700000000,
    WAIT_MS = 15000,
    LONG_INTERVAL_MS = 2 * WAIT_MS,
    ABSENCE_MS = 400,
    PATH_BYTES = TMP_DIR_BYTES + 32,
};

/* A backend on which the upgrade to 2.0 stays pending, whatever is reported. */
struct fixture {
    char dir[TMP_DIR_BYTES];
    struct config config;
    struct stats stats;
    struct stub_server *server;
    struct ca_store *store;
    struct convex *convex;
    struct breaker *breaker;
    struct version_probe *version;
    struct http_client *client;
    struct reporter_parts parts;
    struct service service;
    atomic_bool abort;
    atomic_uint pending_reads; /* calls of getPendingUpgrade */
    atomic_uint records;
    atomic_uint records_before_reports;
    atomic_uint reports;
    int stop_fd;
    uint64_t stops;
    int version_fd; /* the FIFO that the program openclaw reads */
};

static const char *answer_call(void *context, const char *request)
{
    struct fixture *fixture = context;
    static const char nothing[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                                  "{\"status\":\"success\",\"value\":null}";
    static const char pending[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        "{\"status\":\"success\",\"value\":{\"targetOpenclawVersion\":\"2.0\","
        "\"targetRuntimeVersion\":\"2.0\",\"strategy\":\"immediate\",\"initiatedAt\":1700000000}}";
    if (strstr(request, "getPendingUpgrade") != NULL) {
        atomic_fetch_add(&fixture->pending_reads, 1);
        return pending;
    }
    if (strstr(request, "recordUpgradeResult") != NULL) {
        atomic_fetch_add(&fixture->records, 1);
        if (atomic_load(&fixture->reports) == 0)
            atomic_fetch_add(&fixture->records_before_reports, 1);
    }
    if (strstr(request, "updateRuntimeStatus") != NULL)
        atomic_fetch_add(&fixture->reports, 1);
    return nothing;
}

/* Returns how often shutdown was requested. No thread acts on it, as if main were slow. */
static uint64_t count_stop_requests(struct fixture *fixture)
{
    eventfd_t more = 0;
    if (eventfd_read(fixture->stop_fd, &more) == 0)
        fixture->stops += more;
    return fixture->stops;
}

static void init_config_and_parts(struct fixture *fixture)
{
    fixture->config = (struct config){
        .state_dir = fixture->dir,
        .upgrade_mode = "exit",
        .runtime_version = "1.0",
        .droplet_id = "",
        .droplet_ip = "",
        .droplet_region = "",
        .health_check_interval_ms = 1,
        .delivery_backoff_base_ms = 1,
        .delivery_backoff_max_ms = 1,
    };
    fixture->parts = (struct reporter_parts){
        .config = &fixture->config,
        .convex = fixture->convex,
        .breaker = fixture->breaker,
        .version = fixture->version,
        .store = fixture->store,
        .stats = &fixture->stats,
        .abort = &fixture->abort,
        .stop_fd = fixture->stop_fd,
    };
    fixture->service = (struct service){.convex = fixture->convex, .client = fixture->client};
}

static int setup(void **state)
{
    static const struct breaker_settings settings = {.url = "http://gateway:18789"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char url[64];
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    fixture->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fixture->stop_fd >= 0);
    fixture->server = stub_server_start_with(answer_call, fixture);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(fixture->server));
    assert_int_equal(http_client_library_start(NULL), 0);
    stats_init(&fixture->stats);
    assert_int_equal(ca_store_create(&fixture->store, NULL, NULL), 0);
    assert_int_equal(convex_create(&fixture->convex, url, "account", "token", NULL), 0);
    assert_int_equal(breaker_create(&fixture->breaker, &settings, clock_monotonic_ms(), NULL), 0);
    assert_int_equal(version_probe_start(&fixture->version, "1.0", NULL), 0);
    assert_int_equal(
        http_client_create(&fixture->client, fixture->store, &fixture->abort, NULL), 0);
    atomic_store(&fixture->stats.last_poll_ms, 1);
    init_config_and_parts(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    http_client_destroy(fixture->client);
    version_probe_stop(fixture->version);
    breaker_destroy(fixture->breaker);
    convex_destroy(fixture->convex);
    ca_store_destroy(fixture->store);
    stats_fini(&fixture->stats);
    close(fixture->stop_fd);
    http_client_library_stop();
    stub_server_stop(fixture->server);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

/* Whether the count reaches min within limit_ms. */
static bool reaches(atomic_uint *count, unsigned min, int64_t limit_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + limit_ms;
    while (atomic_load(count) < min && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 1);
    return atomic_load(count) >= min;
}

/*
 * The process that acts on a request would report a failure, since it still runs the old version.
 */
static void test_result_is_reported_by_the_next_process(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 1);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_int_equal(atomic_load(&fixture->records), 0);
    /* The next process reports the result. */
    upgrade_begin(&upgrade, &fixture->parts);
    assert_int_equal(upgrade.acted_on.initiated_at_ms, INITIATED_AT_MS);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(atomic_load(&fixture->records), 1);
    assert_int_equal(count_stop_requests(fixture), 1);
}

static void test_reporter_stops_after_it_requested_shutdown(void **state)
{
    struct fixture *fixture = *state;
    struct reporter *reporter;
    assert_int_equal(reporter_create(&reporter, &fixture->parts, NULL), 0);
    assert_int_equal(loop_start(reporter_loop(reporter), NULL), 0);
    struct pollfd asked = {.fd = fixture->stop_fd, .events = POLLIN};
    assert_int_equal(poll(&asked, 1, WAIT_MS), 1);
    assert_false(reaches(&fixture->reports, 2, ABSENCE_MS));
    assert_true(loop_is_alive(reporter_loop(reporter), clock_monotonic_ms()));
    loop_stop(reporter_loop(reporter));
    reporter_destroy(reporter);
    assert_int_equal(atomic_load(&fixture->records), 0);
    assert_int_equal(count_stop_requests(fixture), 1);
}

/* Replaces the version probe by one whose program blocks until release_version_probe. */
static void block_version_probe(struct fixture *fixture)
{
    char path[PATH_BYTES];
    const char *found = getenv("PATH");
    char *path_before = strdup(found != NULL ? found : "");
    snprintf(path, sizeof path, "%s/said", fixture->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/openclaw", fixture->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\nread version <\"${0%%/*}/said\"\necho $version\n");
    close(fd);
    setenv("PATH", fixture->dir, 1);
    version_probe_stop(fixture->version);
    assert_int_equal(version_probe_start(&fixture->version, NULL, NULL), 0);
    fixture->parts.version = fixture->version;
    char version[VERSION_PROBE_BYTES];
    assert_false(version_probe_get(fixture->version, version, sizeof version));
    /* open() returns once the program reads the FIFO; from then on the probe does not need PATH. */
    snprintf(path, sizeof path, "%s/said", fixture->dir);
    fixture->version_fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fixture->version_fd >= 0);
    setenv("PATH", path_before, 1);
    free(path_before);
}

static void release_version_probe(struct fixture *fixture)
{
    char version[VERSION_PROBE_BYTES];
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;
    assert_true(dprintf(fixture->version_fd, "1.5\n") > 0);
    close(fixture->version_fd);
    while (!version_probe_get(fixture->version, version, sizeof version) &&
           clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 1);
    assert_true(version_probe_get(fixture->version, version, sizeof version));
}

/* Saves the record of a request that an earlier process acted on. */
static void save_earlier_request(const struct fixture *fixture, int64_t initiated_at_ms)
{
    const struct upgrade_record memory = {
        .initiated_at_ms = initiated_at_ms, .from_openclaw = "0.9", .from_runtime = "0.9"};
    assert_int_equal(upgrade_record_save(fixture->dir, &memory, NULL), 0);
}

/* As after every upgrade that ended long ago, since its record is kept. */
static void test_report_does_not_wait_for_the_version_without_a_result(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    save_earlier_request(fixture, INITIATED_AT_MS - 1);
    block_version_probe(fixture);
    upgrade_begin(&upgrade, &fixture->parts);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_int_equal(atomic_load(&fixture->pending_reads), 1);
    release_version_probe(fixture);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_int_equal(atomic_load(&fixture->records), 0);
}

static void test_owed_result_waits_for_the_version(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    save_earlier_request(fixture, INITIATED_AT_MS);
    block_version_probe(fixture);
    upgrade_begin(&upgrade, &fixture->parts);
    for (int i = 0; i < 20; i++)
        assert_false(upgrade_report_result(&upgrade, &fixture->service));
    assert_true(upgrade.awaits_version);
    assert_int_equal(atomic_load(&fixture->pending_reads), 1);
    assert_int_equal(atomic_load(&fixture->records), 0);
    release_version_probe(fixture);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_int_equal(atomic_load(&fixture->records), 1);
}

/* Once the version is known, the result is reported at once, and the first report after it. */
static void test_first_report_follows_the_owed_result(void **state)
{
    struct fixture *fixture = *state;
    struct reporter *reporter;
    fixture->config.delivery_backoff_base_ms = LONG_INTERVAL_MS;
    fixture->config.delivery_backoff_max_ms = LONG_INTERVAL_MS;
    fixture->config.health_check_interval_ms = LONG_INTERVAL_MS;
    save_earlier_request(fixture, INITIATED_AT_MS);
    block_version_probe(fixture);
    assert_int_equal(reporter_create(&reporter, &fixture->parts, NULL), 0);
    assert_int_equal(loop_start(reporter_loop(reporter), NULL), 0);
    assert_true(reaches(&fixture->pending_reads, 1, WAIT_MS));
    assert_int_equal(atomic_load(&fixture->reports), 0);
    release_version_probe(fixture);
    int64_t known_ms = clock_monotonic_ms();
    assert_true(reaches(&fixture->reports, 1, WAIT_MS));
    assert_true(clock_monotonic_ms() - known_ms < WAIT_MS / 3);
    assert_int_equal(atomic_load(&fixture->records_before_reports), 1);
    loop_stop(reporter_loop(reporter));
    reporter_destroy(reporter);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_result_is_reported_by_the_next_process),
        TEST(test_reporter_stops_after_it_requested_shutdown),
        TEST(test_report_does_not_wait_for_the_version_without_a_result),
        TEST(test_owed_result_waits_for_the_version),
        TEST(test_first_report_follows_the_owed_result),
    };
    return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
