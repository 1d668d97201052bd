/*
 * An upgrade request is obeyed once and recorded once: when the versions match, when the installer
 * rolled back, or after 25 minutes. A new process is simulated by upgrade_begin on the same state
 * directory; the version probe runs a script that blocks until the test lets it print a version.
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
#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "base/sync.h"
#include "report/upgrade.h"

enum {
    WAIT_MS = 15000,
    LONG_INTERVAL_MS = 2 * WAIT_MS,
    ABSENCE_MS = 400,
    BODY_BYTES = 2048,
    PATH_BYTES = TMP_DIR_BYTES + 32,
};

/* A backend on which an upgrade stays pending, whatever is reported; by default to 2.0. */
struct fixture {
    const char *openclaw; /* the targets */
    const char *runtime;
    const char *strategy;
    int64_t initiated_at_ms;
    struct mutex pending_lock;
    char pending[BODY_BYTES];  /* under that lock */
    char answer[BODY_BYTES];   /* what the server's thread sends of it */
    char recorded[BODY_BYTES]; /* the last call of recordUpgradeResult */
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
    if (strstr(request, "getPendingUpgrade") != NULL) {
        mutex_lock(&fixture->pending_lock);
        memcpy(fixture->answer, fixture->pending, sizeof fixture->answer);
        mutex_unlock(&fixture->pending_lock);
        atomic_fetch_add(&fixture->pending_reads, 1);
        return fixture->answer;
    }
    if (strstr(request, "recordUpgradeResult") != NULL) {
        snprintf(fixture->recorded, sizeof fixture->recorded, "%s", request);
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

/* The backend answers with this request from now on. */
static void request_upgrade(
    struct fixture *fixture, const char *openclaw, const char *runtime, int64_t age_ms)
{
    fixture->openclaw = openclaw;
    fixture->runtime = runtime;
    fixture->initiated_at_ms = clock_wall_ms() - age_ms;
    mutex_lock(&fixture->pending_lock);
    snprintf(fixture->pending, sizeof fixture->pending,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        "{\"status\":\"success\",\"value\":{\"targetOpenclawVersion\":\"%s\","
        "\"targetRuntimeVersion\":\"%s\",\"strategy\":\"%s\",\"initiatedAt\":%lld}}",
        openclaw, runtime, fixture->strategy, (long long)fixture->initiated_at_ms);
    mutex_unlock(&fixture->pending_lock);
}

static void init_config_and_parts(struct fixture *fixture)
{
    fixture->config = (struct config){
        .state_dir = fixture->dir,
        .upgrade_mode = "exit",
        .gateway_url = "",
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
    mutex_init(&fixture->pending_lock);
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
    fixture->strategy = "immediate";
    request_upgrade(fixture, "2.0", "2.0", 0);
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
    mutex_fini(&fixture->pending_lock);
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

/* Replaces the probe by one that has found that version, as after a restart or an installation. */
static void set_versions(struct fixture *fixture, const char *openclaw, const char *runtime)
{
    version_probe_stop(fixture->version);
    assert_int_equal(version_probe_start(&fixture->version, openclaw, NULL), 0);
    fixture->parts.version = fixture->version;
    fixture->config.runtime_version = (char *)runtime;
}

/* A process that obeys the request; ends with its shutdown. */
static void run_obeying_process(struct fixture *fixture)
{
    struct upgrade_state upgrade;
    uint64_t stops = count_stop_requests(fixture);
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), stops + 1);
}

/* The first round and two more of another process, which must not shut down. */
static void run_later_process(struct fixture *fixture)
{
    struct upgrade_state upgrade;
    uint64_t stops = count_stop_requests(fixture);
    upgrade_begin(&upgrade, &fixture->parts);
    assert_int_equal(upgrade.acted_on.initiated_at_ms, fixture->initiated_at_ms);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), stops);
}

static void expect_recorded(struct fixture *fixture, const char *words)
{
    assert_int_equal(atomic_load(&fixture->records), 1);
    if (strstr(fixture->recorded, words) == NULL)
        fail_msg("\"%s\" is not in %s", words, fixture->recorded);
}

static bool exists(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return access(path, F_OK) == 0;
}

static void write_result(const struct fixture *fixture, int64_t of_ms, const char *rest)
{
    char path[PATH_BYTES];
    char json[BODY_BYTES];
    snprintf(path, sizeof path, "%s/upgrade-result.json", fixture->dir);
    snprintf(json, sizeof json, "{\"initiatedAt\":%lld,%s}", (long long)of_ms, rest);
    test_file_write(path, json);
}

