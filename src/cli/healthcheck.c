/*
 * The command healthcheck: one GET of /health on the runtime that runs with the same settings, for
 * images without curl. Container engines run it every few seconds, so it has to be cheap and
 * bounded: plain HTTP without a certificate store, no retries, 5 s at most.
 *
 * "degraded" is status 0 as well. The runtime is alive then and keeps retrying by itself;
 * restarting it would only abort runs.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "http/client.h"

enum { TIMEOUT_MS = 5000, RESPONSE_LIMIT_BYTES = 1024 * 1024 };

static const atomic_bool never_aborted = false;

static bool is_any_ipv4(const char *host)
{
    struct in_addr address;
    return inet_pton(AF_INET, host, &address) == 1 && address.s_addr == htonl(INADDR_ANY);
}

static bool is_any_ipv6(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, host, &address) == 1 &&
           memcmp(&address, &in6addr_any, sizeof address) == 0;
}

/* The zone of a link-local address follows a '%', which has to be escaped in a URL (RFC 6874). */
static void append_ipv6(struct text *url, const char *host)
{
    size_t address_bytes = strcspn(host, "%");
    text_append(url, "[");
    text_append_bytes(url, host, address_bytes);
    if (host[address_bytes] == '%')
        text_printf(url, "%%25%s", host + address_bytes + 1);
    text_append(url, "]");
}

void healthcheck_append_url(struct text *url, const char *host, unsigned port)
{
    text_append(url, "http://");
    if (is_any_ipv4(host))
        text_append(url, "127.0.0.1");
    else if (is_any_ipv6(host))
        text_append(url, "[::1]");
    else if (strchr(host, ':') != NULL)
        append_ipv6(url, host);
    else
        text_append(url, host);
    text_printf(url, ":%u/health", port);
}

static int report_unhealthy(const char *url, const char *reason)
{
    fprintf(stderr, "mission-control-runtime: healthcheck: %s: %s\n", url, reason);
    return EXIT_FAILURE;
}

static bool is_degraded(const struct http_response *answer)
{
    json_t *body = NULL;
    if (json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL) != 0)
        return false;
    const char *status = json_guard_string(body, "status");
    bool degraded = status != NULL && strcmp(status, "degraded") == 0;
    json_decref(body);
    return degraded;
}

static int judge_health_answer(const char *url, const struct http_response *answer)
{
    if (answer->failure != HTTP_ANSWERED)
        return report_unhealthy(url, answer->reason);
    if (answer->status != 200) {
        char reason[64];
        snprintf(reason, sizeof reason, "answered with status %d, not 200", answer->status);
        return report_unhealthy(url, reason);
    }
    puts(is_degraded(answer) ? "degraded" : "healthy");
    return EXIT_SUCCESS;
}

static int request_health(const char *url)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = RESPONSE_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true,
    };
    struct http_client *client;
    struct http_response answer;
    struct error error;
    if (http_client_library_start(&error) != 0)
        return report_unhealthy(url, error.text);
    int status = EXIT_FAILURE;
    /* Without a certificate store, which takes longer to load than the request takes. */
    if (http_client_create(&client, NULL, &never_aborted, &error) != 0) {
        report_unhealthy(url, error.text);
    } else {
        http_client_perform(client, &request, &answer);
        status = judge_health_answer(url, &answer);
        http_client_destroy(client);
    }
    http_client_library_stop();
    return status;
}

int command_healthcheck(const struct config *config)
{
    if (config->health_port == 0)
        return report_unhealthy("HEALTH_PORT is 0",
            "the runtime then picks a free port, which cannot be known here; set a port");
    struct text url = {0};
    healthcheck_append_url(&url, config->health_host, config->health_port);
    int status =
        url.failed ? report_unhealthy("/health", "out of memory") : request_health(url.data);
    text_fini(&url);
    return status;
}
