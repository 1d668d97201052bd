#include "base/text.h"
#include "command/verdict.h"
#include "doctor_checks.h"
#include "remote/convex.h"

static const char deployment[] = "Convex deployment";
static const char token[] = "service token";
static const char account[] = "account";

static const char url_fix[] =
    "check CONVEX_URL: right is the deployment's address, which ends in .convex.cloud unless you "
    "host it yourself";

static void add(struct doctor *doctor, const char *name, enum report_result result, const char *fix,
    const char *words)
{
    report_add(&doctor->report, name, result, fix, "%s", words);
}

static void skip(struct doctor *doctor, const char *name, const char *failed)
{
    doctor_skip(doctor, (const char *const[]){name, NULL}, failed);
}

static void pass_deployment(struct doctor *doctor)
{
    report_add(
        &doctor->report, deployment, REPORT_OK, NULL, "answers at %s", doctor->config->convex_url);
}

static void fail_deployment(struct doctor *doctor, const char *fix, const char *words)
{
    add(doctor, deployment, REPORT_FAIL, fix, words);
    doctor_skip(doctor, (const char *const[]){token, account, NULL}, deployment);
}

static void fail_token(struct doctor *doctor, const char *words)
{
    pass_deployment(doctor);
    add(doctor, token, REPORT_FAIL,
        "make a new service token for the account on the board, and set SERVICE_TOKEN to it",
        words);
    skip(doctor, account, token);
}

static void fail_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    skip(doctor, token, account);
    report_add(&doctor->report, account, REPORT_FAIL,
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment on which the account was made",
        "this deployment has no account %s", doctor->config->account_id);
}

static void fail_other_account(struct doctor *doctor)
{
    pass_deployment(doctor);
    add(doctor, token, REPORT_OK, NULL, "known to the backend");
    report_add(&doctor->report, account, REPORT_FAIL,
        "set ACCOUNT_ID and SERVICE_TOKEN to those of one account",
        "the service token is not that of account %s", doctor->config->account_id);
}

/* Of all that may be wrong, a production deployment says only that something is. */
static void fail_hidden(struct doctor *doctor)
{
    pass_deployment(doctor);
    add(doctor, token, REPORT_FAIL,
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment on which the account was made; if "
        "both are right, make a new service token on the board and set SERVICE_TOKEN to it; the "
        "deployment's own log tells which it is",
        "refused, and the deployment does not say why: the token is wrong or was replaced, or the "
        "account is not there, or it is another one's token");
    skip(doctor, account, token);
}

static void judge_refusal(struct doctor *doctor, const char *text)
{
    switch (verdict_refusal(text)) {
    case REFUSAL_TOKEN_WRONG:
        fail_token(doctor, "refused: it is wrong or was replaced");
        break;
    case REFUSAL_TOKEN_NOT_SET_UP:
        fail_token(doctor, "refused: the account has none so far");
        break;
    case REFUSAL_OTHER_ACCOUNT:
        fail_other_account(doctor);
        break;
    case REFUSAL_NO_ACCOUNT:
        fail_account(doctor);
        break;
    case REFUSAL_HIDDEN:
        fail_hidden(doctor);
        break;
    case REFUSAL_NO_BACKEND:
        fail_deployment(doctor, url_fix, "it is not one of Mission Control's backends");
        break;
    case REFUSAL_OTHERWISE:
        fail_deployment(doctor, "look at the deployment's page and its log", text);
        break;
    }
}

static void judge_roster(struct doctor *doctor, json_t *value)
{
    if (!json_is_array(value)) {
        json_decref(value);
        fail_deployment(doctor, url_fix, "listAgents: the answer is no array");
        return;
    }
    doctor->roster = value;
    pass_deployment(doctor);
    add(doctor, token, REPORT_OK, NULL, "accepted");
    size_t agents = json_array_size(value);
    report_add(&doctor->report, account, REPORT_OK, NULL, "%s has %zu agent%s",
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

static const char *reach(struct doctor *doctor)
{
    struct text probe_url = {0};
    text_printf(&probe_url, "%s/version", doctor->config->convex_url);
    const struct doctor_side side = {
        .whose = "the backend",
        .url = doctor->config->convex_url,
        .option = "CONVEX_URL",
        .probe_url = probe_url.failed ? doctor->config->convex_url : probe_url.data,
        .names = {"backend name", "backend connection", "backend TLS", deployment},
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
    const char *failed = reach(doctor);
    if (failed != NULL) {
        doctor_skip(doctor, (const char *const[]){token, account, NULL}, failed);
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
