/* Included before everything else: poisons functions that overflow, or hide state or errors. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang cannot poison names that _FORTIFY_SOURCE defines as macros; gcc checks the same code. */
#ifndef __clang__
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol system popen
#endif

#endif
