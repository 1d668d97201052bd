/* What the roles of the sandbox share. */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "counts.h"
#include "faults.h"
#include "options.h"
#include "recorder.h"
#include "server.h"
#include "store.h"
#include "timings.h"
#include "waits.h"

/* What the control API can change while requests come in. */
struct settings {
    double gateway_latency_ms;
    bool hide_agents;           /* the list of agents is empty, so that no agent is woken */
    bool redact;                /* the backend hides error texts, as production deployments do */
    bool gateway_draining;      /* answers 503 gateway_unavailable */
    bool gateway_disabled;      /* the responses endpoint is off: 404 */
    bool gateway_auth_delay;    /* repeated wrong tokens are answered late */
    bool gateway_chatty;        /* agents answer colleagues, too, instead of keeping silent */
    bool gateway_numbers;       /* replies end with the number of their run */
    bool timings;               /* note when each notification passes which point */
    double gateway_input_bytes; /* of each recorded input that are kept */
    json_t *gateway_agents;     /* array of agent ids, NULL: main and every agent of the board */
};

/* Used by the server's thread only. */
struct sandbox {
    struct options options;
    struct settings settings;
    struct store store;
    struct faults faults;
    struct counts counts;
    struct recorder recorder;
    struct timings timings;
    uint64_t listed; /* notifications in answers of listUndeliveredNotifications, all together */
    struct waits waits;
    unsigned auth_failures; /* in a row, for gateway_auth_delay */
    int64_t started_ms;     /* monotonic */
    double last_load_ms;    /* the last createdAt given to a loaded notification */
};

/* Sets everything up with the board that the options ask for; takes options' strings. */
void sandbox_init(struct sandbox *sandbox, struct options *options);
void sandbox_fini(struct sandbox *sandbox);

/* Back to the state after the start; requests that are held go on. */
void sandbox_reset(struct sandbox *sandbox);

/* The handler of every request, for server_create. */
struct server_handler sandbox_handler(struct sandbox *sandbox);

/* The first account and its first user; NULL when they were deleted. */
struct document *sandbox_account(struct sandbox *sandbox);
struct document *sandbox_user(struct sandbox *sandbox);

#endif
