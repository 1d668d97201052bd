/* Whether a gateway takes tools of its clients, and in which form (docs/protocol.md, "Tools"). */
#ifndef GATEWAY_DIALECT_H
#define GATEWAY_DIALECT_H

#include <stdint.h>

#include "base/log.h"
#include "http/client.h"

enum tool_dialect {
    DIALECT_UNKNOWN, /* not asked yet, or no clear answer */
    DIALECT_NONE,    /* it takes none that reach an agent */
    DIALECT_FLAT,    /* {"type":"function","name",...} */
    DIALECT_COUNT,
};

/* "unknown", "none", "flat". */
extern const char *const tool_dialect_words[DIALECT_COUNT];

/*
 * The body of the question: a run without any input, which no gateway begins, that offers a tool in
 * the flat form. agent_slug is an agent that the gateway has; "" leaves it to the gateway. The
 * caller frees it; NULL without memory.
 */
char *dialect_question(const char *agent_slug);

/* What the answer to that question says; DIALECT_UNKNOWN if it is not one. Allocates. Any thread.
 */
enum tool_dialect dialect_read(const struct http_response *answer);

struct gateway;
struct gateway_roster;

/*
 * Asks the gateway, and has the roster keep what it answers; says in the log what has changed. No
 * agent runs. trace may be NULL. Blocks up to timeout_ms. Any thread, each with its own client.
 * Only after the gateway has accepted the token: each try with a refused one brings a lockout
 * closer.
 */
void dialect_learn(struct gateway_roster *roster, const struct gateway *gateway,
    struct http_client *client, int64_t timeout_ms, const struct trace *trace);

#endif
