/*
 * Points at which a test can make the process crash. They exist only in programs built with
 * MISSION_CONTROL_STOP_POINTS, which are never installed; otherwise the macro expands to nothing.
 */
#ifndef BASE_STOP_POINT_H
#define BASE_STOP_POINT_H

#ifdef MISSION_CONTROL_STOP_POINTS
/*
 * Kills the process with SIGKILL if MISSION_CONTROL_STOP_AT is "NAME:COUNT" and this is the
 * COUNT-th call with that name by any thread. Any thread; never blocks.
 */
void stop_point_reach(const char *name);
#define STOP_POINT(name) stop_point_reach(name)
#else
#define STOP_POINT(name) ((void)0)
#endif

#endif
