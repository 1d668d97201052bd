#include "base/clock.h"
#include "command/verdict.h"
#include "doctor_checks.h"

enum { ANSWER_LIMIT_BYTES = 1024 * 1024 };

void doctor_skip(struct doctor *doctor, const char *const names[], const char *failed)
{
    for (; *names != NULL; names++)
        report_add(&doctor->report, *names, REPORT_SKIP, NULL, "because %s failed", failed);
}

static void ask(struct doctor *doctor, const struct doctor_side *side, struct http_answer *answer)
{
    /* A Date from a cache would be an old one. */
    static const char *const headers[] = {"Cache-Control: no-cache", NULL};
    const struct http_request request = {
        .url = side->probe_url,
        .headers = headers,
        .timeout_ms = DOCTOR_TIMEOUT_MS,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
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
    else if (verdict_is_near(url))
        report_add(&doctor->report, name, REPORT_OK, NULL, "not used, and not needed so near by");
    else {
        char fix[128];
        snprintf(fix, sizeof fix, "use an https:// address in %s", side->option);
        report_add(&doctor->report, name, REPORT_WARN, fix,
            "not used: whoever is on the way can read everything that is sent, tokens included");
    }
}

static void pass_step(struct doctor *doctor, const struct doctor_side *side, enum http_step step,
    const struct url *url, const struct http_answer *answer)
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
    const struct http_answer *answer)
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
    struct http_answer answer;
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
