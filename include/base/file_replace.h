/* Writing a small file whole or not at all. */
#ifndef BASE_FILE_REPLACE_H
#define BASE_FILE_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* What a name ends in while its file is written; an interrupted write leaves such a file. */
#define FILE_REPLACE_SUFFIX ".new"

/*
 * Puts bytes into the file name of the open folder, readable by its owner only: under the name
 * with FILE_REPLACE_SUFFIX first, then renamed. durable: on disk when this returns (file and folder
 * are synced); else it survives the end of the process, but not that of the machine. Blocks for the
 * disk. On failure (ERROR_SYSTEM) the old file stays as it was, unless the folder alone could not
 * be synced: then the new one is there.
 */
int file_replace(int folder_fd, const char *name, const char *bytes, size_t length_bytes,
    bool durable, struct error *error);

/*
 * Puts new_end in place of old_end, which is all that the file name has behind its first
 * kept_bytes, and syncs the file. false, with the file as it was, when it is not there, is no
 * regular file, is longer or shorter than that, or cannot be written; but a machine that stops
 * meanwhile, or a disk that fails, may leave a part of new_end. Blocks for the disk.
 */
bool file_replace_end(
    int folder_fd, const char *name, size_t kept_bytes, const char *old_end, const char *new_end);

#endif
