#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/sync.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "spool/spool.h"

static const atomic_bool never = false;

static void check_clock(struct doctor *doctor)
{
    static const char name[] = "clock";
    if (doctor->clock == NULL) {
        report_add(
            &doctor->report, name, REPORT_SKIP, NULL, "because no server told its time of day");
        return;
    }
    int64_t ahead_ms = doctor_clock_ahead_ms(doctor->date_ms, doctor->before_ms, doctor->after_ms);
    enum report_result result = doctor_rule_clock(ahead_ms);
    if (result == REPORT_OK)
        report_add(&doctor->report, name, result, NULL, "agrees with that of %s", doctor->clock);
    else
        report_add(&doctor->report, name, result,
            "keep this machine's clock right, with timesyncd or chrony, for example",
            "%" PRId64 " s %s that of %s", (ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000,
            ahead_ms < 0 ? "behind" : "ahead of", doctor->clock);
}

static void check_network(struct doctor *doctor)
{
    static const char name[] = "TLS authorities";
    const char *ca_file = doctor->config->ca_file;
    struct ca_store *store;
    struct error error;
    if (ca_store_create(&store, ca_file, &error) != 0) {
        report_add(&doctor->report, name, REPORT_FAIL,
            "set CA_FILE to a PEM file of certificates, or to nothing", "%s", error.text);
        return;
    }
    if (http_client_create(&doctor->client, store, &never, &error) != 0) {
        report_add(&doctor->report, name, REPORT_FAIL, NULL, "%s", error.text);
    } else {
        report_add(&doctor->report, name, REPORT_OK, NULL, "the system's%s%s",
            ca_file != NULL ? ", and those in " : "", ca_file != NULL ? ca_file : "");
        doctor_check_backend(doctor);
        doctor_check_gateway(doctor);
        check_clock(doctor);
        http_client_destroy(doctor->client);
    }
    ca_store_destroy(store);
}

static void examine(struct doctor *doctor)
{
    struct error error;
    report_add(&doctor->report, "settings", REPORT_OK, NULL, "valid, for account %s and runtime %s",
        doctor->config->account_id, doctor->config->runtime_version);
    doctor_check_state(doctor);
    if (http_client_library_start(&error) != 0) {
        report_add(&doctor->report, "network", REPORT_FAIL, NULL, "%s", error.text);
        return;
    }
    check_network(doctor);
    http_client_library_stop();
}

int command_doctor(const struct config *config, bool json)
{
    struct doctor doctor = {.config = config, .report = {.lines = json ? NULL : stdout}};
    struct text text = {0};
    examine(&doctor);
    if (json)
        report_append_json(&doctor.report, &text);
    else
        report_append_summary(&doctor.report, &text);
    int printed = print_text(&text);
    int status = report_is_ok(&doctor.report) ? EXIT_SUCCESS : EXIT_FAILURE;
    text_fini(&text);
    json_decref(doctor.roster);
    report_fini(&doctor.report);
    return printed != EX_OK ? printed : status;
}

/* A reply may have 8 MiB, and is written beside the file that it replaces. */
enum { FAIL_BELOW_MIB = 16, WARN_BELOW_MIB = 64, BYTES_PER_MIB = 1024 * 1024 };

static const char dir_check[] = "state directory";
static const char space_check[] = "disk space";
static const char runtime_check[] = "running runtime";

static const char writable_fix[] =
    "set STATE_DIR to a directory that the runtime's user may write to, or give it to that user";

/* Cuts path to the part of it that is there; "/" always is. */
static void cut_to_existing(char *path)
{
    struct stat status;
    while (stat(path, &status) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            text_copy(path, sizeof ".", ".");
        else
            slash[slash == path ? 1 : 0] = '\0';
    }
}

static void judge_space(struct doctor *doctor, const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) {
        report_add(&doctor->report, space_check, REPORT_WARN, NULL, "cannot be found out: %s",
            strerror(errno));
        return;
    }
    unsigned long long free_mib =
        (unsigned long long)space.f_bavail * space.f_frsize / BYTES_PER_MIB;
    bool has_files = space.f_files == 0 || space.f_favail > 0;
    enum report_result result = free_mib < WARN_BELOW_MIB ? REPORT_WARN : REPORT_OK;
    if (free_mib < FAIL_BELOW_MIB || !has_files)
        result = REPORT_FAIL;
    report_add(&doctor->report, space_check, result,
        result == REPORT_OK ? NULL : "make room there: replies wait there to be written back",
        "%llu MiB free for %s%s", free_mib, path, has_files ? "" : ", but no file can be made");
}

