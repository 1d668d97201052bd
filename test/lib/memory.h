/* Memory use of a program under test. */
#ifndef TEST_LIB_MEMORY_H
#define TEST_LIB_MEMORY_H

#include <stdbool.h>

#include "process.h"

/* Peak resident memory in KiB (VmHWM). Fails the test when the process does not exist. */
long memory_peak_kib(const struct process *process);

/* Whether memory figures are meaningful in this build; prints a message if not (sanitizers). */
bool memory_is_measurable(void);

#endif
