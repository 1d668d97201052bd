/*
 * The doctor's checks of the two servers, once a connection works.
 *
 * Backend: one call of listAgents, which changes nothing, tests deployment, token and account at
 * once. Development deployments say which of them is wrong; production ones hide it, so the check
 * of the token then fails with everything that may be the reason. Its result, the account's agents,
 * is kept for the gateway's checks and those of the version (doctor_version.c).
 *
 * Gateway: the probe that the runtime itself uses (POST {}, which runs no agent) tests endpoint and
 * token. A gateway that has seen too many wrong tokens tells nobody whether one is right, so then
 * the reason is the one that a running runtime has kept, if there is one. After that come its
 * agents (doctor_agents.c) and tools (doctor_tools.c). The timeout is checked although nothing
 * failed yet, because one that is too short costs runs later.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/service.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "config/options.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"

/* The gateway retries a failing model provider for up to 142 s before it answers. */
enum { MIN_TIMEOUT_MS = 150000, WAIT_BYTES = 64 };

static const char deployment_check[] = "Convex deployment";
static const char service_token_check[] = "service token";
static const char account_check[] = "account";
static const char endpoint_check[] = "gateway endpoint";
static const char gateway_token_check[] = "gateway token";
static const char timeout_check[] = "gateway timeout";

static void add_check(struct doctor *doctor, const char *name, enum doctor_result result,
    const char *fix, const char *detail)
{
    doctor_report_add(&doctor->report, name, result, fix, "%s", detail);
}

static void skip_check(struct doctor *doctor, const char *name, const char *failed)
{
    doctor_skip(doctor, (const char *const[]){name, NULL}, failed);
}

/* Also for a refusal: a deployment that refuses has answered. */
static void pass_deployment(struct doctor *doctor)
{
    doctor_report_add(&doctor->report, deployment_check, DOCTOR_OK, NULL, "answers at %s",
        doctor->config->convex_url);
}

static void fail_deployment(struct doctor *doctor, const char *fix, const char *detail)
{
    add_check(doctor, deployment_check, DOCTOR_FAIL, fix, detail);
    doctor_skip(
        doctor, (const char *const[]){service_token_check, account_check, NULL}, deployment_check);
}

static void fail_service_token(
    struct doctor *doctor, enum convex_problem problem, const char *detail)
{
    pass_deployment(doctor);
    add_check(doctor, service_token_check, DOCTOR_FAIL, convex_problem_fix(problem), detail);
    skip_check(doctor, account_check, service_token_check);
}

/* Without the account the token cannot be judged. */
static void fail_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    skip_check(doctor, service_token_check, account_check);
    doctor_report_add(&doctor->report, account_check, DOCTOR_FAIL,
        convex_problem_fix(PROBLEM_NO_ACCOUNT), "this deployment has no account %s",
        doctor->config->account_id);
}

static void fail_other_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    add_check(doctor, service_token_check, DOCTOR_OK, NULL, "known to the backend");
    doctor_report_add(&doctor->report, account_check, DOCTOR_FAIL,
        convex_problem_fix(PROBLEM_OTHER_ACCOUNT),
        "the service token does not belong to account %s", doctor->config->account_id);
}

/* Only hints are derived from the text; see service_refusal_parse. */
static void report_refusal(struct doctor *doctor, const char *text)
{
    switch (service_refusal_parse(text)) {
    case REFUSAL_TOKEN_INVALID:
        fail_service_token(doctor, PROBLEM_TOKEN, "refused: it is wrong or was replaced");
        break;
    case REFUSAL_TOKEN_NOT_CONFIGURED:
        fail_service_token(doctor, PROBLEM_NO_TOKEN, "refused: the account has no token yet");
        break;
    case REFUSAL_ACCOUNT_MISMATCH:
        fail_other_account(doctor);
        break;
    case REFUSAL_ACCOUNT_UNKNOWN:
    case REFUSAL_ARGUMENTS_INVALID:
        fail_account(doctor);
        break;
    case REFUSAL_UNEXPLAINED:
        fail_service_token(doctor, PROBLEM_HIDDEN,
            "refused, and the deployment does not say why: the token is wrong or was replaced, the "
            "account does not exist, or the token belongs to another account");
        break;
    case REFUSAL_FUNCTION_UNKNOWN:
        fail_deployment(
            doctor, convex_problem_fix(PROBLEM_OTHER_BACKEND), "not a Mission Control backend");
        break;
    case REFUSAL_NONE:
        fail_deployment(doctor, convex_problem_fix(PROBLEM_FUNCTION), text);
        break;
    }
}

