#include "command/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "command/print.h"
#include "command/verdict.h"
#include "doctor_checks.h"

static const atomic_bool never = false;

static void check_clock(struct doctor *doctor)
{
    static const char name[] = "clock";
    if (doctor->clock == NULL) {
        report_add(
            &doctor->report, name, REPORT_SKIP, NULL, "because no server told its time of day");
        return;
    }
    int64_t ahead_ms = verdict_clock_ahead_ms(doctor->date_ms, doctor->before_ms, doctor->after_ms);
    enum report_result result = verdict_clock(ahead_ms);
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
