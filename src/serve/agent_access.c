/*
 * A session is known by what its key says, so nothing has to be remembered: the key names an agent
 * of the account's list and, if it has the backend's form, our account; and the tag behind it
 * proves that we told it to that agent (agent_tools/capability.h).
 *
 * A key can be read in two ways when a fallback agent answers for others (docs/protocol.md,
 * "Sessions and agents"), as the fallback may be an agent of the board itself. The tag decides
 * then, since the agent's id is part of it. Without tags the reading with the fallback goes first,
 * and only keys that name our account are taken.
 */
#include "serve/agent_access.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "delivery/session_key.h"

static bool ipv4_is_private(uint32_t address)
{
    static const struct {
        uint32_t network;
        unsigned bits;
    } networks[] = {
        {0x7F000000, 8},  /* 127/8 */
        {0x0A000000, 8},  /* 10/8 */
        {0xAC100000, 12}, /* 172.16/12 */
        {0xC0A80000, 16}, /* 192.168/16 */
        {0xA9FE0000, 16}, /* 169.254/16 */
    };
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if ((address ^ networks[i].network) >> (32 - networks[i].bits) == 0)
            return true;
    return false;
}

static bool ipv6_is_private(const struct in6_addr *address)
{
    const uint8_t *bytes = address->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(address))
        return ipv4_is_private((uint32_t)bytes[12] << 24 | (uint32_t)bytes[13] << 16 |
                               (uint32_t)bytes[14] << 8 | bytes[15]);
    return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_LINKLOCAL(address) ||
           (bytes[0] & 0xFE) == 0xFC;
}

bool peer_is_private(const struct sockaddr *peer)
{
    /* Copied, as the type of what peer points to is only known from its family. */
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    switch (peer->sa_family) {
    case AF_INET:
        memcpy(&ipv4, peer, sizeof ipv4);
        return ipv4_is_private(ntohl(ipv4.sin_addr.s_addr));
    case AF_INET6:
        memcpy(&ipv6, peer, sizeof ipv6);
        return ipv6_is_private(&ipv6.sin6_addr);
    default:
        return false;
    }
}

static bool account_is_ours(const struct agent_access *access, const struct session_key *key)
{
    const char *own = access->config->account_id;
    if (key->account.bytes == NULL)
        return access->config->agent_api_tags != 0;
    return key->account.length_bytes == strlen(own) &&
           strncasecmp(key->account.bytes, own, key->account.length_bytes) == 0;
}

/* session_key is the part of key_bytes before the tag, NUL-terminated. */
static bool check_reading(const struct agent_access *access, const char *session_key,
    const char *tag, enum session_key_reading reading, struct agent *agent)
{
    struct session_key key;
    return session_key_parse(
               session_key, strlen(session_key), reading, access->config->fallback_agent, &key) &&
           account_is_ours(access, &key) &&
           wake_schedule_find_slug(
               access->schedule, key.slug.bytes, key.slug.length_bytes, agent) &&
           (access->config->agent_api_tags == 0 ||
               capability_check(access->capability, session_key, agent->id, tag));
}

bool agent_access_check(const struct agent_access *access, const char *credential,
    struct agent *agent, size_t *key_bytes)
{
    const char *separator = strrchr(credential, '~');
    *key_bytes = separator != NULL ? (size_t)(separator - credential) : strlen(credential);
    if (separator == NULL && access->config->agent_api_tags != 0)
        return false;
    char *session_key = strndup(credential, *key_bytes);
    if (session_key == NULL)
        return false;
    const char *tag = separator != NULL ? separator + 1 : "";
    bool known = check_reading(access, session_key, tag, KEY_OF_FALLBACK, agent) ||
                 check_reading(access, session_key, tag, KEY_OF_AGENT, agent);
    free(session_key);
    return known;
}
