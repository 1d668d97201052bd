/* The client for the OpenClaw gateway: runs agents, probes the gateway, lists its agents. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <jansson.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/dialect.h"
#include "http/client.h"

/* The gateway's address and token. Shared by all threads. */
struct gateway;

/* How a send ended (docs/protocol.md, "Gateway answers"). */
enum gateway_outcome {
    GATEWAY_REPLIED,       /* the run completed; body is set */
    GATEWAY_DISABLED,      /* no gateway is configured */
    GATEWAY_UNREACHABLE,   /* not a byte of the request went out */
    GATEWAY_MISCONFIGURED, /* token, URL or endpoint is wrong; for retry_after_ms if that is set */
    GATEWAY_BUSY,          /* draining, or this agent is rate-limited, for retry_after_ms */
    GATEWAY_REFUSED,       /* this request was refused before a run began */
    GATEWAY_FAILED_RUN,    /* the agent ran and failed, or its answer cannot be read */
    GATEWAY_AMBIGUOUS,     /* the request went out, and nothing proves that the agent did not run */
    GATEWAY_ABORTED,       /* by the shutdown, or a breaker that has opened; see sent for a run */
};

/* A message to an agent's session. All of it is borrowed; the input is spent, see there. */
struct gateway_message {
    const char *session_key;
    const char *agent_slug;   /* "" leaves the agent to the gateway's default */
    const char *instructions; /* NULL: none, which is not "" */
    struct text *input;  /* freed once it has been written into the request, as runs are long */
    const json_t *items; /* array that is sent as the input in place of the text; NULL: none */
    const char *const *tools;  /* JSON, ended by NULL (docs/protocol.md, "Tools"); NULL: none */
    int64_t timeout_ms;        /* from the call to the last byte of the answer */
    const struct trace *trace; /* the trace it belongs to; NULL for none */
};

struct gateway_result {
    enum gateway_outcome outcome;
    json_t *body; /* the caller's; NULL unless GATEWAY_REPLIED */
    int64_t retry_after_ms;
    bool draining;      /* GATEWAY_BUSY for everybody, not just for this agent */
    bool incomplete;    /* GATEWAY_REPLIED with a run that ended before its time */
    bool timed_out;     /* after something was sent; of a probe, also before that */
    bool tools_collide; /* GATEWAY_REFUSED for a tool whose name is one of the gateway's own */
    bool sent;
    int status;         /* of the answer; 0 when there was none */
    struct error error; /* why it is not GATEWAY_REPLIED; holds no secrets */
};

/*
 * Creates a client; copies its arguments. url "" creates one that is disabled; with token NULL or
 * "" no Authorization header is sent. The caller destroys *gateway. ERROR_NO_MEMORY.
 */
int gateway_create(
    struct gateway **gateway, const char *url, const char *token, struct error *error);
void gateway_destroy(struct gateway *gateway);

/* Whether it was created with a URL. Any thread; pure. */
bool gateway_is_enabled(const struct gateway *gateway);

/*
 * Exchanges the token for *token, as secret_exchange (base/secret.h). Requests in flight keep the
 * old one. Any thread; takes a lock briefly; cannot fail.
 */
bool gateway_exchange_token(struct gateway *gateway, char **token);

/*
 * Posts one message and fills *result, whose body the caller releases. At most one
 * request goes out, whatever happens. Blocks until answer, timeout or abort. Any thread, each with
 * its own client.
 */
void gateway_send(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, struct gateway_result *result);

/*
 * Interprets an answer to a send: fills outcome, body and error of *result. A body that is not JSON
 * is not kept. Allocates; otherwise pure.
 */
void gateway_classify(const struct http_response *answer, struct gateway_result *result);

/*
 * Posts an empty object to the endpoint for runs, with the token, and fills *result as gateway_send
 * does; no agent runs. GATEWAY_REPLIED means that the gateway accepts our requests (it answers 400,
 * as a rule), GATEWAY_UNREACHABLE also that no answer came in time; result->body stays NULL. trace
 * may be NULL. Blocks up to timeout_ms. Any thread, each with its own client.
 */
void gateway_probe(const struct gateway *gateway, struct http_client *client, int64_t timeout_ms,
    const struct trace *trace, struct gateway_result *result);

/* Which releases differ in what matters to us (docs/protocol.md, "OpenClaw gateway"). */
enum gateway_generation {
    GATEWAY_UNKNOWN, /* not asked yet, or no clear answer */
    GATEWAY_OLD,     /* sends a failed model call as the agent's words */
    GATEWAY_CURRENT, /* answers a failed model call with a failed run */
};

enum { GATEWAY_RELEASE_BYTES = 64 };

struct gateway_release {
    enum gateway_generation generation;
    char version[GATEWAY_RELEASE_BYTES]; /* "" while it is not known */
};

/*
 * Asks GET /startupz, which only current releases answer, and fills *release. trace may be NULL.
 * Blocks up to timeout_ms. Any thread, each with its own client.
 */
void gateway_release_fetch(const struct gateway *gateway, struct http_client *client,
    int64_t timeout_ms, const struct trace *trace, struct gateway_release *release);

/*
 * Asks whether the gateway takes tools (gateway/dialect.h); no agent runs. agent_slug is an agent
 * that it has, or "". DIALECT_UNKNOWN without a clear answer. *status becomes the answer's, 0 for
 * none. trace may be NULL. Blocks up to timeout_ms. Any thread, each with its own client.
 */
enum tool_dialect gateway_dialect_fetch(const struct gateway *gateway, struct http_client *client,
    const char *agent_slug, int64_t timeout_ms, const struct trace *trace, int *status);

/* The agents that the gateway has. */
struct gateway_models {
    bool unsupported; /* 404: an older release without such a list */
    bool known;       /* false: there is no list, so every agent counts as present */
    json_t *list;     /* owned array of strings, as the gateway spells them; NULL unless known */
};

/*
 * Reads the list of models, in which an agent is "openclaw/<agent>", and fills *models, which the
 * caller ends with gateway_models_fini. trace may be NULL. Blocks up to timeout_ms. Any thread,
 * each with its own client.
 */
void gateway_models_fetch(const struct gateway *gateway, struct http_client *client,
    int64_t timeout_ms, const struct trace *trace, struct gateway_models *models);
void gateway_models_fini(struct gateway_models *models);

#endif
