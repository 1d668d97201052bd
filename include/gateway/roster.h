/* Which agents the gateway has, and the address under which each agent of the board is asked. */
#ifndef GATEWAY_ROSTER_H
#define GATEWAY_ROSTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/containers.h"
#include "base/text.h"
#include "config/config.h"
#include "gateway/gateway.h"

struct gateway_roster;

/*
 * Creates a roster that has every agent until it is updated. The caller destroys it.
 * ERROR_NO_MEMORY.
 */
int gateway_roster_create(struct gateway_roster **roster, struct error *error);
void gateway_roster_destroy(struct gateway_roster *roster);

/*
 * Replaces the list by *models, which is empty afterwards. This and all functions below: any
 * thread; takes the lock briefly.
 */
void gateway_roster_update(struct gateway_roster *roster, struct gateway_models *models);

/* Stores the slugs of the account's agents that the gateway lacks; takes the reference. */
void gateway_roster_set_missing(struct gateway_roster *roster, json_t *missing);

/* A copy of those slugs, a new reference; NULL without memory. */
json_t *gateway_roster_missing(struct gateway_roster *roster);

/*
 * Stores which of the account's agents have a slug under which they must not be asked on v1: an
 * array of {slug, problem}; takes the reference, NULL for none.
 */
void gateway_roster_set_unusable(struct gateway_roster *roster, json_t *unusable);

/* A copy of that array, a new reference; NULL without memory. */
json_t *gateway_roster_unusable(struct gateway_roster *roster);

/* Whether the slug, in whatever case, is one of those. */
bool gateway_roster_is_unusable(struct gateway_roster *roster, const char *agent_slug);

/* Whether the gateway has the agent, ignoring case; true when there is no list. Pure. */
bool gateway_models_have(const struct gateway_models *models, const char *agent_slug);

/* Whether the gateway has the agent; true while that is not known. */
bool gateway_roster_has(struct gateway_roster *roster, const char *agent_slug);

/* Stores which release the gateway is, and tells it; GATEWAY_UNKNOWN until the first call. */
void gateway_roster_set_release(
    struct gateway_roster *roster, const struct gateway_release *release);
struct gateway_release gateway_roster_release(struct gateway_roster *roster);

/* The first agent that the gateway lists, as it spells it; "" when there is none. */
void gateway_roster_first_agent(struct gateway_roster *roster, char slug[static ID_BYTES]);

/*
 * Stores what the gateway answered about tools; DIALECT_UNKNOWN leaves what was known, but has
 * gateway_roster_asks_dialect say that it is to be asked again. Returns whether it has changed.
 */
bool gateway_roster_set_dialect(struct gateway_roster *roster, enum tool_dialect dialect);

/* What the gateway was last known to take; DIALECT_UNKNOWN until the first clear answer. */
enum tool_dialect gateway_roster_dialect(struct gateway_roster *roster);

/*
 * Whether the last question had no clear answer and is to be asked again. Counts that as done, and
 * is false after a few times until one has an answer, as none may come.
 */
bool gateway_roster_asks_dialect(struct gateway_roster *roster);

/*
 * The gateway has refused our tools because one has the name of its own:
 * gateway_roster_takes_tools is false until the circuit closes again. Says so in the log, once.
 */
void gateway_roster_note_collision(struct gateway_roster *roster);

/*
 * The circuit is about to close, on a gateway that may be configured differently: forgets a
 * collision, and how often the question about tools had no clear answer.
 */
void gateway_roster_begin_circuit(struct gateway_roster *roster);

/* Whether there was one. */
bool gateway_roster_has_collision(struct gateway_roster *roster);

/* Whether runs may be sent tools: the gateway takes them, and none of them collides. */
bool gateway_roster_takes_tools(struct gateway_roster *roster);

/* As whom an agent of the board is asked at the gateway. The caller ends session_key. */
struct agent_address {
    struct text session_key;
    char agent_slug[ID_BYTES]; /* at the gateway; "" leaves the agent to its default */
    bool unknown;              /* the gateway lacks the agent, and no other stands in for it */
    bool unusable;             /* another agent could be in that session: it must not be used */
    enum gateway_generation generation; /* of the gateway, as far as known */
};

/*
 * Fills in all of the address but session_key, which is empty. Returns whether the fallback agent
 * stands in for the agent.
 */
bool agent_address_begin(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, const char *slug);

/*
 * Derives the address of an agent: its session key, or one built as the backend builds it when that
 * is NULL or ""; for an agent that the gateway lacks, one of the fallback agent if config has one
 * (docs/protocol.md, "Sessions and agents"). False without memory.
 */
bool agent_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, const char *slug, const char *session_key);

#endif
