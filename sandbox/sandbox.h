/* The state that the sandbox's roles share. */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_errand.h"
#include "agent_memory.h"
#include "call_log.h"
#include "counts.h"
#include "effects.h"
#include "faults.h"
#include "gateway_tools.h"
#include "options.h"
#include "recorder.h"
#include "server.h"
#include "store.h"
#include "timings.h"
#include "tool_log.h"
#include "waits.h"

/* How a model finds the tools of a request: the gateway's tools.toolSearch. */
enum tool_search {
    TOOL_SEARCH_ON,        /* its default: only by tool_call, once the model knows of them */
    TOOL_SEARCH_DIRECTORY, /* it sees them, and may search for others */
    TOOL_SEARCH_OFF,       /* it sees them all */
};

/* Settings that the control API can change at run time. */
struct settings {
    double gateway_latency_ms;
    bool hide_agents;           /* listAgents returns none, so that no agent is woken */
    bool redact;                /* the backend hides error texts, as production deployments do */
    bool rolled_back;           /* the functions are those of version 0; the board stays */
    bool gateway_draining;      /* answers 503 gateway_unavailable */
    bool gateway_disabled;      /* the responses endpoint is off: 404 */
    bool gateway_auth_delay;    /* repeated wrong tokens are answered with a delay */
    bool gateway_chatty;        /* agents also answer colleagues' thread updates */
    bool gateway_numbers;       /* replies end with the number of their run */
    bool timings;               /* record the timings of each notification (timings.h) */
    double gateway_input_bytes; /* bytes of each input that the recorder keeps */
    enum tool_dialect gateway_tools;
    enum tool_search gateway_tool_search;
    json_t *gateway_agents; /* array of agent ids, NULL: main and every agent of the board */
    char *runtime_url;      /* of the runtime's page; NULL: not known */
};

/* Used by the server's thread only. */
struct sandbox {
    struct options options;
    struct settings settings;
    struct store store;
    struct faults faults;
    struct counts counts;
    struct call_log call_log;
    struct effects effects;
    struct recorder recorder;
    struct agent_memories memories;
    struct agent_errands errands;
    struct tool_log tool_log;
    struct timings timings;
    uint64_t listed; /* total notifications returned by listUndeliveredNotifications */
    struct waits waits;
    unsigned auth_failures; /* consecutive, for gateway_auth_delay */
    int64_t started_ms;     /* monotonic */
    int64_t swept_ms;       /* monotonic, the last presence_sweep_if_due */
    double last_load_ms;    /* the last createdAt given to a loaded notification */
};

/* Initializes the sandbox and its board as the options say; takes the strings of options. */
void sandbox_init(struct sandbox *sandbox, struct options *options);
void sandbox_fini(struct sandbox *sandbox);

/* Restores the initial state; held requests are released. */
void sandbox_reset(struct sandbox *sandbox);

/* Returns the request handler for server_create. */
struct server_handler sandbox_handler(struct sandbox *sandbox);

/* The first account and its first user; NULL when they were deleted. */
struct document *sandbox_account(struct sandbox *sandbox);
struct document *sandbox_user(struct sandbox *sandbox);

#endif