static void expect_waiting(struct fixture *fixture, const char *words)
{
    struct stats_upgrade waiting;
    stats_upgrade(&fixture->stats, &waiting);
    assert_int_equal(waiting.initiated_at_ms, fixture->initiated_at_ms);
    assert_int_equal(waiting.fails_at_ms, fixture->initiated_at_ms + UPGRADE_LIFE_MS);
    if (strstr(waiting.text, words) == NULL)
        fail_msg("\"%s\" is not in %s", words, waiting.text);
}

static void expect_not_waiting(struct fixture *fixture)
{
    struct stats_upgrade waiting;
    stats_upgrade(&fixture->stats, &waiting);
    assert_int_equal(waiting.initiated_at_ms, 0);
    assert_string_equal(waiting.text, "");
}

/* The supervisor starts the old version again before anything could be installed. */
static void test_same_version_after_the_restart_waits(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
    expect_waiting(fixture, "OpenClaw 2.0 (now 1.0) and runtime 2.0 (now 1.0)");
    assert_true(exists(fixture, "upgrade-request.json"));
}

static void test_first_start_with_the_versions_is_a_success(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    run_later_process(fixture);
    set_versions(fixture, "2.0", "2.0");
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"success\",\"fromOpenclawVersion\":\"1.0\"");
    expect_not_waiting(fixture);
    assert_false(exists(fixture, "upgrade-request.json"));
}

static void test_nothing_fails_before_25_minutes(void **state)
{
    struct fixture *fixture = *state;
    request_upgrade(fixture, "2.0", "2.0", UPGRADE_LIFE_MS - WAIT_MS);
    run_obeying_process(fixture);
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
    expect_waiting(fixture, "by ");
}

/* Saves the record of a request that an earlier process acted on. */
static void save_earlier_request(const struct fixture *fixture, int64_t initiated_at_ms)
{
    const struct upgrade_record memory = {
        .initiated_at_ms = initiated_at_ms, .from_openclaw = "0.9", .from_runtime = "0.9"};
    assert_int_equal(upgrade_record_save(fixture->dir, &memory, NULL), 0);
}

static void test_request_fails_after_25_minutes(void **state)
{
    struct fixture *fixture = *state;
    request_upgrade(fixture, "1.0", "2.0", UPGRADE_LIFE_MS);
    save_earlier_request(fixture, fixture->initiated_at_ms);
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"failed\"");
    expect_recorded(fixture, "not installed within 25 minutes: runtime 2.0 (now 1.0)\"");
    expect_not_waiting(fixture);
}

/* Within a process as well: the round in which the 25 minutes have passed records it. */
static void test_running_process_records_the_failure(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    request_upgrade(fixture, "2.0", "2.0", 0);
    save_earlier_request(fixture, fixture->initiated_at_ms);
    upgrade_begin(&upgrade, &fixture->parts);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    expect_waiting(fixture, "runtime 2.0");
    request_upgrade(fixture, "2.0", "2.0", UPGRADE_LIFE_MS + WAIT_MS);
    upgrade.acted_on.initiated_at_ms = fixture->initiated_at_ms;
    upgrade_check_requests(&upgrade, &fixture->service);
    upgrade_check_requests(&upgrade, &fixture->service);
    expect_recorded(fixture, "\"status\":\"failed\"");
    expect_not_waiting(fixture);
}

static void test_rollback_is_recorded_with_its_reason(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    write_result(fixture, fixture->initiated_at_ms,
        "\"status\":\"rolled_back\",\"error\":\"2.0 did not become healthy\"");
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"rolled_back\"");
    expect_recorded(fixture, "\"error\":\"2.0 did not become healthy\"");
    expect_not_waiting(fixture);
    assert_false(exists(fixture, "upgrade-result.json"));
}

/* As the backend does with a result, and people may do. */
static void remove_request(struct fixture *fixture)
{
    mutex_lock(&fixture->pending_lock);
    snprintf(fixture->pending, sizeof fixture->pending,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"value\":null}");
    mutex_unlock(&fixture->pending_lock);
}

/* A version that starts, and that its installer still replaces, is a success and then a rollback.
 */
