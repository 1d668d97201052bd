/* The ticket of a send that the circuit breaker allows at this moment. */
#ifndef TEST_TICKET_H
#define TEST_TICKET_H

#include "gateway/breaker.h"

static inline uint64_t ticket_of(struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    return view.version;
}

#endif
