/* Included before everything else: calls that overflow, or hide state or errors, do not compile. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang refuses to poison what _FORTIFY_SOURCE has made a macro; gcc sees every build first. */
#ifndef __clang__
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol system popen
#endif

#endif
