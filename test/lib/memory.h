/* How much memory a program under test has used. */
#ifndef TEST_LIB_MEMORY_H
#define TEST_LIB_MEMORY_H

#include <stdbool.h>

#include "process.h"

/* The most resident memory so far, in KiB (VmHWM). Fails the test when the process is not there. */
long memory_peak_kib(const struct process *process);

/* Whether numbers of memory mean something in this build: not under a sanitizer, and it says so. */
bool memory_is_measurable(void);

#endif
