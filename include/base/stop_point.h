/*
 * Places at which a test can have the process killed. They exist only in programs built with
 * MISSION_CONTROL_STOP_POINTS, which are never installed; elsewhere the macro is nothing.
 */
#ifndef BASE_STOP_POINT_H
#define BASE_STOP_POINT_H

#ifdef MISSION_CONTROL_STOP_POINTS
/*
 * Kills the process with SIGKILL if MISSION_CONTROL_STOP_AT is "NAME:COUNT", name is that NAME, and
 * it is reached for the COUNT-th time by any thread. Any thread; never blocks.
 */
void stop_point_reach(const char *name);
#define STOP_POINT(name) stop_point_reach(name)
#else
#define STOP_POINT(name) ((void)0)
#endif

#endif
