#include <inttypes.h>
#include <string.h>

#include "backend/service.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "gateway/gateway.h"

static const char deployment_check[] = "Convex deployment";
static const char service_token_check[] = "service token";
static const char account_check[] = "account";

static const char url_fix[] =
    "check CONVEX_URL: right is the deployment's address, which ends in .convex.cloud unless you "
    "host it yourself";

static void add_check(struct doctor *doctor, const char *name, enum report_result result,
    const char *fix, const char *words)
{
    report_add(&doctor->report, name, result, fix, "%s", words);
}

static void skip(struct doctor *doctor, const char *name, const char *failed)
{
    doctor_skip(doctor, (const char *const[]){name, NULL}, failed);
}

static void pass_deployment(struct doctor *doctor)
{
    report_add(&doctor->report, deployment_check, REPORT_OK, NULL, "answers at %s",
        doctor->config->convex_url);
}

static void fail_deployment(struct doctor *doctor, const char *fix, const char *words)
{
    add_check(doctor, deployment_check, REPORT_FAIL, fix, words);
    doctor_skip(
        doctor, (const char *const[]){service_token_check, account_check, NULL}, deployment_check);
}

static void fail_token(struct doctor *doctor, const char *words)
{
    pass_deployment(doctor);
    add_check(doctor, service_token_check, REPORT_FAIL,
        "make a new service token for the account on the board, and set SERVICE_TOKEN to it",
        words);
    skip(doctor, account_check, service_token_check);
}

static void fail_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    skip(doctor, service_token_check, account_check);
    report_add(&doctor->report, account_check, REPORT_FAIL,
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment on which the account was made",
        "this deployment has no account %s", doctor->config->account_id);
}

static void fail_other_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    add_check(doctor, service_token_check, REPORT_OK, NULL, "known to the backend");
    report_add(&doctor->report, account_check, REPORT_FAIL,
        "set ACCOUNT_ID and SERVICE_TOKEN to those of one account",
        "the service token is not that of account %s", doctor->config->account_id);
}

/* Of all that may be wrong, a production deployment says only that something is. */
static void fail_hidden(struct doctor *doctor)
{
    pass_deployment(doctor);
    add_check(doctor, service_token_check, REPORT_FAIL,
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment on which the account was made; if "
        "both are right, make a new service token on the board and set SERVICE_TOKEN to it; the "
        "deployment's own log tells which it is",
        "refused, and the deployment does not say why: the token is wrong or was replaced, or the "
        "account is not there, or it is another one's token");
    skip(doctor, account_check, service_token_check);
}

static void judge_refusal(struct doctor *doctor, const char *text)
{
    switch (service_refusal_parse(text)) {
    case REFUSAL_TOKEN_INVALID:
        fail_token(doctor, "refused: it is wrong or was replaced");
        break;
    case REFUSAL_TOKEN_NOT_CONFIGURED:
        fail_token(doctor, "refused: the account has none so far");
        break;
    case REFUSAL_ACCOUNT_MISMATCH:
        fail_other_account(doctor);
        break;
    case REFUSAL_ACCOUNT_UNKNOWN:
    case REFUSAL_ARGUMENTS_INVALID:
        fail_account(doctor);
        break;
    case REFUSAL_UNEXPLAINED:
        fail_hidden(doctor);
        break;
    case REFUSAL_FUNCTION_UNKNOWN:
        fail_deployment(doctor, url_fix, "it is not one of Mission Control's backends");
        break;
    case REFUSAL_NONE:
        fail_deployment(doctor, "look at the deployment's page and its log", text);
        break;
    }
}

static void judge_roster(struct doctor *doctor, json_t *value)
{
    if (!json_is_array(value)) {
        json_decref(value);
        fail_deployment(doctor, url_fix, "listAgents: the result is not an array");
        return;
    }
    doctor->roster = value;
    pass_deployment(doctor);
    add_check(doctor, service_token_check, REPORT_OK, NULL, "accepted");
    size_t agents = json_array_size(value);
    report_add(&doctor->report, account_check, REPORT_OK, NULL, "%s has %zu agent%s",
        doctor->config->account_id, agents, agents == 1 ? "" : "s");
}

static void ask_for_roster(struct doctor *doctor, struct convex *convex)
{
    const struct service service = {.convex = convex, .client = doctor->client};
    json_t *value = NULL;
    struct error error;
    convex_set_timeout(convex, DOCTOR_TIMEOUT_MS);
    switch (convex_call(&service, "listAgents", json_object(), CONVEX_LIST, &value, &error)) {
    case CONVEX_SUCCESS:
        judge_roster(doctor, value);
        break;
    case CONVEX_FUNCTION_ERROR:
        judge_refusal(doctor, error.text);
        break;
    case CONVEX_REJECTED:
        fail_deployment(doctor, url_fix, error.text);
        break;
    default:
        fail_deployment(doctor,
            "check that CONVEX_URL is the deployment's address; if it is, the deployment or a "
            "proxy before it is in trouble: try again later",
            error.text);
        break;
    }
}

