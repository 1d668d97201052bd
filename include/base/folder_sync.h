/* Puts the names in a folder on disk, once for all that were made before. */
#ifndef BASE_FOLDER_SYNC_H
#define BASE_FOLDER_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Syncs of one folder are counted as they begin: one that begins after a name was made has it on
 * disk when it is over. Initialise with the folder's descriptor alone, which stays the caller's.
 */
struct folder_sync {
    int folder_fd;
    _Atomic uint64_t begun;
    _Atomic uint64_t reached; /* the last of those that ended well */
};

/*
 * After a name was made, renamed or removed: the number, 1 or more, of the sync that will have it
 * on disk. Any thread.
 */
uint64_t folder_sync_next(const struct folder_sync *sync);

/*
 * Returns true when a sync of that number or a later one has ended well, and makes one if none has:
 * then it blocks for the disk. Number 0 stands for a name of which nothing is known, and always
 * makes one. False with errno when the folder could not be synced. Any thread.
 */
bool folder_sync_reach(struct folder_sync *sync, uint64_t number);

#endif
