/* The inside of the spool, shared by the files that read one record and all of them. */
#ifndef QUEUE_SPOOL_FOLDERS_H
#define QUEUE_SPOOL_FOLDERS_H

#define SPOOL_SUFFIX ".json"

#include <stdbool.h>

#include "base/folder_sync.h"

/* Never changed once open, but for the count of syncs. */
struct spool {
    int folder_fd;
    struct folder_sync sync; /* of folder_fd */
    int dead_fd;
    char *account_id;
    bool keeps_leftovers; /* they may be a write that goes on elsewhere */
};

#endif