static const char *reach_backend(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/version", doctor->config->convex_url);
    const struct doctor_side side = {
        .whose = "the backend",
        .url = doctor->config->convex_url,
        .option = "CONVEX_URL",
        .probe_url = probe_url.failed ? doctor->config->convex_url : probe_url.data,
        .names = {"backend name", "backend connection", "backend TLS", deployment_check},
        .connect_fix = "check CONVEX_URL, and that a firewall or proxy lets this machine through",
        .answer_fix = url_fix,
    };
    const char *failed = doctor_reach(doctor, &side);
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
        return;
    }
    if (convex_create(
            &convex, config->convex_url, config->account_id, config->service_token, &error) != 0) {
        fail_deployment(doctor, NULL, error.text);
        return;
    }
    ask_for_roster(doctor, convex);
    convex_destroy(convex);
}

/* The gateway tries a failing model provider for up to 142 s before it answers. */
enum { MIN_TIMEOUT_MS = 150000, AGENTS_NAMED = 10, SLUG_BYTES = 64 };

static const char endpoint_check[] = "gateway endpoint";
static const char gateway_token_check[] = "gateway token";
static const char timeout_check[] = "gateway timeout";
static const char agents_check[] = "gateway agents";

static const char *reach_gateway(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/health", doctor->config->gateway_url);
    const struct doctor_side side = {
        .whose = "the gateway",
        .url = doctor->config->gateway_url,
        .option = "OPENCLAW_GATEWAY_URL",
        .probe_url = probe_url.failed ? doctor->config->gateway_url : probe_url.data,
        .ignore_proxy = true, /* as for runs, which would show it the token */
        .names = {"gateway name", "gateway connection", "gateway TLS", endpoint_check},
        .connect_fix = "start the gateway, or set OPENCLAW_GATEWAY_URL to where it listens",
        .answer_fix = "restart the gateway if it hangs, and check that OPENCLAW_GATEWAY_URL is its "
                      "address",
    };
    const char *failed = doctor_reach(doctor, &side);
    text_fini(&probe_url);
    return failed;
}

static const char *fail_endpoint(struct doctor *doctor, const char *fix, const char *words)
{
    add_check(doctor, endpoint_check, REPORT_FAIL, fix, words);
    doctor_skip(doctor, (const char *const[]){gateway_token_check, NULL}, endpoint_check);
    return endpoint_check;
}

static const char *refuse_token(struct doctor *doctor)
{
    const char *set = doctor->config->gateway_token;
    add_check(doctor, endpoint_check, REPORT_OK, NULL, "enabled");
    add_check(doctor, gateway_token_check, REPORT_FAIL,
        "set OPENCLAW_GATEWAY_TOKEN to the gateway's gateway.auth.token and restart the runtime",
        set == NULL || set[0] == '\0' ? "refused: the gateway wants one, and none is set"
                                      : "refused: it is not the gateway's");
    return gateway_token_check;
}

static const char *judge_status(struct doctor *doctor, const struct gateway_result *result)
{
    switch (result->status) {
    case 400:
        add_check(doctor, endpoint_check, REPORT_OK, NULL, "enabled");
        report_add(&doctor->report, gateway_token_check, REPORT_OK, NULL, "accepted by %s",
            doctor->config->gateway_url);
        return NULL;
    case 401:
    case 403:
        return refuse_token(doctor);
    case 404:
        return fail_endpoint(doctor,
            "set gateway.http.endpoints.responses.enabled to true in the gateway's settings and "
            "restart it; if it is, check OPENCLAW_GATEWAY_URL",
            "there is no /v1/responses (404)");
    case 429:
    case 503:
        return fail_endpoint(
            doctor, "wait until the gateway is ready, and try again", result->error.text);
    default:
        return fail_endpoint(doctor,
            "check that OPENCLAW_GATEWAY_URL is the address of an OpenClaw gateway itself",
            result->error.text[0] != '\0' ? result->error.text
                                          : "takes an empty request, which no OpenClaw does");
    }
}

/* The name of the check that keeps our requests out, or NULL. */
static const char *check_door(struct doctor *doctor, const struct gateway *gateway)
{
    struct gateway_result result;
    gateway_probe(gateway, doctor->client, DOCTOR_TIMEOUT_MS, NULL, &result);
    if (result.status != 0)
        return judge_status(doctor, &result);
    return fail_endpoint(doctor, "restart the gateway, and look at its log", result.error.text);
}

