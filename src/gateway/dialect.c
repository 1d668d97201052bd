/*
 * Finds out whether the gateway hands tools of its clients to its agents.
 *
 * No release tells it in so many words, but each checks a request in the same order before it runs
 * anything: the token, the body's form, the agent, and at last whether there is a message at all.
 * So a request that has one tool in the flat form and an empty input runs no agent, and the
 * complaint in the answer shows how far it came:
 *
 *   400, about the tools       its form of tools is another, which never reaches an agent: none
 *   400, about anything else   the tool passed: flat
 *   a response resource        an agent may have run after all: none, so as not to ask again
 *   anything else              unknown: busy, late, the token is refused, or a proxy's words
 *
 * The prober asks after each probe that was accepted, thus before the circuit closes, and has
 * little time for it. If that brings no answer, the agent syncer asks again with more time, a few
 * times. The roster keeps the answer, and what it knew if there is none. No thread of its own; the
 * question blocks its caller and is the only thing here that does.
 */
#include "gateway/dialect.h"

#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"

static const char component[] = "Gateway";

const char *const tool_dialect_words[DIALECT_COUNT] = {
    [DIALECT_UNKNOWN] = "unknown",
    [DIALECT_NONE] = "none",
    [DIALECT_FLAT] = "flat",
};

char *dialect_question(const char *agent_slug)
{
    const char *separator = agent_slug[0] != '\0' ? ":" : "";
    json_t *body = json_pack("{s:s++, s:s, s:[{s:s, s:s}]}", "model", "openclaw", separator,
        agent_slug, "input", "", "tools", "type", "function", "name", "probe");
    char *written = json_write(body);
    json_decref(body);
    return written;
}

/* Whether a complaint, which begins with the path of what is wrong, is about the tools. */
static bool is_about_tools(const char *message)
{
    static const char subject[] = "tools";
    static const char unknown_key[] = ": Unrecognized key: \"tools\"";
    size_t length = sizeof subject - 1;
    if (strncmp(message, unknown_key, sizeof unknown_key - 1) == 0)
        return true;
    return strncmp(message, subject, length) == 0 && strchr(".:[", message[length]) != NULL;
}

/* What a complaint says, which is an error of the gateway's with a message. */
static enum tool_dialect read_complaint(const json_t *body)
{
    const char *message = json_guard_string(json_object_get(body, "error"), "message");
    if (message == NULL)
        return DIALECT_UNKNOWN;
    return is_about_tools(message) ? DIALECT_NONE : DIALECT_FLAT;
}

enum tool_dialect dialect_read(const struct http_response *answer)
{
    json_t *body = NULL;
    enum tool_dialect dialect = DIALECT_UNKNOWN;
    if (answer->failure != HTTP_ANSWERED)
        return DIALECT_UNKNOWN;
    json_guard_load(answer->body.bytes, answer->body.length_bytes, &body, NULL);
    if (answer->status == 400)
        dialect = read_complaint(body);
    else if (json_guard_is(body, "object", "response", ""))
        dialect = DIALECT_NONE;
    json_decref(body);
    return dialect;
}

static void log_dialect(enum tool_dialect dialect)
{
    if (dialect == DIALECT_FLAT)
        log_info(component, "the gateway takes tools for its agents");
    else if (dialect == DIALECT_NONE)
        log_info(component, "the gateway takes no tools for its agents");
}

void dialect_learn(struct gateway_roster *roster, const struct gateway *gateway,
    struct http_client *client, int64_t timeout_ms, const struct trace *trace)
{
    char agent[ID_BYTES];
    gateway_roster_first_agent(roster, agent);
    enum tool_dialect dialect = gateway_dialect_fetch(gateway, client, agent, timeout_ms, trace);
    if (gateway_roster_set_dialect(roster, dialect))
        log_dialect(dialect);
}
