/* The names that a request may need the addresses of: its URL's host and a proxy. */
#ifndef HTTP_NAMES_H
#define HTTP_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    NAMES_MAX = 2,
    NAME_BYTES = 256,
    NAME_CHECK_MS = 1000, /* between looks at whether the wait for a lookup is to end */
};

struct peer_name {
    char name[NAME_BYTES];
    unsigned port;
    bool is_known;         /* looked up, or not a name but an address */
    struct text addresses; /* as libcurl takes them; may be empty even if it is known */
};

/* Zero-initialized and embedded; freed with names_fini. Used by one thread at a time. */
struct names {
    struct peer_name items[NAMES_MAX];
    unsigned count;       /* 0: no lookup of ours is needed, or none is possible */
    struct error failure; /* of the first lookup that failed; code 0: none has */
};

void names_fini(struct names *names);

/*
 * Finds the names for a request to url (http or https), of which none is looked up yet. Unless
 * ignore_proxy is set, the proxy variables of the environment count. Does not block.
 */
void names_find(struct names *names, const char *url, bool ignore_proxy);

/* Whether one of them (count > 0) has not been looked up, or a lookup has failed. Pure. */
bool names_are_missing(const struct names *names);

/* Whether the wait for a lookup is to end. */
typedef bool names_is_aborted(const void *context);

/*
 * Looks up the next name. Blocks until that is answered, until_ms (monotonic) has passed, or
 * is_aborted, asked at least every NAME_CHECK_MS, returns true. If one cannot be resolved the next
 * is tried, as the request may not need the first. Returns 0; ERROR_TIMEOUT or ERROR_INTERRUPTED;
 * or the error of the first lookup that failed.
 */
int names_look_up(struct names *names, int64_t until_ms, names_is_aborted *is_aborted,
    const void *context, struct error *error);

/*
 * Appends what CURLOPT_RESOLVE needs to connect to what is known of item, and to forget what was
 * known of it for an earlier request: "name:port:address,address", or "-name:port".
 */
void names_write(const struct peer_name *item, struct text *text);

#endif
