/*
 * Against DNS rebinding: a page of an attacker's site can have its own name resolve to 127.0.0.1,
 * after which the browser takes our server for a part of that site and lets the page read what it
 * answers. The request gives it away, as browsers always send the name by which they came.
 *
 * Only names with a dot can be somebody else's: without one, a name is from this machine's hosts
 * file, its search domain, or the network of its containers. An address was not looked up at all.
 * Browsers send addresses in their usual form, so anything that only resembles one is a name.
 */
#include "base/host.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static struct text_span host_without_last_dot(struct text_span name)
{
    if (name.length_bytes > 1 && name.bytes[name.length_bytes - 1] == '.')
        name.length_bytes--;
    return name;
}

struct text_span host_name(struct text_span authority)
{
    const char *end = NULL;
    if (authority.length_bytes > 0 && authority.bytes[0] == '[') {
        end = memchr(authority.bytes, ']', authority.length_bytes);
        if (end != NULL)
            return (struct text_span){authority.bytes + 1, (size_t)(end - authority.bytes) - 1};
    }
    end = memchr(authority.bytes, ':', authority.length_bytes);
    if (end != NULL)
        authority.length_bytes = (size_t)(end - authority.bytes);
    return host_without_last_dot(authority);
}

/* An IPv6 address may name its interface after a '%'. */
static bool host_is_ip_address(struct text_span name)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    const char *interface = memchr(name.bytes, '%', name.length_bytes);
    size_t address_bytes = interface != NULL ? (size_t)(interface - name.bytes) : name.length_bytes;
    if (address_bytes >= sizeof text)
        return false;
    memcpy(text, name.bytes, address_bytes);
    text[address_bytes] = '\0';
    return inet_pton(AF_INET6, text, address) == 1 ||
           (interface == NULL && inet_pton(AF_INET, text, address) == 1);
}

bool host_is_domain(struct text_span name)
{
    return memchr(name.bytes, '.', name.length_bytes) != NULL && !host_is_ip_address(name);
}

bool host_is_same(struct text_span name, struct text_span other)
{
    name = host_without_last_dot(name);
    other = host_without_last_dot(other);
    return name.length_bytes == other.length_bytes &&
           strncasecmp(name.bytes, other.bytes, name.length_bytes) == 0;
}

bool host_is_listed(struct text_span name, const char *list)
{
    static const char separators[] = ", \t";
    for (const char *at = list + strspn(list, separators); *at != '\0';
         at += strspn(at, separators)) {
        struct text_span item = {at, strcspn(at, separators)};
        if (host_is_same(name, item))
            return true;
        at += item.length_bytes;
    }
    return false;
}
