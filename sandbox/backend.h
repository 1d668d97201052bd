/* The backend's HTTP face: Convex's function-call API. */
#ifndef SANDBOX_BACKEND_H
#define SANDBOX_BACKEND_H

#include "sandbox.h"

/* The most a body may have. */
enum { BACKEND_BODY_LIMIT_BYTES = 16 * 1024 * 1024 + 2000 };

/* Whether a path is the backend's. */
bool backend_has_path(const char *path);

/* Answers a request to one of its paths, now or later. */
void backend_begin(struct sandbox *sandbox, struct exchange *exchange);

#endif
