/* Sends a message to an agent's session at the OpenClaw gateway and tells how that ended. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <jansson.h>

#include "base/error.h"
#include "base/log.h"
#include "http/client.h"

/* Where the gateway is and how to be let in. Shared by all threads. */
struct gateway;

/* What became of a send (contract openclaw-gateway, sections 1.3 and 5). */
enum gateway_outcome {
    GATEWAY_REPLIED,       /* the run ended well; body is there */
    GATEWAY_DISABLED,      /* no gateway is configured */
    GATEWAY_UNREACHABLE,   /* not a byte of the request went out */
    GATEWAY_MISCONFIGURED, /* 401, 403, 404 or a redirect: token, URL or endpoint is wrong */
    GATEWAY_BUSY,          /* draining or rate-limited; retry_after_ms says for how long */
    GATEWAY_REFUSED,       /* another error from before a run */
    GATEWAY_FAILED_RUN,    /* the agent ran and failed, or its answer cannot be read */
    GATEWAY_AMBIGUOUS,     /* the request went out and no answer came: it may have run */
    GATEWAY_ABORTED,       /* the stop cut it off; sent tells whether it may have run */
};

struct gateway_message {
    const char *session_key;
    const char *agent_slug; /* "" leaves the agent to the gateway's default */
    const char *input;
    size_t input_bytes;
    int64_t timeout_ms;        /* headers and body together */
    const struct trace *trace; /* what the request belongs to; NULL for nothing */
};

struct gateway_result {
    enum gateway_outcome outcome;
    json_t *body; /* owned; only with GATEWAY_REPLIED, else NULL */
    int64_t retry_after_ms;
    bool timed_out;
    bool sent;
    int status;         /* of the answer, 0 when there is none */
    struct error error; /* why not GATEWAY_REPLIED, without secrets */
};

/* Drops the body; may be called twice. */
void gateway_result_fini(struct gateway_result *result);

/*
 * Copies what it is given; url "" makes a gateway that is disabled, token NULL or "" sends no
 * Authorization header. The caller destroys *gateway. ERROR_NO_MEMORY.
 */
int gateway_create(
    struct gateway **gateway, const char *url, const char *token, struct error *error);
void gateway_destroy(struct gateway *gateway);

/* Whether it has a URL: false for one made with "". Any thread; pure. */
bool gateway_is_enabled(const struct gateway *gateway);

/*
 * Exchanges the token for *token, as secret_exchange (remote/secret.h). Requests that are under way
 * go on with the old one. Any thread; a short lock; cannot fail.
 */
bool gateway_exchange_token(struct gateway *gateway, char **token);

/*
 * Posts one message and fills *result. Exactly one request goes out, on a connection of its own
 * (libcurl would repeat a POST on a reused one). Blocks until answer, timeout or abort. Any thread,
 * each with its own client.
 */
void gateway_send(const struct gateway *gateway, struct http_client *client,
    const struct gateway_message *message, struct gateway_result *result);

/*
 * Says what an answer of the gateway means, without its body when that is not JSON: fills outcome,
 * body and error of *result. Pure but for memory.
 */
void gateway_classify(const struct http_response *answer, struct gateway_result *result);

/*
 * Whether that is one of the statuses by which a proxy says that what is behind it is not there: of
 * RFC 9110, or one of those that content delivery networks have made for it. Pure.
 */
bool gateway_is_absent_by(int status);

/* Questions to the gateway that run no agent (contract openclaw-gateway, sections 1.2 and 1.5). */

/* Who asks, for how long, and for what. Borrowed. */
struct gateway_inquiry {
    struct http_client *client;
    int64_t timeout_ms;
    const struct trace *trace; /* NULL for nothing */
};

/*
 * Posts an empty object to the endpoint of the runs, with the token, and fills *result as
 * gateway_send does. GATEWAY_REPLIED means that the gateway looked at the request and therefore
 * takes ours (400, as a rule), GATEWAY_UNREACHABLE also that it did not answer in time;
 * result->body stays NULL. Blocks up to timeout_ms. Any thread, each with its own client.
 */
void gateway_probe(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_result *result);

/* The agents that the gateway knows. */
struct gateway_models {
    bool unsupported; /* 404: an older release, which has no such list */
    bool known;       /* false: it did not say, so every agent counts as known */
    json_t *list;     /* array of strings as the gateway spells them; owned; NULL unless known */
};

/*
 * Reads the list of models and fills *models, which the caller ends with gateway_models_fini. An
 * agent is there as "openclaw/<agent>". Blocks up to timeout_ms. Any thread, each with its own
 * client.
 */
void gateway_models_fetch(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_models *models);
void gateway_models_fini(struct gateway_models *models);

/* Whether the gateway has the agent, in any spelling of case; true when it did not say. */
bool gateway_models_have(const struct gateway_models *models, const char *agent_slug);

#endif
