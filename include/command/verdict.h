/* The judgements of the command doctor that need no network. All pure. */
#ifndef COMMAND_VERDICT_H
#define COMMAND_VERDICT_H

#include <stdint.h>

#include "command/report.h"
#include "config/url.h"

/*
 * How far our clock is ahead of a server's (negative: behind), in milliseconds, as far as is
 * certain: the server wrote date_ms, cut to seconds, between our before_ms and after_ms. All are
 * times since 1970.
 */
int64_t verdict_clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms);

/* A clock that is off by more than 30 s is worth a warning, by more than 5 min a failure. */
enum report_result verdict_clock(int64_t ahead_ms);

/*
 * Whether what is sent to the host stays on this machine or its containers' network, so that it may
 * go unencrypted: localhost, loopback addresses, names without a dot, and host.docker.internal.
 */
bool verdict_is_near(const struct url *url);

/* Why the backend refused our identity (contract service-actions-v0, section 1). */
enum verdict_refusal {
    REFUSAL_TOKEN_WRONG,
    REFUSAL_TOKEN_NOT_SET_UP,
    REFUSAL_OTHER_ACCOUNT, /* the token is good, but another account's */
    REFUSAL_NO_ACCOUNT,
    REFUSAL_NO_BACKEND, /* a Convex deployment of something else */
    REFUSAL_HIDDEN,     /* a production deployment, which tells nobody why */
    REFUSAL_OTHERWISE,  /* not our identity is the trouble */
};

/* text is that of the function's error. */
enum verdict_refusal verdict_refusal(const char *text);

#endif
