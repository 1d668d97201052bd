/* Tells systemd how the service is, over the socket that it names in NOTIFY_SOCKET. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdint.h>

/*
 * Sends state ("READY=1", "STOPPING=1", "WATCHDOG=1") as one datagram (sd_notify(3)). Does nothing
 * without NOTIFY_SOCKET, and does not block: a service manager that does not read misses it.
 */
void notify_send(const char *state);

/*
 * Half of the time within which systemd wants a WATCHDOG=1, in milliseconds, at most a day; 0 when
 * it wants none of this process (WATCHDOG_USEC, WATCHDOG_PID).
 */
int64_t notify_watchdog_ms(void);

#endif
