/* Tells systemd how the service is, over the socket that it names in NOTIFY_SOCKET. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdint.h>

/* For what nothing makes up for when it is lost: a start is not over before its READY=1 arrived. */
enum { NOTIFY_LIMIT_MS = 10000 };

/*
 * Sends state ("READY=1", "STOPPING=1", "WATCHDOG=1") as one datagram (sd_notify(3)). Does nothing
 * without NOTIFY_SOCKET. Blocks for limit_ms at most while a busy service manager has more
 * datagrams before it than the system keeps, e.g. when many services start at once; then it misses
 * this one.
 */
void notify_send(const char *state, int64_t limit_ms);

/*
 * Half of the time within which systemd wants a WATCHDOG=1, in milliseconds, at most a day; 0 when
 * it wants none of this process (WATCHDOG_USEC, WATCHDOG_PID).
 */
int64_t notify_watchdog_ms(void);

#endif