static void test_rollback_after_the_success_is_recorded_as_well(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    set_versions(fixture, "2.0", "2.0");
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"success\"");
    remove_request(fixture);
    write_result(fixture, fixture->initiated_at_ms,
        "\"status\":\"rolled_back\",\"error\":\"2.0 did not become healthy\"");
    set_versions(fixture, "1.0", "1.0");
    for (int process = 0; process < 2; process++)
        run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 2);
    assert_non_null(strstr(fixture->recorded, "\"status\":\"rolled_back\""));
    assert_non_null(strstr(fixture->recorded, "\"toRuntimeVersion\":\"2.0\""));
    assert_non_null(strstr(fixture->recorded, "\"error\":\"2.0 did not become healthy\""));
    assert_false(exists(fixture, "upgrade-result.json"));
}

/* Left while the old version already runs, as the script for Compose does. */
static void test_rollback_is_noticed_by_a_running_process(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    save_earlier_request(fixture, fixture->initiated_at_ms);
    remove_request(fixture);
    upgrade_begin(&upgrade, &fixture->parts);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(atomic_load(&fixture->records), 0);
    write_result(fixture, fixture->initiated_at_ms, "\"status\":\"rolled_back\"");
    upgrade_check_requests(&upgrade, &fixture->service);
    upgrade_check_requests(&upgrade, &fixture->service);
    expect_recorded(fixture, "\"status\":\"rolled_back\"");
}

/* It can be installed by another attempt until the 25 minutes have passed. */
static void test_failed_installation_is_shown_and_recorded_later(void **state)
{
    struct fixture *fixture = *state;
    static const char result[] = "\"status\":\"failed\",\"error\":\"bad signature\"";
    run_obeying_process(fixture);
    write_result(fixture, fixture->initiated_at_ms, result);
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
    expect_waiting(fixture, "; the installer reported: bad signature");
    request_upgrade(fixture, "2.0", "2.0", UPGRADE_LIFE_MS);
    save_earlier_request(fixture, fixture->initiated_at_ms);
    write_result(fixture, fixture->initiated_at_ms, result);
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"failed\"");
    expect_recorded(fixture, "\"error\":\"bad signature\"");
}

static void test_result_of_another_request_is_ignored(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    write_result(fixture, fixture->initiated_at_ms - 1, "\"status\":\"rolled_back\"");
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
    write_result(fixture, fixture->initiated_at_ms, "\"status\":\"no such word\"");
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
}

/* OpenClaw's version cannot be known: no program here tells it, and the gateway does not either. */
static void test_unknowable_version_is_no_failure(void **state)
{
    struct fixture *fixture = *state;
    set_versions(fixture, "unknown", "1.0");
    run_obeying_process(fixture);
    set_versions(fixture, "unknown", "2.0");
    run_later_process(fixture);
    expect_recorded(fixture, "\"status\":\"success\"");
    expect_recorded(fixture, "\"toOpenclawVersion\":\"2.0\"");
}

/* A gateway that has not answered yet may still tell its release. */
static void test_version_of_a_silent_gateway_is_waited_for(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.gateway_url = "http://gateway:18789";
    set_versions(fixture, "unknown", "1.0");
    run_obeying_process(fixture);
    set_versions(fixture, "unknown", "2.0");
    run_later_process(fixture);
    assert_int_equal(atomic_load(&fixture->records), 0);
    expect_waiting(fixture, "waiting for OpenClaw 2.0 (now unknown) to be installed");
}

static void test_target_without_a_version_is_met_by_any(void **state)
{
    struct fixture *fixture = *state;
    static const char *const targets[] = {"", "unknown"};
    for (size_t i = 0; i < 2; i++) {
        atomic_store(&fixture->records, 0);
        set_versions(fixture, "1.0", "1.0");
        request_upgrade(fixture, targets[i], "2.0", (int64_t)i + 1);
        run_obeying_process(fixture);
        set_versions(fixture, "1.0", "2.0");
        run_later_process(fixture);
        expect_recorded(fixture, "\"status\":\"success\"");
        expect_recorded(fixture, "\"toOpenclawVersion\":\"1.0\"");
    }
}

/* The backend would let it time out, as it compares the targets word for word. */
static void test_request_that_demands_nothing_succeeds_without_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    request_upgrade(fixture, "", "1.0", 0);
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 0);
    expect_recorded(fixture, "\"status\":\"success\"");
    expect_recorded(fixture, "\"fromRuntimeVersion\":\"1.0\"");
}

