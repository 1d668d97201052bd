/*
 * A strict check of http and https URLs, for settings. A general parser would accept or repair much
 * that is a mistake in a setting; this one explains what is wrong, and rejects user names, queries
 * and fragments, since a URL is logged and may not carry a secret. Only the form is checked: no
 * name is resolved. The result consists of spans into the string, so nothing is allocated.
 */
#include "config/url.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The limits of DNS names (RFC 1035, 2.3.4). */
enum { HOST_BYTES_MAX = 253, LABEL_BYTES_MAX = 63, PORT_MAX = 65535 };

static bool url_is_hex_digit(char character)
{
    return text_is_digit(character) || (character >= 'a' && character <= 'f') ||
           (character >= 'A' && character <= 'F');
}

/* Includes the underscore, which names of Compose services may contain. */
static bool url_is_host_character(char character)
{
    return text_is_letter(character) || text_is_digit(character) || character == '-' ||
           character == '_' || character == '.';
}

/* A trailing dot marks a name as fully qualified and is not part of it. */
static struct text_span without_last_dot(struct text_span host)
{
    if (host.length_bytes > 1 && host.bytes[host.length_bytes - 1] == '.')
        host.length_bytes--;
    return host;
}

/* inet_pton needs a string, and the host is followed by the rest of the URL. */
static bool host_is_address(int family, struct text_span host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    if (host.length_bytes >= sizeof text)
        return false;
    memcpy(text, host.bytes, host.length_bytes);
    text[host.length_bytes] = '\0';
    return inet_pton(family, text, address) == 1;
}

/* A numeric last label makes every client parse the host as IPv4 (WHATWG URL, 3.5). */
static bool host_ends_with_number(struct text_span host)
{
    size_t digits = 0;
    while (digits < host.length_bytes && text_is_digit(host.bytes[host.length_bytes - 1 - digits]))
        digits++;
    return digits > 0 &&
           (digits == host.length_bytes || host.bytes[host.length_bytes - 1 - digits] == '.');
}

static const char *url_check_name(struct text_span host)
{
    if (host.length_bytes == 0)
        return "has no host";
    size_t label_bytes = 0;
    host = without_last_dot(host);
    for (size_t i = 0; i < host.length_bytes; i++) {
        if (!url_is_host_character(host.bytes[i]))
            return "has invalid characters in its host";
        if (host.bytes[i] == '.' && label_bytes == 0)
            return "has an empty label in its host";
        label_bytes = host.bytes[i] == '.' ? 0 : label_bytes + 1;
        if (label_bytes > LABEL_BYTES_MAX)
            return "has a host label of more than 63 characters";
    }
    if (label_bytes == 0 || host.length_bytes > HOST_BYTES_MAX)
        return "has a host name that is too long or incomplete";
    if (host_ends_with_number(host) && !host_is_address(AF_INET, host))
        return "has a host that is not a valid IPv4 address";
    return NULL;
}

static const char *url_parse_port(const char *digits, size_t length, unsigned *port)
{
    static const char wrong[] = "has a port that is not a number from 1 to 65535";
    *port = 0;
    for (size_t i = 0; i < length; i++) {
        if (!text_is_digit(digits[i]))
            return wrong;
        *port = *port * 10 + (unsigned)(digits[i] - '0');
        if (*port > PORT_MAX)
            return wrong;
    }
    return *port == 0 ? wrong : NULL;
}

/* host or [address], each with or without :port; without one url->port keeps its default. */
static const char *url_parse_authority(const char *bytes, size_t length, struct url *url)
{
    if (memchr(bytes, '@', length) != NULL)
        return "contains a user name or password, which is not allowed";
    const char *end = bytes + length;
    const char *rest;
    const char *wrong = NULL;
    if (length > 0 && bytes[0] == '[') {
        const char *bracket = memchr(bytes, ']', length);
        if (bracket == NULL)
            return "has a '[' without ']'";
        url->host = (struct text_span){bytes + 1, (size_t)(bracket - bytes) - 1};
        rest = bracket + 1;
        if (!host_is_address(AF_INET6, url->host))
            wrong = "has brackets around something other than an IPv6 address";
    } else {
        const char *colon = memchr(bytes, ':', length);
        rest = colon == NULL ? end : colon;
        url->host = (struct text_span){bytes, (size_t)(rest - bytes)};
        wrong = url_check_name(url->host);
    }
    if (wrong != NULL || rest == end)
        return wrong;
    if (*rest != ':')
        return "has something other than a port after its ']'";
    return url_parse_port(rest + 1, (size_t)(end - rest) - 1, &url->port);
}

