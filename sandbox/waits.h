/* Requests of the control API that wait until something has happened. */
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

/* Answers GET /sandbox/wait when the conditions of its query hold, or its time is over. */
void waits_begin(struct sandbox *sandbox, struct exchange *exchange);

/* Lets those requests go whose conditions hold by now. */
void waits_look(struct sandbox *sandbox);

#endif
