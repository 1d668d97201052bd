/* A strict check of http and https URLs, so that a typing error is reported at startup. */
#ifndef CONFIG_URL_H
#define CONFIG_URL_H

#include <stdbool.h>

#include "base/text.h"

/* The parts of a URL; the spans point into the checked string. */
struct url {
    bool is_https;
    struct text_span host; /* an IPv6 address without its brackets */
    unsigned port;         /* 80 or 443 if the URL has none */
};

/*
 * Splits string into *url. Returns NULL, or what is wrong with it as a phrase that completes a
 * sentence beginning with the setting's name. Accepts absolute http and https URLs with a host name
 * of letters, digits, '-', '_' and '.', an IPv4 address, or an IPv6 address in brackets, and an
 * optional port of 1..65535 and path. Rejects user names, queries, fragments, and every character
 * that RFC 3986 requires to be escaped. Pure.
 */
const char *url_parse(const char *string, struct url *url);

/* Replaces each %XX in text by the byte that it stands for, except NUL. Any other '%' stays. */
void url_decode(char *text);

/* Whether the host is name, ignoring case. */
bool url_host_is(const struct url *url, const char *name);

/* Whether the host ends with suffix, e.g. ".convex.site", ignoring case and a trailing dot. */
bool url_host_ends_with(const struct url *url, const char *suffix);

/*
 * Whether what is sent to the host in the clear stays on this machine or in a private network: a
 * loopback, private (RFC 1918, fc00::/7) or link-local address, a name without a dot, or one that
 * ends in .localhost, .local, .internal (as host.docker.internal), .svc, .test, .invalid or
 * .home.arpa. No name is resolved.
 * Pure.
 */
bool url_is_local(const struct url *url);

#endif