/* Takes the reference. */
static void accept_agents(struct doctor *doctor, json_t *value)
{
    if (!json_is_array(value)) {
        json_decref(value);
        fail_deployment(
            doctor, convex_problem_fix(PROBLEM_URL), "listAgents: the result is not an array");
        return;
    }
    doctor->agents = value;
    pass_deployment(doctor);
    add_check(doctor, service_token_check, DOCTOR_OK, NULL, "accepted");
    size_t agents = json_array_size(value);
    doctor_report_add(&doctor->report, account_check, DOCTOR_OK, NULL, "%s has %zu agent%s",
        doctor->config->account_id, agents, agents == 1 ? "" : "s");
}

static void check_credentials(struct doctor *doctor, struct convex *convex)
{
    const struct service service = {.convex = convex, .client = doctor->client};
    json_t *value = NULL;
    struct error error;
    convex_set_timeout(convex, DOCTOR_TIMEOUT_MS);
    switch (convex_call(&service, "listAgents", json_object(), CONVEX_LIST, &value, &error)) {
    case CONVEX_SUCCESS:
        accept_agents(doctor, value);
        break;
    case CONVEX_FUNCTION_ERROR:
        report_refusal(doctor, error.text);
        break;
    case CONVEX_REJECTED:
        fail_deployment(doctor, convex_problem_fix(PROBLEM_URL), error.text);
        break;
    default:
        fail_deployment(doctor,
            "check that CONVEX_URL is the deployment's address; if it is, the deployment or a "
            "proxy "
            "in front of it has a problem: try again later",
            error.text);
        break;
    }
}

/* Returns the name of the check that failed, or NULL. */
static const char *reach_backend(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/version", doctor->config->convex_url);
    const struct doctor_server server = {
        .title = "the backend",
        .url = doctor->config->convex_url,
        .option = "CONVEX_URL",
        /* Without memory the plain URL will do: any HTTP answer counts. */
        .probe_url = probe_url.failed ? doctor->config->convex_url : probe_url.data,
        .names = {"backend name", "backend connection", "backend TLS", deployment_check},
        .connect_fix = convex_problem_fix(PROBLEM_CONNECTION),
        .answer_fix = convex_problem_fix(PROBLEM_URL),
    };
    const char *failed = doctor_reach(doctor, &server);
    text_fini(&probe_url);
    return failed;
}

void doctor_check_backend(struct doctor *doctor)
{
    struct convex *convex;
    struct error error;
    const struct config *config = doctor->config;
    const char *failed = reach_backend(doctor);
    if (failed != NULL) {
        doctor_skip(
            doctor, (const char *const[]){service_token_check, account_check, NULL}, failed);
        doctor_check_version(doctor, NULL);
        return;
    }
    if (convex_create(
            &convex, config->convex_url, config->account_id, config->service_token, &error) != 0) {
        fail_deployment(doctor, NULL, error.text);
        doctor_check_version(doctor, NULL);
        return;
    }
    check_credentials(doctor, convex);
    doctor_check_version(doctor, convex);
    convex_destroy(convex);
}

/* Returns the name of the check that failed, or NULL. */
static const char *reach_gateway(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/health", doctor->config->gateway_url);
    const struct doctor_server server = {
        .title = "the gateway",
        .url = doctor->config->gateway_url,
        .option = "OPENCLAW_GATEWAY_URL",
        .probe_url = probe_url.failed ? doctor->config->gateway_url : probe_url.data,
        .ignore_proxy = true, /* as for runs, where a proxy would see the token */
        .names = {"gateway name", "gateway connection", "gateway TLS", endpoint_check},
        .connect_fix = "start the gateway, or set OPENCLAW_GATEWAY_URL to where it listens",
        .answer_fix = "restart the gateway if it hangs, and check that OPENCLAW_GATEWAY_URL is its "
                      "address",
    };
    const char *failed = doctor_reach(doctor, &server);
    text_fini(&probe_url);
    return failed;
}

