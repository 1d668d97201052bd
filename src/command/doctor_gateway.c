#include <inttypes.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/text.h"
#include "doctor_checks.h"
#include "remote/gateway_probe.h"

/* The gateway tries a failing model provider for up to 142 s before it answers. */
enum { SHORTEST_TIMEOUT_MS = 150000, AGENTS_NAMED = 10, SLUG_BYTES = 64 };

static const char endpoint[] = "gateway endpoint";
static const char token[] = "gateway token";
static const char timeout[] = "gateway timeout";
static const char agents[] = "gateway agents";

static void add(struct doctor *doctor, const char *name, enum report_result result, const char *fix,
    const char *words)
{
    report_add(&doctor->report, name, result, fix, "%s", words);
}

static const char *reach(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/health", doctor->config->gateway_url);
    const struct doctor_side side = {
        .whose = "the gateway",
        .url = doctor->config->gateway_url,
        .option = "OPENCLAW_GATEWAY_URL",
        .probe_url = probe_url.failed ? doctor->config->gateway_url : probe_url.data,
        .ignore_proxy = true, /* as for runs, which would show it the token */
        .names = {"gateway name", "gateway connection", "gateway TLS", endpoint},
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
    add(doctor, endpoint, REPORT_FAIL, fix, words);
    doctor_skip(doctor, (const char *const[]){token, NULL}, endpoint);
    return endpoint;
}

static const char *refuse_token(struct doctor *doctor)
{
    const char *set = doctor->config->gateway_token;
    add(doctor, endpoint, REPORT_OK, NULL, "enabled");
    add(doctor, token, REPORT_FAIL,
        "set OPENCLAW_GATEWAY_TOKEN to the gateway's gateway.auth.token and restart the runtime",
        set == NULL || set[0] == '\0' ? "refused: the gateway wants one, and none is set"
                                      : "refused: it is not the gateway's");
    return token;
}

static const char *judge_status(struct doctor *doctor, const struct gateway_result *result)
{
    switch (result->status) {
    case 400:
        add(doctor, endpoint, REPORT_OK, NULL, "enabled");
        report_add(
            &doctor->report, token, REPORT_OK, NULL, "accepted by %s", doctor->config->gateway_url);
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

static struct gateway_inquiry inquiry_of(const struct doctor *doctor)
{
    return (struct gateway_inquiry){.client = doctor->client, .timeout_ms = DOCTOR_TIMEOUT_MS};
}

/* The name of the check that keeps our requests out, or NULL. */
static const char *check_door(struct doctor *doctor, const struct gateway *gateway)
{
    const struct gateway_inquiry inquiry = inquiry_of(doctor);
    struct gateway_result result;
    gateway_probe(gateway, &inquiry, &result);
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
        report_add(&doctor->report, agents, REPORT_OK, NULL,
            "%zu of the account's agents run as %s, since the gateway does not know them", missing,
            fallback);
    else
        report_add(&doctor->report, agents, REPORT_FAIL,
            "set OPENCLAW_FALLBACK_AGENT to an agent of the gateway",
            "the gateway knows neither %zu of the account's agents nor %s, which runs for them",
            missing, fallback);
}

static void check_agents(struct doctor *doctor, const struct gateway *gateway)
{
    struct gateway_models models;
    struct text names = {0};
    if (doctor->roster == NULL) {
        doctor_skip(doctor, (const char *const[]){agents, NULL}, "reading the account's agents");
        return;
    }
    const struct gateway_inquiry inquiry = inquiry_of(doctor);
    gateway_models_fetch(gateway, &inquiry, &models);
    size_t missing = list_missing(doctor->roster, &models, &names);
    if (!models.known)
        add(doctor, agents, REPORT_SKIP, NULL, "because the gateway does not list its agents");
    else if (missing > 0 && doctor->config->fallback_agent != NULL)
        check_fallback(doctor, &models, missing);
    else if (missing > 0)
        report_add(&doctor->report, agents, REPORT_FAIL,
            "set OPENCLAW_FALLBACK_AGENT or add the agent to the gateway",
            "the gateway does not know %zu of the account's agents: %s", missing,
            names.failed ? "..." : names.data);
    else
        add(doctor, agents, REPORT_OK, NULL, "the gateway knows every agent of the account");
    text_fini(&names);
    gateway_models_fini(&models);
}

static void check_timeout(struct doctor *doctor)
{
    int64_t timeout_ms = doctor->config->gateway_timeout_ms;
    if (timeout_ms >= SHORTEST_TIMEOUT_MS)
        report_add(&doctor->report, timeout, REPORT_OK, NULL, "%" PRId64 " ms", timeout_ms);
    else
        report_add(&doctor->report, timeout, REPORT_WARN,
            "set OPENCLAW_REQUEST_TIMEOUT_MS to 300000",
            "%" PRId64 " ms: the gateway tries a failing model provider for up to 142 s, so runs "
            "may be cut off that are about to end well",
            timeout_ms);
}

static void check_enabled(struct doctor *doctor, const struct gateway *gateway)
{
    const char *failed = reach(doctor);
    if (failed != NULL)
        doctor_skip(doctor, (const char *const[]){token, NULL}, failed);
    else
        failed = check_door(doctor, gateway);
    if (failed != NULL)
        doctor_skip(doctor, (const char *const[]){agents, NULL}, failed);
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
        add(doctor, endpoint, REPORT_FAIL, NULL, error.text);
        return;
    }
    if (gateway_is_enabled(gateway))
        check_enabled(doctor, gateway);
    else
        add(doctor, endpoint, REPORT_WARN, "set OPENCLAW_GATEWAY_URL if agents are to be asked",
            "disabled on purpose: OPENCLAW_GATEWAY_URL is empty, so nothing is delivered");
    gateway_destroy(gateway);
}
