#include "command/verdict.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { DATE_STEP_MS = 1000, CLOCK_WARN_MS = 30 * 1000, CLOCK_FAIL_MS = 5 * 60 * 1000 };

int64_t verdict_clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms)
{
    int64_t latest_ms = date_ms + DATE_STEP_MS - 1;
    if (before_ms > latest_ms)
        return before_ms - latest_ms;
    return after_ms < date_ms ? after_ms - date_ms : 0;
}

enum report_result verdict_clock(int64_t ahead_ms)
{
    int64_t off_ms = ahead_ms < 0 ? -ahead_ms : ahead_ms;
    if (off_ms > CLOCK_FAIL_MS)
        return REPORT_FAIL;
    return off_ms > CLOCK_WARN_MS ? REPORT_WARN : REPORT_OK;
}

/* 127.0.0.0/8, and the address that means this machine where there is nothing to listen. */
static bool is_loopback_ipv4(struct text_span host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    snprintf(text, sizeof text, "%.*s", (int)host.length_bytes, host.bytes);
    if (host.length_bytes >= sizeof text || inet_pton(AF_INET, text, &address) != 1)
        return false;
    return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET || address.s_addr == htonl(INADDR_ANY);
}

bool verdict_is_near(const struct url *url)
{
    struct text_span host = url->host;
    bool is_ipv6 = memchr(host.bytes, ':', host.length_bytes) != NULL;
    if (is_ipv6)
        return url_host_is(url, "::1");
    if (memchr(host.bytes, '.', host.length_bytes) == NULL)
        return true;
    return is_loopback_ipv4(host) || url_host_ends_with(url, ".localhost") ||
           url_host_is(url, "host.docker.internal");
}

static bool ends_with(const char *text, const char *ending)
{
    size_t text_bytes = strlen(text);
    size_t ending_bytes = strlen(ending);
    return text_bytes >= ending_bytes && strcmp(text + text_bytes - ending_bytes, ending) == 0;
}

enum verdict_refusal verdict_refusal(const char *text)
{
    static const struct {
        const char *words;
        enum verdict_refusal refusal;
    } texts[] = {
        {"Invalid service token", REFUSAL_TOKEN_WRONG},
        {"Account has no service token configured", REFUSAL_TOKEN_NOT_SET_UP},
        {"Service token does not match account", REFUSAL_OTHER_ACCOUNT},
        {"Account does not exist", REFUSAL_NO_ACCOUNT},
        {"ArgumentValidationError", REFUSAL_NO_ACCOUNT},
        {"Could not find public function", REFUSAL_NO_BACKEND},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strstr(text, texts[i].words) != NULL)
            return texts[i].refusal;
    return ends_with(text, "Server Error") ? REFUSAL_HIDDEN : REFUSAL_OTHERWISE;
}
