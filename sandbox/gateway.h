/* The gateway's HTTP face: OpenClaw's responses endpoint, model list and health. */
#ifndef SANDBOX_GATEWAY_H
#define SANDBOX_GATEWAY_H

#include "sandbox.h"

/* The most a body may have. */
enum { GATEWAY_BODY_LIMIT_BYTES = 20 * 1024 * 1024 };

/* Whether a path is the gateway's. */
bool gateway_has_path(const char *path);

/* Answers a request to one of its paths, now or later. */
void gateway_begin(struct sandbox *sandbox, struct exchange *exchange);

#endif
