/* Under which session key and as which agent of the gateway an agent of the board is asked. */
#ifndef WORK_ADDRESS_H
#define WORK_ADDRESS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/id.h"
#include "base/text.h"
#include "remote/gateway_roster.h"

/* What addresses are made from; borrowed, shared by all workers, only read. */
struct directory {
    const char *account_id;
    const char *fallback_agent; /* NULL for none */
    struct gateway_roster *roster;
};

/* The caller ends it with address_fini, whether complete or not. */
struct address {
    struct text session_key;
    char agent_slug[ID_BYTES]; /* as the gateway knows it; "" leaves it to the gateway */
};

/*
 * Makes the address of an agent: the session key that it is given, or, when that is "", one built
 * as the backend builds it; for an agent that the gateway lacks the fallback agent's, if there is
 * one (contract openclaw-gateway, section 1.2). False without memory. Takes the roster's short
 * lock.
 */
bool address_of(struct address *address, const struct directory *directory, const char *slug,
    const char *session_key);

/* The same of an agent's document. */
bool address_of_agent(
    struct address *address, const struct directory *directory, const json_t *agent);
void address_fini(struct address *address);

#endif
