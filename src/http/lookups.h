/* Name lookups under way, at most two of a name in the whole process, however long they take. */
#ifndef HTTP_LOOKUPS_H
#define HTTP_LOOKUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    LOOKUPS_PER_NAME = 2,
    /*
     * From then on a lookup is not joined any more. More than the five seconds after which the C
     * library asks again, or asks the next name server, so that one dead server only delays.
     */
    LOOKUP_OVERDUE_MS = 6000,
};

/* A lookup of one name, shared by its thread and those that wait for its answer. */
struct lookup;

/*
 * Joins the youngest lookup of name that is under way, or begins one if there is none or it is
 * overdue at now_ms (monotonic). The caller ends with lookup_leave. Any thread; does not block.
 * NULL with ERROR_UNREACHABLE if LOOKUPS_PER_NAME are overdue, or ERROR_NO_MEMORY. A thread that
 * cannot be started is an answer: ERROR_SYSTEM.
 */
struct lookup *lookup_join(const char *name, int64_t now_ms, struct error *error);

/* Blocks until the lookup is answered, which returns true, or until_ms (monotonic) has passed. */
bool lookup_wait(struct lookup *lookup, int64_t until_ms);

/*
 * Appends the addresses of an answered lookup, in the resolver's order, as libcurl takes them
 * ("192.0.2.1,[2001:db8::1]"). Appends nothing if they cannot be written so: a link-local one has
 * an interface. 0; or ERROR_UNREACHABLE if there is none, ERROR_SYSTEM or ERROR_NO_MEMORY, with a
 * text that names the name.
 */
int lookup_read(struct lookup *lookup, struct text *addresses, struct error *error);

/* Ends the caller's use of the lookup, answered or not. */
void lookup_leave(struct lookup *lookup);

#endif