/* Stricter than needed to send the request: what must be escaped is usually a typing error. */
static const char *url_check_path(const char *path)
{
    for (const char *at = path; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '?' || byte == '#')
            return "has a query or fragment, which is not allowed";
        if (byte <= ' ' || byte >= 0x7F || strchr("\"<>\\^`{|}", byte) != NULL)
            return "has characters in its path that must be escaped";
        if (byte == '%' && !(url_is_hex_digit(at[1]) && url_is_hex_digit(at[2])))
            return "has a '%' in its path without two hexadecimal digits";
    }
    return NULL;
}

/* Sets is_https and the default port. 0 for any other scheme. */
static size_t url_parse_scheme(const char *string, struct url *url)
{
    static const struct {
        const char *prefix;
        bool is_https;
        unsigned port;
    } schemes[] = {{"http://", false, 80}, {"https://", true, 443}};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i].prefix);
        if (strncasecmp(string, schemes[i].prefix, length) != 0)
            continue;
        url->is_https = schemes[i].is_https;
        url->port = schemes[i].port;
        return length;
    }
    return 0;
}

const char *url_parse(const char *string, struct url *url)
{
    *url = (struct url){0};
    if (strpbrk(string, " \t\r\n\v\f") != NULL)
        return "contains white space";
    size_t scheme_bytes = url_parse_scheme(string, url);
    if (scheme_bytes == 0)
        return "does not begin with http:// or https://";
    const char *authority = string + scheme_bytes;
    size_t authority_bytes = strcspn(authority, "/?#");
    const char *wrong = url_parse_authority(authority, authority_bytes, url);
    return wrong != NULL ? wrong : url_check_path(authority + authority_bytes);
}

static char hex_pair_byte(const char *digits)
{
    char pair[3] = {digits[0], digits[1], '\0'};
    return (char)strtol(pair, NULL, 16);
}

void url_decode(char *text)
{
    char *to = text;
    while (*text != '\0') {
        bool is_escape = *text == '%' && url_is_hex_digit(text[1]) && url_is_hex_digit(text[2]) &&
                         hex_pair_byte(text + 1) != '\0';
        if (is_escape)
            *to = hex_pair_byte(text + 1);
        else
            *to = *text;
        to++;
        text += is_escape ? 3 : 1;
    }
    *to = '\0';
}

bool url_host_is(const struct url *url, const char *name)
{
    return url->host.length_bytes == strlen(name) &&
           strncasecmp(url->host.bytes, name, url->host.length_bytes) == 0;
}

bool url_host_ends_with(const struct url *url, const char *suffix)
{
    struct text_span host = without_last_dot(url->host);
    size_t length = strlen(suffix);
    return host.length_bytes >= length &&
           strncasecmp(host.bytes + host.length_bytes - length, suffix, length) == 0;
}

/* Loopback, private and link-local addresses, and 0.0.0.0, which as a destination is this machine.
 */
static bool is_local_ipv4(uint32_t address)
{
    return address >> 24 == 127 || address >> 24 == 10 || address >> 20 == 0xAC1 ||
           address >> 16 == 0xC0A8 || address >> 16 == 0xA9FE || address == INADDR_ANY;
}

static bool is_local_ipv6(const struct in6_addr *address)
{
    uint32_t mapped;
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        memcpy(&mapped, &address->s6_addr[12], sizeof mapped);
        return is_local_ipv4(ntohl(mapped));
    }
    return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address) ||
           IN6_IS_ADDR_LINKLOCAL(address) || (address->s6_addr[0] & 0xFE) == 0xFC;
}

bool url_is_local(const struct url *url)
{
    /* The last three never exist in the public DNS (RFC 6761, RFC 8375). */
    static const char *const endings[] = {
        ".localhost", ".local", ".internal", ".svc", ".test", ".invalid", ".home.arpa"};
    char text[INET6_ADDRSTRLEN];
    struct in_addr ipv4;
    struct in6_addr ipv6;
    struct text_span host = without_last_dot(url->host);
    snprintf(text, sizeof text, "%.*s", (int)host.length_bytes, host.bytes);
    bool may_be_address = host.length_bytes < sizeof text;
    if (may_be_address && inet_pton(AF_INET, text, &ipv4) == 1)
        return is_local_ipv4(ntohl(ipv4.s_addr));
    if (may_be_address && inet_pton(AF_INET6, text, &ipv6) == 1)
        return is_local_ipv6(&ipv6);
    if (memchr(host.bytes, '.', host.length_bytes) == NULL)
        return true;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (url_host_ends_with(url, endings[i]))
            return true;
    return false;
}
