/* What STATE_DIR remembers of an upgrade across the restart that it led to. */
#ifndef LOOPS_UPGRADE_MEMORY_H
#define LOOPS_UPGRADE_MEMORY_H

#include "base/error.h"
#include "remote/service_runtime.h"

struct upgrade_memory {
    int64_t initiated_at_ms; /* of the request that was acted on; 0 for none yet */
    char from_openclaw[VERSION_BYTES];
    char from_runtime[VERSION_BYTES];
};

/* Reads STATE_DIR/upgrade.json; a file that is missing or damaged is an empty memory. Blocks. */
void upgrade_memory_load(const char *state_dir, struct upgrade_memory *memory);

/* Writes it, on disk when this returns. ERROR_SYSTEM, ERROR_NO_MEMORY. Blocks. */
int upgrade_memory_save(
    const char *state_dir, const struct upgrade_memory *memory, struct error *error);

#endif