/* The backend ends it with the next report. */
static void test_request_for_our_versions_is_left_to_the_backend(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    request_upgrade(fixture, "1.0", "1.0", 0);
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 0);
    assert_int_equal(atomic_load(&fixture->records), 0);
}

static void test_overdue_request_is_not_obeyed(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    request_upgrade(fixture, "2.0", "2.0", UPGRADE_LIFE_MS);
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 0);
    assert_false(exists(fixture, "upgrade-request.json"));
}

static void test_other_strategies_are_not_obeyed(void **state)
{
    struct fixture *fixture = *state;
    static const char *const strategies[] = {"rolling", "canary"};
    for (size_t i = 0; i < 2; i++) {
        struct upgrade_state upgrade;
        fixture->strategy = strategies[i];
        request_upgrade(fixture, "2.0", "2.0", 0);
        upgrade_begin(&upgrade, &fixture->parts);
        upgrade_check_requests(&upgrade, &fixture->service);
        assert_int_equal(count_stop_requests(fixture), 0);
        assert_false(exists(fixture, "upgrade-request.json"));
    }
}

/* A request that was withdrawn on the board is not installed any more. */
static void test_withdrawn_request_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    run_obeying_process(fixture);
    run_later_process(fixture);
    expect_waiting(fixture, "runtime 2.0");
    remove_request(fixture);
    run_later_process(fixture);
    expect_not_waiting(fixture);
    assert_false(exists(fixture, "upgrade-request.json"));
    assert_int_equal(atomic_load(&fixture->records), 0);
}

/* Without the record the request would be obeyed again by each process. */
static void test_request_that_cannot_be_saved_is_ignored(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    char path[PATH_BYTES];
    upgrade_begin(&upgrade, &fixture->parts);
    snprintf(path, sizeof path, "%s/upgrade.json", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 0);
    assert_false(exists(fixture, "upgrade-request.json"));
    assert_int_equal(rmdir(path), 0);
}

/*
 * The process that acts on a request would report a failure, since it still runs the old version.
 */
static void test_obeying_process_judges_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    upgrade_begin(&upgrade, &fixture->parts);
    upgrade_check_requests(&upgrade, &fixture->service);
    assert_int_equal(count_stop_requests(fixture), 1);
    assert_true(upgrade_report_result(&upgrade, &fixture->service));
    assert_int_equal(atomic_load(&fixture->records), 0);
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

/* As after every upgrade that ended long ago, since its record is kept. */
static void test_report_does_not_wait_for_the_version_without_a_result(void **state)
{
    struct fixture *fixture = *state;
    struct upgrade_state upgrade;
    save_earlier_request(fixture, fixture->initiated_at_ms - 1);
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
    request_upgrade(fixture, "1.5", "1.0", 0);
    save_earlier_request(fixture, fixture->initiated_at_ms);
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
    request_upgrade(fixture, "1.5", "1.0", 0);
    save_earlier_request(fixture, fixture->initiated_at_ms);
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
        TEST(test_same_version_after_the_restart_waits),
        TEST(test_first_start_with_the_versions_is_a_success),
        TEST(test_nothing_fails_before_25_minutes),
        TEST(test_request_fails_after_25_minutes),
        TEST(test_running_process_records_the_failure),
        TEST(test_rollback_is_recorded_with_its_reason),
        TEST(test_rollback_after_the_success_is_recorded_as_well),
        TEST(test_rollback_is_noticed_by_a_running_process),
        TEST(test_failed_installation_is_shown_and_recorded_later),
        TEST(test_result_of_another_request_is_ignored),
        TEST(test_unknowable_version_is_no_failure),
        TEST(test_version_of_a_silent_gateway_is_waited_for),
        TEST(test_target_without_a_version_is_met_by_any),
        TEST(test_request_that_demands_nothing_succeeds_without_a_restart),
        TEST(test_request_for_our_versions_is_left_to_the_backend),
        TEST(test_overdue_request_is_not_obeyed),
        TEST(test_other_strategies_are_not_obeyed),
        TEST(test_withdrawn_request_is_forgotten),
        TEST(test_request_that_cannot_be_saved_is_ignored),
        TEST(test_obeying_process_judges_nothing),
        TEST(test_reporter_stops_after_it_requested_shutdown),
        TEST(test_report_does_not_wait_for_the_version_without_a_result),
        TEST(test_owed_result_waits_for_the_version),
        TEST(test_first_report_follows_the_owed_result),
    };
    return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
