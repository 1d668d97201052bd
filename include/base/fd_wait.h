/* Waits for descriptors up to a moment of the monotonic clock. */
#ifndef BASE_FD_WAIT_H
#define BASE_FD_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Blocks until one of count fds has something to say or deadline_ms on the monotonic clock has come
 * (SYNC_NO_DEADLINE: never), whatever signals are handled meanwhile. A deadline that is over is a
 * look. Returns how many have, 0 at the deadline, with their revents set accordingly; those with a
 * negative fd have none. Any thread.
 */
int fd_wait(struct pollfd *fds, nfds_t count, int64_t deadline_ms);

/*
 * Whether fd becomes readable, or is at its end, within wait_ms (0: is so now). A negative fd never
 * does. Blocks until then. Any thread.
 */
bool fd_wait_readable(int fd, int64_t wait_ms);

#endif
