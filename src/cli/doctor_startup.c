/*
 * The doctor's checks of what a runtime needs to start, apart from its state directory: the address
 * of its HTTP server and the command of its gateway.
 *
 * The address is resolved and bound as the server does it, but never listened on, so it is
 * never in the way of a runtime that starts at the same moment. A port that is in use is fine if
 * the runtime that holds the state directory answers there. What that one says about the gateway is
 * kept for the check of the token (doctor_remotes.c): a gateway that has refused a token for a
 * while answers late or locks addresses out, so that a try of our own could not tell what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "http/server.h"

enum { RESPONSE_LIMIT_BYTES = 1024 * 1024, RUNTIME_TIMEOUT_MS = 5000, PATH_BYTES = 4096 };

static const atomic_bool never_aborted = false;

static const char address_check[] = "health address";
static const char command_check[] = "gateway command";

static void request_runtime_health(struct doctor *doctor, const char *url)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .timeout_ms = RUNTIME_TIMEOUT_MS,
        .response_limit_bytes = RESPONSE_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true,
    };
    struct http_client *client;
    struct http_response answer;
    json_t *body = NULL;
    if (http_client_create(&client, NULL, &never_aborted, NULL) != 0)
        return;
    http_client_perform(client, &request, &answer);
    if (answer.failure == HTTP_ANSWERED && answer.status == 200)
        json_guard_load(answer.body.bytes, answer.body.length_bytes, &body, NULL);
    http_client_destroy(client);
    /* Any server may have the port. */
    if (json_guard_string(json_object_get(body, "versions"), "runtimeService") != NULL)
        doctor->runtime = json_incref(body);
    json_decref(body);
}

/* Asks the runtime that holds the state directory, if one does. */
static void find_runtime(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    char holder[32];
    struct text url = {0};
    if (config->health_port == 0 || !state_dir_is_held(config->state_dir, holder, sizeof holder))
        return;
    healthcheck_append_url(&url, config->health_host, config->health_port);
    if (!url.failed)
        request_runtime_health(doctor, url.data);
    text_fini(&url);
}

void doctor_check_address(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct error error;
    find_runtime(doctor);
    if (doctor->runtime != NULL)
        doctor_report_add(&doctor->report, address_check, DOCTOR_OK, NULL,
            "the running runtime answers at %s port %u", config->health_host, config->health_port);
    else if (http_server_check_address(config->health_host, config->health_port, &error) == 0)
        doctor_report_add(&doctor->report, address_check, DOCTOR_OK, NULL,
            "%s port %u can be listened on", config->health_host, config->health_port);
    else
        doctor_report_add(&doctor->report, address_check, DOCTOR_FAIL,
            "set HEALTH_HOST to an address of this machine and HEALTH_PORT to a free port, or stop "
            "what uses that port",
            "%s", error.text);
}

/* Whether path is a program that we may run; *reason as strerror's when it is not. */
static bool is_program(const char *path, int *reason)
{
    struct stat status;
    bool runs = stat(path, &status) == 0 && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
    if (runs && S_ISREG(status.st_mode))
        return true;
    int failed = runs ? EACCES : errno;
    /* Of several directories the one that has the file explains more. */
    if (failed != ENOENT && failed != ENOTDIR)
        *reason = failed;
    return false;
}

/* Looks name up as the gateway's start does: in PATH, unless it contains a '/'. */
static bool find_program(const char *name, char path[static PATH_BYTES], int *reason)
{
    const char *search = getenv("PATH");
    *reason = ENOENT;
    if (strchr(name, '/') != NULL) {
        text_copy(path, PATH_BYTES, name);
        return is_program(name, reason);
    }
    if (search == NULL)
        search = "/bin:/usr/bin";
    for (;;) {
        size_t length = strcspn(search, ":");
        snprintf(path, PATH_BYTES, "%.*s%s%s", (int)length, search, length > 0 ? "/" : "", name);
        if (is_program(path, reason))
            return true;
        if (search[length] == '\0')
            return false;
        search += length + 1;
    }
}

void doctor_check_command(struct doctor *doctor)
{
    struct argv command;
    struct error error;
    char path[PATH_BYTES];
    int reason;
    if (doctor->config->gateway_command == NULL)
        return;
    if (argv_parse(doctor->config->gateway_command, &command, &error) != 0) {
        doctor_report_add(
            &doctor->report, command_check, DOCTOR_FAIL, NULL, "the command %s", error.text);
        return;
    }
    char name[128];
    text_quote(name, sizeof name, command.items[0], strlen(command.items[0]));
    if (find_program(command.items[0], path, &reason))
        doctor_report_add(&doctor->report, command_check, DOCTOR_OK, NULL, "%s can be run", name);
    else
        doctor_report_add(&doctor->report, command_check, DOCTOR_FAIL,
            "set OPENCLAW_GATEWAY_COMMAND to a program that the runtime's user can run, with its "
            "path if PATH does not lead to it",
            "%s cannot be run (%s)", name, strerror(reason));
    argv_fini(&command);
}
