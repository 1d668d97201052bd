/*
 * The command doctor: runs one check after the other, from the machine outwards, and reports each
 * with a fix. This file has the order of the checks, those of the machine (state directory, free
 * space, a running runtime, clock) and the steps on the way to a server; doctor_startup.c has what
 * the runtime needs to start, doctor_remotes.c what the two servers answer, doctor_agents.c
 * the agents that the gateway has and the files with which it gets them, doctor_tools.c whether it
 * takes tools, and doctor_version.c what follows from the backend's version.
 *
 * A check that depends on a failed one is skipped with the reason, so that one cause shows up as
 * one failure. The doctor must be safe to run beside a live runtime: it creates nothing in the
 * state directory, takes no lock for longer than a look, and makes no request that runs an agent or
 * changes the board. There is no thread of its own; every request has a timeout of 10 s, and there
 * are at most seven, and one of 5 s to a runtime that is running.
 */
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

#include "backend/backend_clock.h"
#include "base/sync.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "spool/spool.h"

/* A reply may have 8 MiB, and is written beside the file that it replaces. */
enum { FAIL_BELOW_MIB = 16, WARN_BELOW_MIB = 64, BYTES_PER_MIB = 1024 * 1024 };

enum { CLOCK_FAIL_MS = 5 * 60 * 1000 };

enum { RESPONSE_LIMIT_BYTES = 1024 * 1024 };

static const atomic_bool never_aborted = false;

static const char dir_check[] = "state directory";
static const char space_check[] = "disk space";
static const char runtime_check[] = "running runtime";

static const char writable_fix[] =
    "set STATE_DIR to a directory that the runtime's user can write to, or give it to that user";

void doctor_skip(struct doctor *doctor, const char *const names[], const char *failed)
{
    for (; *names != NULL; names++)
        doctor_report_add(&doctor->report, *names, DOCTOR_SKIP, NULL, "because %s failed", failed);
}

void doctor_cut_to_existing(char *path)
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

