/*
 * Why a call of the backend failed, as far as that can be told, and what a person does about it:
 * the one place for these words. The poller logs them and lists them among the last errors, health
 * has them as its reason, and the doctor as its fixes.
 *
 * Where the request did not get through, the step that failed tells (http/client.h). Where the
 * function refused it, only the error's text does, and production deployments hide that; so all of
 * this is advice, and nothing may be decided by it.
 *
 * The words name settings, never their values, so that no secret can be in them.
 */
#include "backend/service.h"

static const char url_fix[] =
    "check CONVEX_URL: it must be the deployment's address, which ends in .convex.cloud unless "
    "self-hosted";
static const char token_fix[] =
    "create a new service token for the account on the board and set SERVICE_TOKEN to it";

static const struct {
    const char *cause;
    const char *fix;
} problems[] = {
    [PROBLEM_NONE] = {"", ""},
    [PROBLEM_NAME] = {"its name cannot be resolved",
        "check the host in CONVEX_URL and that this machine can resolve names (/etc/resolv.conf)"},
    [PROBLEM_CONNECTION] = {"it cannot be connected to",
        "check CONVEX_URL, and that no firewall or proxy blocks this machine"},
    [PROBLEM_CERTIFICATE] = {"its certificate is not trusted",
        "set CA_FILE to a PEM file with the CA of that certificate, or fix the certificate"},
    [PROBLEM_TLS] = {"no TLS connection can be made",
        "check that CONVEX_URL names a port that speaks https (TLS 1.2 or later), not http"},
    [PROBLEM_DESCRIPTORS] = {"this process or machine has too few file descriptors",
        "raise the limit of open files (LimitNOFILE=, ulimit -n)"},
    [PROBLEM_SILENCE] = {"it does not answer in time",
        "check that CONVEX_URL is the deployment's address, and the network between"},
    [PROBLEM_LOGIN] = {"it, or a proxy in front of it, refuses our credentials",
        "check that SERVICE_TOKEN and ACCOUNT_ID are of the deployment in CONVEX_URL, and that no "
        "proxy in front of it wants a login of its own"},
    [PROBLEM_URL] = {"it does not answer as a Convex deployment", url_fix},
    [PROBLEM_SERVER] = {"it, or a proxy in front of it, has a problem",
        "check that CONVEX_URL is the deployment's address; if it is, wait, as polls go on"},
    [PROBLEM_TOKEN] = {"it refuses the service token, which is wrong or was replaced", token_fix},
    [PROBLEM_NO_TOKEN] = {"it refuses the service token, as the account has none yet", token_fix},
    [PROBLEM_OTHER_ACCOUNT] = {"it refuses the service token, which is another account's",
        "set ACCOUNT_ID and SERVICE_TOKEN to those of the same account"},
    [PROBLEM_NO_ACCOUNT] = {"it does not have this account",
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment that has the account"},
    [PROBLEM_OTHER_BACKEND] = {"it is not a Mission Control backend", url_fix},
    [PROBLEM_HIDDEN] = {"it refuses the call and hides why",
        "check ACCOUNT_ID, and that CONVEX_URL is the deployment that has the account; if both are "
        "right, create a new service token on the board and set SERVICE_TOKEN to it; the reason is "
        "in the deployment's own log"},
    [PROBLEM_FUNCTION] = {"its function fails",
        "check the deployment's dashboard and log, and that it is not paused or over its plan's "
        "limits"},
};

const char *convex_problem_cause(enum convex_problem problem)
{
    return problems[problem].cause;
}

const char *convex_problem_fix(enum convex_problem problem)
{
    return problems[problem].fix;
}

static enum convex_problem problem_of_refusal(enum service_refusal refusal)
{
    static const enum convex_problem found[] = {
        [REFUSAL_NONE] = PROBLEM_FUNCTION,
        [REFUSAL_TOKEN_INVALID] = PROBLEM_TOKEN,
        [REFUSAL_TOKEN_NOT_CONFIGURED] = PROBLEM_NO_TOKEN,
        [REFUSAL_ACCOUNT_MISMATCH] = PROBLEM_OTHER_ACCOUNT,
        [REFUSAL_ACCOUNT_UNKNOWN] = PROBLEM_NO_ACCOUNT,
        [REFUSAL_ARGUMENTS_INVALID] = PROBLEM_NO_ACCOUNT,
        [REFUSAL_FUNCTION_UNKNOWN] = PROBLEM_OTHER_BACKEND,
        [REFUSAL_UNEXPLAINED] = PROBLEM_HIDDEN,
    };
    return found[refusal];
}

static enum convex_problem problem_of_transport(const struct http_response *answer)
{
    if (answer->failure == HTTP_NO_MEMORY || answer->failure == HTTP_TOO_LARGE)
        return PROBLEM_NONE;
    if (answer->short_of_descriptors)
        return PROBLEM_DESCRIPTORS;
    if (answer->step == HTTP_STEP_LOOKUP)
        return PROBLEM_NAME;
    if (answer->step == HTTP_STEP_CONNECT)
        return PROBLEM_CONNECTION;
    if (answer->step == HTTP_STEP_TLS)
        return answer->certificate_refused ? PROBLEM_CERTIFICATE : PROBLEM_TLS;
    return answer->failure == HTTP_TIMED_OUT ? PROBLEM_SILENCE : PROBLEM_SERVER;
}

enum convex_problem convex_problem_find(
    enum convex_outcome outcome, const struct http_response *answer, const char *text)
{
    if (outcome == CONVEX_SUCCESS || outcome == CONVEX_ABORTED)
        return PROBLEM_NONE;
    if (outcome == CONVEX_FUNCTION_ERROR)
        return problem_of_refusal(service_refusal_parse(text));
    if (answer->failure != HTTP_ANSWERED)
        return problem_of_transport(answer);
    if (answer->status == 401 || answer->status == 403)
        return PROBLEM_LOGIN;
    return outcome == CONVEX_REJECTED || answer->status == 200 ? PROBLEM_URL : PROBLEM_SERVER;
}
