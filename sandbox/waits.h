/* Long polls of the control API: requests that wait for conditions. */
#ifndef SANDBOX_WAITS_H
#define SANDBOX_WAITS_H

#include <sys/queue.h>

#include "server.h"

struct sandbox;
struct wait;
TAILQ_HEAD(wait_list, wait);

/* Used by the server's thread only. */
struct waits {
    struct wait_list waiting;
};

void waits_init(struct waits *waits);

/* Answers GET /sandbox/wait when the conditions of its query are met, or at its timeout. */
void waits_begin(struct sandbox *sandbox, struct exchange *exchange);

/* Answers the requests whose conditions are met. */
void waits_check(struct sandbox *sandbox);

#endif
