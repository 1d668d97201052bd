/*
 * An address to listen on is not always one to connect to: one that stands for all interfaces
 * becomes the loopback address, IPv6 gets its brackets, and the '%' before an interface is escaped
 * (RFC 6874).
 */
#include "agent_tools/api_address.h"

#include <string.h>

static void append_url_host(struct text *text, const char *host)
{
    static const char *const all[] = {"0.0.0.0", "::", "0"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(host, all[i]) == 0)
            host = "127.0.0.1";
    if (strchr(host, ':') == NULL) {
        text_append(text, host);
        return;
    }
    size_t address_bytes = strcspn(host, "%");
    text_append(text, "[");
    text_append_bytes(text, host, address_bytes);
    if (host[address_bytes] == '%')
        text_printf(text, "%%25%s", host + address_bytes + 1);
    text_append(text, "]");
}

void agent_api_base_url(const struct config *config, unsigned port, struct text *text)
{
    if (config->task_status_base_url != NULL) {
        text_append(text, config->task_status_base_url);
        return;
    }
    text_append(text, "http://");
    append_url_host(text, config->health_host);
    text_printf(text, ":%u", port);
}