static const char *fail_endpoint(struct doctor *doctor, const char *fix, const char *detail)
{
    add_check(doctor, endpoint_check, DOCTOR_FAIL, fix, detail);
    skip_check(doctor, gateway_token_check, endpoint_check);
    return endpoint_check;
}

/* A gateway that refuses the token has the endpoint enabled. */
static const char *fail_gateway_token(struct doctor *doctor)
{
    const char *set = doctor->config->gateway_token;
    add_check(doctor, endpoint_check, DOCTOR_OK, NULL, "enabled");
    add_check(doctor, gateway_token_check, DOCTOR_FAIL,
        "set OPENCLAW_GATEWAY_TOKEN to the gateway's gateway.auth.token and restart the runtime",
        set == NULL || set[0] == '\0' ? "refused: the gateway requires one, and none is set"
                                      : "refused: it is not the gateway's");
    return gateway_token_check;
}

/* What the running runtime says about the gateway's token when it is the one refused, or NULL. */
static const char *running_runtime_on_token(const struct doctor *doctor)
{
    const json_t *gateway = json_object_get(doctor->runtime, "gateway");
    const char *reason = json_guard_string(gateway, "reason");
    bool names_token = reason != NULL && strstr(reason, "check OPENCLAW_GATEWAY_TOKEN") != NULL;
    return names_token ? reason : NULL;
}

/* Whether the gateway refuses every token from this address, after too many wrong ones. */
static bool is_locked_out(const struct gateway_result *result)
{
    return result->status == 429 && result->outcome == GATEWAY_MISCONFIGURED;
}

/* The reason is the running runtime's; a try of ours only met what follows from it. */
static const char *fail_token_of_runtime(
    struct doctor *doctor, const char *reason, const struct gateway_result *result)
{
    char quoted[ERROR_TEXT_BYTES];
    char fix[256];
    char wait[WAIT_BYTES] = "up to 5 minutes after the last refusal";
    if (result->retry_after_ms > 0)
        snprintf(wait, sizeof wait, "in %" PRId64 " s", result->retry_after_ms / 1000);
    text_quote(quoted, sizeof quoted, reason, strlen(reason));
    snprintf(fix, sizeof fix,
        "set OPENCLAW_GATEWAY_TOKEN to the gateway's gateway.auth.token and restart the runtime; "
        "the gateway takes it again %s",
        wait);
    add_check(doctor, endpoint_check, DOCTOR_OK, NULL, "enabled");
    doctor_report_add(&doctor->report, gateway_token_check, DOCTOR_FAIL, fix,
        "the running runtime reports: %s", quoted);
    return gateway_token_check;
}

static const char *fail_locked_out(struct doctor *doctor, const struct gateway_result *result)
{
    char fix[256];
    char wait[WAIT_BYTES] = "up to 5 minutes";
    if (result->retry_after_ms > 0)
        snprintf(wait, sizeof wait, "%" PRId64 " s", result->retry_after_ms / 1000);
    snprintf(fix, sizeof fix,
        "stop what uses a wrong token from here, wait %s, and run the doctor again", wait);
    add_check(doctor, endpoint_check, DOCTOR_OK, NULL, "enabled");
    doctor_report_add(&doctor->report, gateway_token_check, DOCTOR_FAIL, fix,
        "not checked: the gateway has locked out this address after too many wrong tokens and "
        "refuses even the right one for now (%s)",
        result->error.text);
    return gateway_token_check;
}

/*
 * Interprets the status of an answer to {} (docs/protocol.md, "OpenClaw gateway"). Returns the name
 * of the check that failed, or NULL.
 */
