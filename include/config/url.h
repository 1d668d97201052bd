/* A small, strict check of http and https URLs, so that a typing error is said at start. */
#ifndef CONFIG_URL_H
#define CONFIG_URL_H

#include <stdbool.h>

#include "base/text.h"

/* The parts of a URL; the spans point into the checked string. */
struct url {
    bool is_https;
    struct text_span host; /* an IPv6 address stands here without its brackets */
    unsigned port;         /* 80 or 443 when the URL names none */
};

/*
 * Splits string into *url. Returns NULL, or what is wrong with it as the end of a sentence that
 * begins with the name of the setting. Taken are absolute http and https URLs of a host name of
 * letters, digits, '-', '_' and '.', an IPv4 address or an IPv6 address in brackets, with a
 * port of 1..65535 and a path; refused are user names, queries and fragments, and every character
 * that RFC 3986 wants escaped. Pure.
 */
const char *url_parse(const char *string, struct url *url);

/* Whether the host is name; capitals do not matter. */
bool url_host_is(const struct url *url, const char *name);

/* Whether the host is an IPv4 or IPv6 address, so that no resolver is needed. */
bool url_host_is_address(const struct url *url);

/* Whether the host ends with suffix, e.g. ".convex.site"; neither capitals nor a last '.' matter.
 */
bool url_host_ends_with(const struct url *url, const char *suffix);

#endif