static void judge_holder(struct doctor *doctor)
{
    char holder[32];
    if (!state_dir_is_held(doctor->config->state_dir, holder, sizeof holder))
        report_add(
            &doctor->report, runtime_check, REPORT_OK, NULL, "none: the state directory is free");
    else
        report_add(&doctor->report, runtime_check, REPORT_OK, NULL,
            "process %s holds the state directory", holder[0] != '\0' ? holder : "(unknown)");
}

/* What stands against using the directory, or NULL. existing is the part of it that is there. */
static const char *find_obstacle(const char *existing, const struct stat *status)
{
    if (!S_ISDIR(status->st_mode))
        return "is not a directory";
    if (faccessat(AT_FDCWD, existing, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        return errno == EROFS ? "is on a read-only file system" : "cannot be written to";
    return NULL;
}

static bool check_owner(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct error error;
    int result = state_dir_check_account(config->state_dir, config->account_id, NULL, &error);
    if (result == 0 || result == ERROR_CLOSED)
        return true;
    report_add(&doctor->report, dir_check, REPORT_FAIL,
        result == ERROR_INVALID ? "set STATE_DIR to a directory of this account's own"
                                : writable_fix,
        "%s", error.text);
    return false;
}

static bool check_dir(struct doctor *doctor, const char *existing)
{
    const char *path = doctor->config->state_dir;
    struct stat status;
    if (stat(existing, &status) != 0) {
        report_add(&doctor->report, dir_check, REPORT_FAIL, writable_fix, "%s: %s", existing,
            strerror(errno));
        return false;
    }
    const char *obstacle = find_obstacle(existing, &status);
    if (obstacle != NULL) {
        report_add(
            &doctor->report, dir_check, REPORT_FAIL, writable_fix, "%s %s", existing, obstacle);
        return false;
    }
    if (strcmp(existing, path) != 0)
        report_add(&doctor->report, dir_check, REPORT_OK, NULL, "%s can be made", path);
    else if (!check_owner(doctor))
        return false;
    else if ((status.st_mode & 077) != 0)
        report_add(&doctor->report, dir_check, REPORT_WARN, "chmod 700 the directory",
            "%s has mode %04o: others may read the replies in it", path, status.st_mode & 07777);
    else
        report_add(&doctor->report, dir_check, REPORT_OK, NULL, "%s can be used", path);
    return true;
}

void doctor_check_state(struct doctor *doctor)
{
    char existing[PATH_MAX];
    if (!text_copy(existing, sizeof existing, doctor->config->state_dir)) {
        report_add(&doctor->report, dir_check, REPORT_FAIL, writable_fix,
            "the path is longer than %d bytes", PATH_MAX);
        return;
    }
    cut_to_existing(existing);
    if (check_dir(doctor, existing)) {
        judge_space(doctor, existing);
        judge_holder(doctor);
    } else {
        doctor_skip(doctor, (const char *const[]){space_check, runtime_check, NULL}, dir_check);
    }
}

enum { ANSWER_LIMIT_BYTES = 1024 * 1024 };

void doctor_skip(struct doctor *doctor, const char *const names[], const char *failed)
{
    for (; *names != NULL; names++)
        report_add(&doctor->report, *names, REPORT_SKIP, NULL, "because %s failed", failed);
}

static void ask(struct doctor *doctor, const struct doctor_side *side, struct http_response *answer)
{
    /* A Date from a cache would be an old one. */
    static const char *const headers[] = {"Cache-Control: no-cache", NULL};
    const struct http_request request = {
        .url = side->probe_url,
        .headers = headers,
        .timeout_ms = DOCTOR_TIMEOUT_MS,
        .response_limit_bytes = ANSWER_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = side->ignore_proxy,
        .wants_details = true,
    };
    int64_t before_ms = clock_wall_ms();
    http_client_perform(doctor->client, &request, answer);
    if (answer->date_ms == 0 || doctor->clock != NULL)
        return;
    doctor->clock = side->whose;
    doctor->date_ms = answer->date_ms;
    doctor->before_ms = before_ms;
    doctor->after_ms = clock_wall_ms();
}

/* The step TLS, whether or not there was any. */
static void pass_tls(struct doctor *doctor, const struct doctor_side *side, const struct url *url)
{
    const char *name = side->names[HTTP_STEP_TLS];
    if (url->is_https)
        report_add(&doctor->report, name, REPORT_OK, NULL, "the certificate is trusted");
    else if (doctor_is_near(url))
        report_add(&doctor->report, name, REPORT_OK, NULL, "not used, and not needed so near by");
    else {
        char fix[128];
        snprintf(fix, sizeof fix, "use an https:// address in %s", side->option);
        report_add(&doctor->report, name, REPORT_WARN, fix,
            "not used: whoever is on the way can read everything that is sent, tokens included");
    }
}

static void pass_step(struct doctor *doctor, const struct doctor_side *side, enum http_step step,
    const struct url *url, const struct http_response *answer)
{
    const char *name = side->names[step];
    if (step == HTTP_STEP_LOOKUP)
        report_add(&doctor->report, name, REPORT_OK, NULL, "found %.*s",
            (int)url->host.length_bytes, url->host.bytes);
    else if (step == HTTP_STEP_CONNECT)
        report_add(&doctor->report, name, REPORT_OK, NULL, "connected to %s", answer->peer);
    else if (step == HTTP_STEP_TLS)
        pass_tls(doctor, side, url);
}

static void fail_step(struct doctor *doctor, const struct doctor_side *side, enum http_step step,
    const struct http_response *answer)
{
    char fix[256];
    if (step == HTTP_STEP_LOOKUP)
        snprintf(fix, sizeof fix,
            "check the host in %s, and that this machine can look up names (/etc/resolv.conf)",
            side->option);
    else if (step == HTTP_STEP_CONNECT)
        snprintf(fix, sizeof fix, "%s", side->connect_fix);
    else if (step == HTTP_STEP_EXCHANGE)
        snprintf(fix, sizeof fix, "%s", side->answer_fix);
    else if (answer->certificate_refused)
        snprintf(fix, sizeof fix,
            "name a PEM file with the authority of that certificate in CA_FILE, or mend the "
            "certificate");
    else
        snprintf(
            fix, sizeof fix, "check that %s names a port that speaks TLS 1.2 or up", side->option);
    report_add(
        &doctor->report, side->names[step], REPORT_FAIL, fix, "%s: %s", side->url, answer->reason);
}

const char *doctor_reach(struct doctor *doctor, const struct doctor_side *side)
{
    struct url url;
    struct http_response answer;
    url_parse(side->url, &url);
    ask(doctor, side, &answer);
    enum http_step end = answer.step;
    for (int step = HTTP_STEP_LOOKUP; step < (int)end; step++)
        pass_step(doctor, side, (enum http_step)step, &url, &answer);
    if (answer.failure == HTTP_ANSWERED)
        return NULL;
    fail_step(doctor, side, end, &answer);
    for (int step = (int)end + 1; step <= HTTP_STEP_EXCHANGE; step++)
        doctor_skip(doctor, (const char *const[]){side->names[step], NULL}, side->names[end]);
    return side->names[end];
}
