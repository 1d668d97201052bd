/* Writing a small file whole or not at all. */
#ifndef BASE_FILE_REPLACE_H
#define BASE_FILE_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Puts bytes into the file name of the open folder, readable by its owner only: under the name
 * "<name>.new" first, then renamed. durable: on disk when this returns (file and folder are
 * synced); else it survives the end of the process, but not that of the machine. Blocks for the
 * disk. On failure (ERROR_SYSTEM) the old file stays as it was.
 */
int file_replace(int folder_fd, const char *name, const char *bytes, size_t length_bytes,
    bool durable, struct error *error);

#endif
