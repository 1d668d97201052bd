/*
 * libcurl is given addresses for the names that it needs, so that it starts no lookup that we could
 * not count (lookups.c). It asks when it needs one, but does not say for which name: it is the
 * proxy's if it uses one, else that of the URL. Whether it does also depends on no_proxy, with
 * rules that are libcurl's. So the names are looked up one after another, the proxy's first, for as
 * long as libcurl asks: a request through a proxy never looks up the name of its URL, which may be
 * unknown to its network, and one that no_proxy exempts has looked up the proxy's in vain.
 *
 * Whatever this file does not recognise, such as an address in brackets as a proxy, is left to
 * libcurl, whose own lookup is right as well, only not bounded.
 */
#include "http/names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sync.h"
#include "http/lookups.h"

/* libcurl's own addresses for this name and those below it, which it never looks up. */
static const char local_name[] = "localhost";
static const char local_addresses[] = "127.0.0.1,[::1]";

enum { HTTP_PORT = 80, HTTPS_PORT = 443, PROXY_PORT = 1080 };

void names_fini(struct names *names)
{
    for (unsigned i = 0; i < NAMES_MAX; i++)
        text_fini(&names->items[i].addresses);
}

static bool is_local_name(const char *name)
{
    size_t length = strlen(name);
    size_t local_length = sizeof local_name - 1;
    return length >= local_length && strcasecmp(name + length - local_length, local_name) == 0 &&
           (length == local_length || name[length - local_length - 1] == '.');
}

/* Reads [scheme://][user:password@]host[:port][/path]. False if it is anything else. */
static bool read_item(struct peer_name *item, const char *url, unsigned default_port)
{
    const char *scheme_end = strstr(url, "://");
    const char *host = scheme_end != NULL ? scheme_end + 3 : url;
    const char *end = host + strcspn(host, "/?#");
    const char *user_end = memrchr(host, '@', (size_t)(end - host));
    if (user_end != NULL)
        host = user_end + 1;
    size_t length = strspn(host, TEXT_LETTERS TEXT_DIGITS "-._");
    if (length == 0 || length >= NAME_BYTES || (host + length != end && host[length] != ':'))
        return false;
    memcpy(item->name, host, length);
    item->name[length] = '\0';
    item->port = host[length] == ':' ? (unsigned)strtoul(host + length + 1, NULL, 10) : 0;
    if (item->port == 0)
        item->port = default_port;
    struct in_addr address;
    text_clear(&item->addresses);
    if (inet_pton(AF_INET, item->name, &address) == 1)
        text_append(&item->addresses, item->name);
    else if (is_local_name(item->name))
        text_append(&item->addresses, local_addresses);
    item->is_known = item->addresses.length_bytes > 0;
    return true;
}

/* As libcurl does; HTTP_PROXY does not count, since a CGI program has it from a request's header.
 */
static const char *find_proxy(bool is_https)
{
    static const char *const of_http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const of_https[] = {
        "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
    for (const char *const *name = is_https ? of_https : of_http; *name != NULL; name++) {
        const char *value = getenv(*name);
        if (value != NULL && value[0] != '\0')
            return value;
    }
    return NULL;
}

void names_find(struct names *names, const char *url, bool ignore_proxy)
{
    bool is_https = strncasecmp(url, "https://", 8) == 0;
    const char *proxy = ignore_proxy ? NULL : find_proxy(is_https);
    names->count = 0;
    names->failure.code = 0;
    unsigned count = 0;
    if (proxy != NULL && !read_item(&names->items[count++], proxy,
                             strncasecmp(proxy, "https://", 8) == 0 ? HTTPS_PORT : PROXY_PORT))
        return;
    if (!read_item(&names->items[count++], url, is_https ? HTTPS_PORT : HTTP_PORT))
        return;
    for (unsigned i = 0; i < count; i++)
        if (!names->items[i].is_known)
            names->count = count;
}

static struct peer_name *find_unknown(struct names *names)
{
    for (unsigned i = 0; i < names->count; i++)
        if (!names->items[i].is_known)
            return &names->items[i];
    return NULL;
}

bool names_are_missing(const struct names *names)
{
    bool missing = names->failure.code != 0;
    for (unsigned i = 0; i < names->count; i++)
        missing = missing || !names->items[i].is_known;
    return missing;
}

static int look_up(struct peer_name *item, int64_t until_ms, names_is_aborted *is_aborted,
    const void *context, struct error *error)
{
    int64_t now_ms = clock_monotonic_ms();
    int result = 0;
    struct lookup *lookup = lookup_join(item->name, now_ms, error);
    if (lookup == NULL)
        return error->code;
    while (
        result == 0 && !lookup_wait(lookup,
                           now_ms + NAME_CHECK_MS < until_ms ? now_ms + NAME_CHECK_MS : until_ms)) {
        now_ms = clock_monotonic_ms();
        if (is_aborted(context))
            result = error_set(error, ERROR_INTERRUPTED, "aborted resolving %s", item->name);
        else if (now_ms >= until_ms)
            result = error_set(error, ERROR_TIMEOUT, "timed out resolving %s", item->name);
    }
    if (result == 0)
        result = lookup_read(lookup, &item->addresses, error);
    lookup_leave(lookup);
    return result;
}

int names_look_up(struct names *names, int64_t until_ms, names_is_aborted *is_aborted,
    const void *context, struct error *error)
{
    struct peer_name *item;
    while ((item = find_unknown(names)) != NULL) {
        int result = look_up(item, until_ms, is_aborted, context, error);
        if (result == 0 || result == ERROR_TIMEOUT || result == ERROR_INTERRUPTED) {
            item->is_known = result == 0;
            return result;
        }
        item->is_known = true;
        if (names->failure.code == 0)
            names->failure = *error;
    }
    *error = names->failure;
    return error->code;
}

void names_write(const struct peer_name *item, struct text *text)
{
    if (item->addresses.length_bytes == 0)
        text_printf(text, "-%s:%u", item->name, item->port);
    else
        text_printf(text, "%s:%u:%s", item->name, item->port, item->addresses.data);
}
