/* Requests that a simulated agent makes itself, to the agents' HTTP API, where it has no tools. */
#ifndef SANDBOX_AGENT_ERRAND_H
#define SANDBOX_AGENT_ERRAND_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "server.h"

/* What an agent was told about the API. */
struct errand_access {
    char base_url[256];
    char session_key[512];
};

/* Finds the API's base URL and the session key in what an agent was told; NULL: nothing. Pure. */
bool agent_errand_find_access(const char *told, struct errand_access *access);

/* Stores the path of the endpoint for a tool, whether or not there is one. Pure. */
enum { ERRAND_PATH_BYTES = 80 };
void agent_errand_path(const char *tool, char path[static ERRAND_PATH_BYTES]);

struct agent_errand;

TAILQ_HEAD(agent_errand_list, agent_errand);

/* All errands. Used by the server's thread only. */
struct agent_errands {
    struct agent_errand_list list;
    int wake_descriptor; /* an eventfd, readable when an errand has ended */
};

void agent_errands_init(struct agent_errands *errands);

/* Goes on with the requests whose errands have ended; for when wake_descriptor is readable. */
void agent_errands_check(struct agent_errands *errands);

/* Aborts what is under way and waits for it, about a second at most. */
void agent_errands_fini(struct agent_errands *errands);

/*
 * Makes a request for each of calls, an array of {name, arguments}, one after the other in a thread
 * of its own, and calls then(exchange, argument) when all are done or the client is gone. Never
 * blocks. End it with agent_errand_end before the exchange is freed.
 */
struct agent_errand *agent_errand_begin(struct agent_errands *errands,
    const struct errand_access *access, const json_t *calls, struct exchange *exchange,
    exchange_function then, void *argument);

/*
 * The answers in order, as a new array of texts; shorter than the calls where the errand was not
 * finished.
 */
json_t *agent_errand_answers(const struct agent_errand *errand);

/* Forgets an errand, which is aborted if it is under way. NULL is allowed. */
void agent_errand_end(struct agent_errand *errand);

#endif
