#include "base/folder_sync.h"

#include <unistd.h>

uint64_t folder_sync_next(const struct folder_sync *sync)
{
    return atomic_load(&sync->begun) + 1;
}

static void note_reached(struct folder_sync *sync, uint64_t number)
{
    uint64_t reached = atomic_load(&sync->reached);
    while (reached < number && !atomic_compare_exchange_weak(&sync->reached, &reached, number))
        continue;
}

bool folder_sync_reach(struct folder_sync *sync, uint64_t number)
{
    if (number != 0 && atomic_load(&sync->reached) >= number)
        return true;
    uint64_t own = atomic_fetch_add(&sync->begun, 1) + 1;
    if (fsync(sync->folder_fd) != 0)
        return false;
    note_reached(sync, own);
    return true;
}
