/*
 * Records every function that a program built with -finstrument-functions enters or leaves, for
 * scripts/measure-code.sh: pairs of a thread id and an address, with the lowest bit of the id set
 * on leaving, appended to the file in MISSION_CONTROL_TRACE. One write per record, so that the
 * records of all threads stand in the order of the calls, whatever ends the process.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

#define UNTRACED __attribute__((no_instrument_function))

static UNTRACED int trace_fd(void)
{
    static atomic_int fd = -1;
    if (atomic_load(&fd) < 0) {
        const char *path = getenv("MISSION_CONTROL_TRACE");
        if (path == NULL)
            return -1;
        atomic_store(&fd, open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    }
    return atomic_load(&fd);
}

static UNTRACED void record(void *function, uint64_t leaving)
{
    const uint64_t pair[2] = {(uint64_t)gettid() << 1 | leaving, (uint64_t)(uintptr_t)function};
    int fd = trace_fd();
    if (fd >= 0 && write(fd, pair, sizeof pair) < 0)
        _exit(1);
}

UNTRACED void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)caller;
    record(function, 0);
}

UNTRACED void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)caller;
    record(function, 1);
}
