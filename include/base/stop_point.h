/*
 * Points at which a test can make the process crash or a thread hang. They exist only in programs
 * built with MISSION_CONTROL_STOP_POINTS, which are never installed; otherwise the macro expands to
 * nothing.
 */
#ifndef BASE_STOP_POINT_H
#define BASE_STOP_POINT_H

#include <stdint.h>

#ifdef MISSION_CONTROL_STOP_POINTS
/*
 * If this is the COUNT-th call with that name by any thread, kills the process with SIGKILL when
 * MISSION_CONTROL_STOP_AT is "NAME:COUNT", and never returns when it is "NAME:COUNT:hang". Any
 * thread; does not block otherwise.
 */
void stop_point_reach(const char *name);

/* The number in that variable of the environment, otherwise if it is not set. Any thread. */
int64_t stop_point_number(const char *variable, int64_t otherwise);

#define STOP_POINT(name) stop_point_reach(name)
#define STOP_POINT_NUMBER(variable, otherwise) stop_point_number(variable, otherwise)
#else
#define STOP_POINT(name) ((void)0)
#define STOP_POINT_NUMBER(variable, otherwise) (otherwise)
#endif

#endif
