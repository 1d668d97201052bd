/* Session keys at the gateway for the sessions that a v1 backend names. */
#ifndef DELIVERY_SESSION_KEY_H
#define DELIVERY_SESSION_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/convex.h"
#include "backend/service.h"
#include "base/text.h"
#include "config/config.h"
#include "gateway/roster.h"

/*
 * Appends the key under which the backend's session backend_key is addressed at the gateway, for
 * the agent that is now called slug (docs/protocol.md, "Sessions and agents"). With a
 * fallback_agent, which answers for an agent that the gateway lacks, the key is in that agent's
 * name; NULL for none. wire->failed tells that memory ran out. Pure.
 */
void session_key_append(
    struct text *wire, const char *backend_key, const char *slug, const char *fallback_agent);

/* A key on the wire, taken apart; both point into it. */
struct session_key {
    struct text_span slug;
    struct text_span account; /* bytes NULL: the key is not of the backend's form and names none */
};

/* The agent comes first in a key, or second after the fallback agent that answers for it. */
enum session_key_reading { KEY_OF_AGENT, KEY_OF_FALLBACK };

/*
 * Takes apart the key of wire_bytes under one of the readings; a key may have both. False when it
 * cannot be read so. Pure.
 */
bool session_key_parse(const char *wire, size_t wire_bytes, enum session_key_reading reading,
    const char *fallback_agent, struct session_key *key);

/* Why an agent must not be asked under its slug: it could share a session with another. */
enum slug_problem {
    SLUG_USABLE,
    SLUG_MALFORMED, /* empty, or has a character that separates the parts of keys or headers */
    SLUG_RESERVED,  /* a word that keys, the gateway or the fallback agent use themselves */
    SLUG_SHARED,    /* another agent has it, in whatever case */
};

/* Their words in the log and in JSON documents; NULL for SLUG_USABLE. */
extern const char *const slug_problem_words[];

/*
 * What is wrong with a slug by itself. fallback_agent is the one that is configured; NULL for none.
 * Pure.
 */
enum slug_problem slug_check(const char *slug, const char *fallback_agent);

/* Whether two slugs are the same to the gateway, which ignores case. Pure. */
bool slugs_are_same(const char *one, const char *other);

/*
 * What is wrong with the slug of the agent at index in the account's list of all agents. Pure;
 * takes time in proportion to the list.
 */
enum slug_problem slug_check_among(
    const struct agent_list *agents, size_t index, const char *fallback_agent);

/*
 * Derives the address of a session: session_key as a backend of that version names it, for the
 * agent that is now called slug. On v0, and without a session_key, it is agent_address_make
 * (gateway/roster.h). On v1 it also tells whether the agent is unusable, which must not be asked
 * then. The caller ends address->session_key. False without memory. Any thread; briefly takes the
 * roster's lock.
 */
bool session_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, enum backend_version version, const char *slug,
    const char *session_key);

#endif
