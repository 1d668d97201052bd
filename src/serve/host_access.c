/*
 * What is read or changed through a browser must have been asked for under a name of ours
 * (base/host.c tells why). Probes and metrics are answered under any name: monitoring reaches them
 * by names that we do not know, and what they tell is worth nothing to a page.
 *
 * Names are compared as they are written; nothing is looked up, so the check cannot block and no
 * answer of the DNS can change it.
 */
#include "serve/host_access.h"

#include <string.h>

#include "base/host.h"
#include "base/log.h"
#include "config/url.h"

static bool is_host_of_url(struct text_span name, const char *url_text)
{
    struct url url;
    return url_text != NULL && url_parse(url_text, &url) == NULL && host_is_same(name, url.host);
}

bool host_access_check(const struct config *config, const struct http_server_request *request)
{
    if (request->authority.bytes == NULL)
        return true;
    struct text_span name = host_name(request->authority);
    const struct text_span listening = {config->health_host, strlen(config->health_host)};
    return !host_is_domain(name) || host_is_same(name, listening) ||
           is_host_of_url(name, config->task_status_base_url) ||
           (config->health_allowed_hosts != NULL &&
               host_is_listed(name, config->health_allowed_hosts));
}

void host_access_log_refusal(const struct http_server_request *request, const char *component)
{
    enum { HOST_BYTES = 256 };
    char host[HOST_BYTES];
    text_quote(host, sizeof host, request->authority.bytes, request->authority.length_bytes);
    /* The text is a constant, so that the log counts repetitions instead of writing each. */
    log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_TEXT("host", host)),
        "Refused a request for a host that is not one of ours; if it should be, add it to "
        "HEALTH_ALLOWED_HOSTS");
}
