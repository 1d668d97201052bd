/* The name of a server in an HTTP request, and whether the DNS could have made a client use it. */
#ifndef BASE_HOST_H
#define BASE_HOST_H

#include <stdbool.h>

#include "base/text.h"

/*
 * The name in an authority ("name", "name:port", "[address]:port"), as the Host header has it:
 * without the port, the brackets and a dot at its end. A span into the authority. Pure.
 */
struct text_span host_name(struct text_span authority);

/*
 * Whether somebody else's entry in the DNS could lead to us under that name (of host_name): it has
 * a dot and is not an IPv4 or IPv6 address. Pure.
 */
bool host_is_domain(struct text_span name);

/* Whether two names are the same, ignoring case and a dot at the end. Pure. */
bool host_is_same(struct text_span name, struct text_span other);

/* Whether the name is in a list of names that are separated by commas and blanks. Pure. */
bool host_is_listed(struct text_span name, const char *list);

#endif