const char *doctor_find_dir_obstacle(const char *existing, const struct stat *status)
{
    if (!S_ISDIR(status->st_mode))
        return "is not a directory";
    /* AT_EACCESS: the runtime may run with another effective user. */
    if (faccessat(AT_FDCWD, existing, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        return errno == EROFS ? "is on a read-only file system" : "is not writable";
    return NULL;
}

static bool check_dir_owner(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct error error;
    int result = state_dir_check_account(config->state_dir, config->account_id, NULL, &error);
    if (result == 0 || result == ERROR_CLOSED)
        return true;
    doctor_report_add(&doctor->report, dir_check, DOCTOR_FAIL,
        result == ERROR_INVALID ? "set STATE_DIR to a directory that only this account uses"
                                : writable_fix,
        "%s", error.text);
    return false;
}

/* The settings have been loaded by now; those who can read the file can act as the runtime. */
static void check_token_files(struct doctor *doctor)
{
    static const char name[] = "token files";
    const char *exposed = doctor->config->exposed_file;
    if (exposed != NULL)
        doctor_report_add(&doctor->report, name, DOCTOR_WARN,
            "give the file to the runtime's user and chmod 600 it",
            "%s holds a token and can be read by every user", exposed);
    else
        doctor_report_add(&doctor->report, name, DOCTOR_OK, NULL, "none can be read by every user");
}

static bool check_dir(struct doctor *doctor, const char *existing)
{
    const char *path = doctor->config->state_dir;
    struct stat status;
    if (stat(existing, &status) != 0) {
        doctor_report_add(&doctor->report, dir_check, DOCTOR_FAIL, writable_fix, "%s: %s", existing,
            strerror(errno));
        return false;
    }
    const char *obstacle = doctor_find_dir_obstacle(existing, &status);
    if (obstacle != NULL) {
        doctor_report_add(
            &doctor->report, dir_check, DOCTOR_FAIL, writable_fix, "%s %s", existing, obstacle);
        return false;
    }
    /* A directory that does not exist is created by the runtime, with mode 0700. */
    if (strcmp(existing, path) != 0)
        doctor_report_add(&doctor->report, dir_check, DOCTOR_OK, NULL, "%s can be created", path);
    else if (!check_dir_owner(doctor))
        return false;
    else if (state_dir_find_fault(path) != NULL)
        doctor_report_add(&doctor->report, dir_check, DOCTOR_WARN,
            "give the directory to the runtime's user (chown) and chmod 700 it", "%s %s", path,
            state_dir_find_fault(path));
    else if ((status.st_mode & 077) != 0)
        doctor_report_add(&doctor->report, dir_check, DOCTOR_WARN, "chmod 700 the directory",
            "%s has mode %04o: others can read the replies in it", path, status.st_mode & 07777);
    else
        doctor_report_add(&doctor->report, dir_check, DOCTOR_OK, NULL, "%s can be used", path);
    return true;
}

static void check_space(struct doctor *doctor, const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) {
        doctor_report_add(&doctor->report, space_check, DOCTOR_WARN, NULL,
            "cannot read the free space of %s: %s", path, strerror(errno));
        return;
    }
    unsigned long long free_mib =
        (unsigned long long)space.f_bavail * space.f_frsize / BYTES_PER_MIB;
    /* File systems without a fixed number of inodes report none at all. */
    bool has_inodes = space.f_files == 0 || space.f_favail > 0;
    enum doctor_result result = free_mib < WARN_BELOW_MIB ? DOCTOR_WARN : DOCTOR_OK;
    if (free_mib < FAIL_BELOW_MIB || !has_inodes)
        result = DOCTOR_FAIL;
    doctor_report_add(&doctor->report, space_check, result,
        result == DOCTOR_OK ? NULL : "free some space: replies are kept there until posted",
        "%llu MiB free for %s%s", free_mib, path, has_inodes ? "" : ", but no inodes");
}

/* A held directory is not a failure: the doctor may run beside the runtime. */
static void check_holder(struct doctor *doctor)
{
    char holder[32];
    if (!state_dir_is_held(doctor->config->state_dir, holder, sizeof holder))
        doctor_report_add(
            &doctor->report, runtime_check, DOCTOR_OK, NULL, "none: the state directory is free");
    else
        doctor_report_add(&doctor->report, runtime_check, DOCTOR_OK, NULL,
            "process %s holds the state directory", holder[0] != '\0' ? holder : "(unknown)");
}

static void check_state_dir(struct doctor *doctor)
{
    char existing[PATH_MAX];
    if (!text_copy(existing, sizeof existing, doctor->config->state_dir)) {
        doctor_report_add(&doctor->report, dir_check, DOCTOR_FAIL, writable_fix,
            "the path is longer than %d bytes", PATH_MAX);
        return;
    }
    doctor_cut_to_existing(existing);
    if (check_dir(doctor, existing)) {
        check_space(doctor, existing);
        check_holder(doctor);
    } else {
        doctor_skip(doctor, (const char *const[]){space_check, runtime_check, NULL}, dir_check);
    }
}

enum doctor_result doctor_judge_clock(int64_t ahead_ms)
{
    int64_t off_ms = ahead_ms < 0 ? -ahead_ms : ahead_ms;
    if (off_ms > CLOCK_FAIL_MS)
        return DOCTOR_FAIL;
    return off_ms > CLOCK_WARN_MS ? DOCTOR_WARN : DOCTOR_OK;
}

static void check_clock(struct doctor *doctor)
{
    static const char name[] = "clock";
    if (doctor->clock_source == NULL) {
        doctor_report_add(
            &doctor->report, name, DOCTOR_SKIP, NULL, "because no server sent the time");
        return;
    }
    int64_t ahead_ms = clock_ahead_ms(doctor->date_ms, doctor->before_ms, doctor->after_ms);
    enum doctor_result result = doctor_judge_clock(ahead_ms);
    if (result == DOCTOR_OK)
        doctor_report_add(
            &doctor->report, name, result, NULL, "agrees with that of %s", doctor->clock_source);
    else
        doctor_report_add(&doctor->report, name, result,
            "synchronize this machine's clock, for example with timesyncd or chrony",
            "%" PRId64 " s %s that of %s", (ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000,
            ahead_ms < 0 ? "behind" : "ahead of", doctor->clock_source);
}

/* Requests the probe URL. The first server that sends a Date is what our clock is compared with. */
static void request_probe_url(
    struct doctor *doctor, const struct doctor_server *server, struct http_response *answer)
{
    /* A Date from a cache would be an old one. */
    static const char *const headers[] = {"Cache-Control: no-cache", NULL};
    const struct http_request request = {
        .url = server->probe_url,
        .headers = headers,
        .timeout_ms = DOCTOR_TIMEOUT_MS,
        .response_limit_bytes = RESPONSE_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = server->ignore_proxy,
        .wants_details = true,
    };
    int64_t before_ms = clock_wall_ms();
    http_client_perform(doctor->client, &request, answer);
    if (answer->date_ms == 0 || doctor->clock_source != NULL)
        return;
    doctor->clock_source = server->title;
    doctor->date_ms = answer->date_ms;
    doctor->before_ms = before_ms;
    doctor->after_ms = clock_wall_ms();
}

/* The TLS step of a connection that worked, with or without TLS. */
static void report_tls(
    struct doctor *doctor, const struct doctor_server *server, const struct url *url)
{
    const char *name = server->names[HTTP_STEP_TLS];
    if (url->is_https) {
        doctor_report_add(&doctor->report, name, DOCTOR_OK, NULL, "the certificate is trusted");
    } else if (url_is_local(url)) {
        doctor_report_add(
            &doctor->report, name, DOCTOR_OK, NULL, "not used; not needed for a local address");
    } else {
        char fix[128];
        snprintf(fix, sizeof fix, "use an https:// address in %s", server->option);
        doctor_report_add(&doctor->report, name, DOCTOR_WARN, fix,
            "not used: anyone on the network path can read everything, tokens included");
    }
}

/* The last step, the exchange, is reported by the checks of the server itself. */
static void report_step(struct doctor *doctor, const struct doctor_server *server,
    enum http_step step, const struct url *url, const struct http_response *answer)
{
    const char *name = server->names[step];
    if (step == HTTP_STEP_LOOKUP)
        doctor_report_add(&doctor->report, name, DOCTOR_OK, NULL, "resolved %.*s",
            (int)url->host.length_bytes, url->host.bytes);
    else if (step == HTTP_STEP_CONNECT)
        doctor_report_add(&doctor->report, name, DOCTOR_OK, NULL, "connected to %s", answer->peer);
    else if (step == HTTP_STEP_TLS)
        report_tls(doctor, server, url);
}

static void report_failed_step(struct doctor *doctor, const struct doctor_server *server,
    enum http_step step, const struct http_response *answer)
{
    char fix[256];
    if (step == HTTP_STEP_LOOKUP)
        snprintf(fix, sizeof fix,
            "check the host in %s and that this machine can resolve names (/etc/resolv.conf)",
            server->option);
    else if (step == HTTP_STEP_CONNECT)
        snprintf(fix, sizeof fix, "%s", server->connect_fix);
    else if (step == HTTP_STEP_EXCHANGE)
        snprintf(fix, sizeof fix, "%s", server->answer_fix);
    else if (answer->certificate_refused)
        snprintf(fix, sizeof fix,
            "set CA_FILE to a PEM file with the CA of that certificate, or fix the certificate");
    else
        snprintf(fix, sizeof fix, "check that %s names a port that speaks TLS 1.2 or later",
            server->option);
    doctor_report_add(&doctor->report, server->names[step], DOCTOR_FAIL, fix, "%s: %s", server->url,
        answer->reason);
}

const char *doctor_reach(struct doctor *doctor, const struct doctor_server *server)
{
    struct url url;
    struct http_response answer;
    url_parse(server->url, &url); /* cannot fail: the configuration has checked it */
    request_probe_url(doctor, server, &answer);
    enum http_step last = answer.step;
    for (int step = HTTP_STEP_LOOKUP; step < (int)last; step++)
        report_step(doctor, server, (enum http_step)step, &url, &answer);
    if (answer.failure == HTTP_ANSWERED)
        return NULL;
    report_failed_step(doctor, server, last, &answer);
    for (int step = (int)last + 1; step <= HTTP_STEP_EXCHANGE; step++)
        doctor_skip(doctor, (const char *const[]){server->names[step], NULL}, server->names[last]);
    return server->names[last];
}

/* The authorities come first, since without them no https:// server can be checked. */
static void check_network(struct doctor *doctor)
{
    static const char name[] = "TLS authorities";
    const char *ca_file = doctor->config->ca_file;
    struct ca_store *store;
    struct error error;
    if (ca_store_create(&store, ca_file, &error) != 0) {
        doctor_report_add(&doctor->report, name, DOCTOR_FAIL,
            "set CA_FILE to a PEM file of certificates, or unset it", "%s", error.text);
        return;
    }
    if (http_client_create(&doctor->client, store, &never_aborted, &error) != 0) {
        doctor_report_add(&doctor->report, name, DOCTOR_FAIL, NULL, "%s", error.text);
    } else {
        doctor_report_add(&doctor->report, name, DOCTOR_OK, NULL, "the system's%s%s",
            ca_file != NULL ? ", and those in " : "", ca_file != NULL ? ca_file : "");
        doctor_check_backend(doctor);
        doctor_check_gateway(doctor);
        doctor_check_workspaces(doctor);
        check_clock(doctor);
        http_client_destroy(doctor->client);
    }
    ca_store_destroy(store);
}

/* Reaching this point means that the settings are valid: otherwise main has ended with 78. */
static void run_checks(struct doctor *doctor)
{
    struct error error;
    doctor_report_add(&doctor->report, "settings", DOCTOR_OK, NULL,
        "valid, for account %s and runtime %s", doctor->config->account_id,
        doctor->config->runtime_version);
    check_token_files(doctor);
    check_state_dir(doctor);
    if (http_client_library_start(&error) != 0) {
        doctor_report_add(&doctor->report, "network", DOCTOR_FAIL, NULL, "%s", error.text);
        return;
    }
    doctor_check_address(doctor);
    doctor_check_command(doctor);
    check_network(doctor);
    http_client_library_stop();
}

int command_doctor(const struct config *config, bool json)
{
    struct doctor doctor = {.config = config, .report = {.lines = json ? NULL : stdout}};
    struct text text = {0};
    run_checks(&doctor);
    if (json)
        doctor_report_append_json(&doctor.report, &text);
    else
        doctor_report_append_summary(&doctor.report, &text);
    int printed = print_text(&text);
    int status = doctor_report_is_ok(&doctor.report) ? EXIT_SUCCESS : EXIT_FAILURE;
    text_fini(&text);
    json_decref(doctor.agents);
    json_decref(doctor.runtime);
    doctor_report_fini(&doctor.report);
    return printed != EX_OK ? printed : status;
}
