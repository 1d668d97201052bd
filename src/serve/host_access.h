/* By which names the HTTP server may be asked, against DNS rebinding (base/host.h). */
#ifndef SERVE_HOST_ACCESS_H
#define SERVE_HOST_ACCESS_H

#include <stdbool.h>

#include "config/config.h"
#include "http/server.h"

#define HOST_REFUSAL                                                                     \
    "Misdirected Request: this is not one of the runtime's names; if it should be, add " \
    "it to HEALTH_ALLOWED_HOSTS"

/*
 * Whether the request's host may be ours: an address, a name without a dot, HEALTH_HOST, the host
 * of TASK_STATUS_BASE_URL, or one of HEALTH_ALLOWED_HOSTS. Also true for a request without a host,
 * which no browser sends. Pure.
 */
bool host_access_check(const struct config *config, const struct http_server_request *request);

/* Logs that the request, for that path, got HOST_REFUSAL. Blocks as the log does. */
void host_access_log_refusal(const struct http_server_request *request, const char *component);

#endif
