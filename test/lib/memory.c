/*
 * Peak memory from /proc/PID/status. The kernel keeps the peak, so it can be read after the load.
 */
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

long memory_peak_kib(const struct process *process)
{
    static const char key[] = "VmHWM:";
    char path[64];
    char line[256];
    long peak_kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (peak_kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, sizeof key - 1) == 0)
            peak_kib = strtol(line + sizeof key - 1, NULL, 10);
    fclose(file);
    assert_true(peak_kib > 0);
    return peak_kib;
}

bool memory_is_measurable(void)
{
    if (process_timeout_scale() == 1)
        return true;
    print_message("memory is not measured: a sanitizer's own memory would be included\n");
    return false;
}
