/* The backend's HTTP interface: Convex's function-call API. */
#ifndef SANDBOX_BACKEND_H
#define SANDBOX_BACKEND_H

#include "sandbox.h"

/* Limit on a request body; larger ones are refused. */
enum { BACKEND_BODY_LIMIT_BYTES = 16 * 1024 * 1024 + 2000 };

/* Whether a path belongs to the backend. */
bool backend_has_path(const char *path);

/* Answers a request to one of these paths, immediately or later. */
void backend_begin(struct sandbox *sandbox, struct exchange *exchange);

#endif
