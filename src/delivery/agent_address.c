/*
 * Where deliveries and wake-ups send to. The two versions of the backend differ in how they name
 * sessions: v0 names them as the gateway wants them, v1's names have to be turned around
 * (delivery/session_key.h). Which agent is asked, and whether another one stands in for it, is the
 * same for both (gateway/roster.h).
 *
 * Under v1's names two agents can meet in one session if their slugs are alike, so such agents are
 * found before they are asked. The roster knows those of the last list; a slug that is wrong by
 * itself is found even if the agent is newer than that.
 */
#include "delivery/agent_address.h"

#include "delivery/session_key.h"

bool session_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, enum backend_version version, const char *slug,
    const char *session_key)
{
    if (version != BACKEND_V1 || session_key == NULL || session_key[0] == '\0')
        return agent_address_make(address, config, roster, slug, session_key);
    const char *fallback = config->fallback_agent;
    bool stands_in = agent_address_begin(address, config, roster, slug);
    session_key_append(&address->session_key, session_key, slug, stands_in ? fallback : NULL);
    address->unusable =
        slug_check(slug, fallback) != SLUG_USABLE || gateway_roster_is_unusable(roster, slug);
    return !address->session_key.failed;
}
