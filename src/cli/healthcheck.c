#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "http/client.h"

enum { TIMEOUT_MS = 5000, ANSWER_LIMIT_BYTES = 1024 * 1024 };

static const atomic_bool never = false;

static bool means_all_ipv4(const char *host)
{
    struct in_addr address;
    return inet_pton(AF_INET, host, &address) == 1 && address.s_addr == htonl(INADDR_ANY);
}

static bool means_all_ipv6(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, host, &address) == 1 &&
           memcmp(&address, &in6addr_any, sizeof address) == 0;
}

/* The zone of a link-local address follows a '%', which a URL has escaped (RFC 6874). */
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
    if (means_all_ipv4(host))
        text_append(url, "127.0.0.1");
    else if (means_all_ipv6(host))
        text_append(url, "[::1]");
    else if (strchr(host, ':') != NULL)
        append_ipv6(url, host);
    else
        text_append(url, host);
    text_printf(url, ":%u/health", port);
}

static int refuse(const char *url, const char *words)
{
    fprintf(stderr, "mission-control-runtime: healthcheck: %s: %s\n", url, words);
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

static int judge(const char *url, const struct http_response *answer)
{
    if (answer->failure != HTTP_ANSWERED)
        return refuse(url, answer->reason);
    if (answer->status != 200) {
        char words[64];
        snprintf(words, sizeof words, "answered with status %d, not 200", answer->status);
        return refuse(url, words);
    }
    puts(is_degraded(answer) ? "degraded" : "healthy");
    return EXIT_SUCCESS;
}

/* Plain HTTP only, so that no store of authorities has to be loaded every few seconds. */
static int ask(const char *url)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = ANSWER_LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = true,
    };
    struct http_client *client;
    struct http_response answer;
    struct error error;
    if (http_client_library_start(&error) != 0)
        return refuse(url, error.text);
    int status = EXIT_FAILURE;
    if (http_client_create(&client, NULL, &never, &error) != 0) {
        refuse(url, error.text);
    } else {
        http_client_perform(client, &request, &answer);
        status = judge(url, &answer);
        http_client_destroy(client);
    }
    http_client_library_stop();
    return status;
}

int command_healthcheck(const struct config *config)
{
    if (config->health_port == 0)
        return refuse("HEALTH_PORT is 0",
            "the runtime takes any free port, so where to ask cannot be known; set a port");
    struct text url = {0};
    healthcheck_append_url(&url, config->health_host, config->health_port);
    int status = url.failed ? refuse("/health", "no memory to ask") : ask(url.data);
    text_fini(&url);
    return status;
}