static const char *report_probe_status(struct doctor *doctor, const struct gateway_result *result)
{
    switch (result->status) {
    case 400:
        add_check(doctor, endpoint_check, DOCTOR_OK, NULL, "enabled");
        doctor_report_add(&doctor->report, gateway_token_check, DOCTOR_OK, NULL, "accepted by %s",
            doctor->config->gateway_url);
        return NULL;
    case 401:
    case 403:
        return fail_gateway_token(doctor);
    case 404:
    case 405: /* of the control UI, which catches every path while the endpoint is off */
        return fail_endpoint(doctor,
            "set gateway.http.endpoints.responses.enabled to true in the gateway's settings and "
            "restart it; if it is, check OPENCLAW_GATEWAY_URL",
            result->status == 404 ? "there is no /v1/responses (404)"
                                  : "there is no POST /v1/responses (405)");
    case 429:
        if (is_locked_out(result))
            return fail_locked_out(doctor, result);
        return fail_endpoint(
            doctor, "wait until the gateway is ready and try again", result->error.text);
    case 503:
        return fail_endpoint(
            doctor, "wait until the gateway is ready and try again", result->error.text);
    default:
        return fail_endpoint(doctor,
            "check that OPENCLAW_GATEWAY_URL is the address of an OpenClaw gateway itself",
            result->error.text[0] != '\0'
                ? result->error.text
                : "accepts an empty request, which no OpenClaw gateway does");
    }
}

/* Returns the name of the check that failed, or NULL. */
static const char *check_endpoint(struct doctor *doctor, const struct gateway *gateway)
{
    struct gateway_result result;
    gateway_probe(gateway, doctor->client, DOCTOR_TIMEOUT_MS, NULL, &result);
    const char *known = running_runtime_on_token(doctor);
    /* A gateway makes those wait who try wrong tokens, or locks them out. */
    if (known != NULL && (result.status == 0 || is_locked_out(&result)))
        return fail_token_of_runtime(doctor, known, &result);
    if (result.status != 0)
        return report_probe_status(doctor, &result);
    return fail_endpoint(doctor, "restart the gateway and check its log", result.error.text);
}

static void check_timeout(struct doctor *doctor)
{
    int64_t timeout_ms = doctor->config->gateway_timeout_ms;
    const struct option *option = &config_options[OPTION_OPENCLAW_REQUEST_TIMEOUT_MS];
    if (timeout_ms == strtoll(option->fallback, NULL, 10))
        doctor_report_add(&doctor->report, timeout_check, DOCTOR_OK, NULL,
            "%" PRId64
            " ms, the default; 300000 waits for runs whose model provider fails at first",
            timeout_ms);
    else if (timeout_ms >= MIN_TIMEOUT_MS)
        doctor_report_add(
            &doctor->report, timeout_check, DOCTOR_OK, NULL, "%" PRId64 " ms", timeout_ms);
    else
        doctor_report_add(&doctor->report, timeout_check, DOCTOR_WARN,
            "set OPENCLAW_REQUEST_TIMEOUT_MS to 300000",
            "%" PRId64 " ms: the gateway retries a failing model provider for up to 142 s, so runs "
            "that are about to succeed may be aborted",
            timeout_ms);
}

static void check_enabled_gateway(struct doctor *doctor, const struct gateway *gateway)
{
    const char *failed = reach_gateway(doctor);
    if (failed != NULL)
        skip_check(doctor, gateway_token_check, failed);
    else
        failed = check_endpoint(doctor, gateway);
    if (failed != NULL) {
        doctor_skip_agents(doctor, failed);
        doctor_skip_tools(doctor, failed);
    } else {
        doctor_check_agents(doctor, gateway);
        doctor_check_tools(doctor, gateway);
    }
    check_timeout(doctor);
}

void doctor_check_gateway(struct doctor *doctor)
{
    struct gateway *gateway;
    struct error error;
    if (gateway_create(
            &gateway, doctor->config->gateway_url, doctor->config->gateway_token, &error) != 0) {
        add_check(doctor, endpoint_check, DOCTOR_FAIL, NULL, error.text);
        return;
    }
    if (gateway_is_enabled(gateway))
        check_enabled_gateway(doctor, gateway);
    else
        add_check(doctor, endpoint_check, DOCTOR_WARN, "set OPENCLAW_GATEWAY_URL to run agents",
            "disabled on purpose: OPENCLAW_GATEWAY_URL is empty, so nothing is delivered");
    gateway_destroy(gateway);
}
