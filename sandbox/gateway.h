/* The gateway's HTTP interface: OpenClaw's responses endpoint, model list and health. */
#ifndef SANDBOX_GATEWAY_H
#define SANDBOX_GATEWAY_H

#include "sandbox.h"

/* Limit on a request body; larger ones are refused with 413. */
enum { GATEWAY_BODY_LIMIT_BYTES = 20 * 1024 * 1024 };

/* Whether a path belongs to the gateway. */
bool gateway_has_path(const char *path);

/* Answers a request to one of these paths, immediately or later. */
void gateway_begin(struct sandbox *sandbox, struct exchange *exchange);

#endif
