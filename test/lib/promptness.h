/* How soon requests are answered while others abuse the server. */
#ifndef TEST_LIB_PROMPTNESS_H
#define TEST_LIB_PROMPTNESS_H

#include <stddef.h>
#include <stdint.h>

struct promptness {
    size_t count;
    size_t late; /* took longer than a second */
    int64_t slowest_ms;
};

void promptness_add(struct promptness *promptness, int64_t took_ms);

/*
 * Fails the test if requests were held up. One in five may be late, and one of a few, as the
 * machine may stand still for a moment; none may take three seconds, when the server's own limits
 * would begin to end what holds it up. The times are scaled for sanitizers.
 */
void promptness_check(const struct promptness *promptness);

#endif