/* Names the agents of the roster that the gateway lacks; returns how many there are. */
static size_t list_missing(
    const json_t *roster, const struct gateway_models *models, struct text *names)
{
    size_t missing = 0;
    size_t index;
    const json_t *agent;
    json_array_foreach (roster, index, agent) {
        const char *slug = json_guard_string(agent, "slug");
        if (slug == NULL || gateway_models_have(models, slug))
            continue;
        char quoted[SLUG_BYTES];
        text_quote(quoted, sizeof quoted, slug, strlen(slug));
        if (missing < AGENTS_NAMED)
            text_printf(names, "%s%s", missing > 0 ? ", " : "", quoted);
        missing++;
    }
    if (missing > AGENTS_NAMED)
        text_printf(names, " and %zu more", missing - AGENTS_NAMED);
    return missing;
}

/* Agents that the gateway lacks run as another one, if that one is there. */
static void check_fallback(
    struct doctor *doctor, const struct gateway_models *models, size_t missing)
{
    const char *fallback = doctor->config->fallback_agent;
    if (gateway_models_have(models, fallback))
        report_add(&doctor->report, agents_check, REPORT_OK, NULL,
            "%zu of the account's agents run as %s, since the gateway does not know them", missing,
            fallback);
    else
        report_add(&doctor->report, agents_check, REPORT_FAIL,
            "set OPENCLAW_FALLBACK_AGENT to an agent of the gateway",
            "the gateway knows neither %zu of the account's agents nor %s, which runs for them",
            missing, fallback);
}

static void check_agents(struct doctor *doctor, const struct gateway *gateway)
{
    struct gateway_models models;
    struct text names = {0};
    if (doctor->roster == NULL) {
        doctor_skip(
            doctor, (const char *const[]){agents_check, NULL}, "reading the account's agents");
        return;
    }
    gateway_models_fetch(gateway, doctor->client, DOCTOR_TIMEOUT_MS, NULL, &models);
    size_t missing = list_missing(doctor->roster, &models, &names);
    if (!models.known)
        add_check(doctor, agents_check, REPORT_SKIP, NULL,
            "because the gateway does not list its agents");
    else if (missing > 0 && doctor->config->fallback_agent != NULL)
        check_fallback(doctor, &models, missing);
    else if (missing > 0)
        report_add(&doctor->report, agents_check, REPORT_FAIL,
            "set OPENCLAW_FALLBACK_AGENT or add the agent to the gateway",
            "the gateway does not know %zu of the account's agents: %s", missing,
            names.failed ? "..." : names.data);
    else
        add_check(
            doctor, agents_check, REPORT_OK, NULL, "the gateway knows every agent of the account");
    text_fini(&names);
    gateway_models_fini(&models);
}

static void check_timeout(struct doctor *doctor)
{
    int64_t timeout_ms = doctor->config->gateway_timeout_ms;
    if (timeout_ms >= MIN_TIMEOUT_MS)
        report_add(&doctor->report, timeout_check, REPORT_OK, NULL, "%" PRId64 " ms", timeout_ms);
    else
        report_add(&doctor->report, timeout_check, REPORT_WARN,
            "set OPENCLAW_REQUEST_TIMEOUT_MS to 300000",
            "%" PRId64 " ms: the gateway tries a failing model provider for up to 142 s, so runs "
            "may be cut off that are about to end well",
            timeout_ms);
}

static void check_enabled(struct doctor *doctor, const struct gateway *gateway)
{
    const char *failed = reach_gateway(doctor);
    if (failed != NULL)
        doctor_skip(doctor, (const char *const[]){gateway_token_check, NULL}, failed);
    else
        failed = check_door(doctor, gateway);
    if (failed != NULL)
        doctor_skip(doctor, (const char *const[]){agents_check, NULL}, failed);
    else
        check_agents(doctor, gateway);
    check_timeout(doctor);
}

void doctor_check_gateway(struct doctor *doctor)
{
    struct gateway *gateway;
    struct error error;
    if (gateway_create(
            &gateway, doctor->config->gateway_url, doctor->config->gateway_token, &error) != 0) {
        add_check(doctor, endpoint_check, REPORT_FAIL, NULL, error.text);
        return;
    }
    if (gateway_is_enabled(gateway))
        check_enabled(doctor, gateway);
    else
        add_check(doctor, endpoint_check, REPORT_WARN,
            "set OPENCLAW_GATEWAY_URL if agents are to be asked",
            "disabled on purpose: OPENCLAW_GATEWAY_URL is empty, so nothing is delivered");
    gateway_destroy(gateway);
}
