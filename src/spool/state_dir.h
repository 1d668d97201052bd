/* The state directory by its descriptor, for the spool in it. */
#ifndef SPOOL_STATE_DIR_H
#define SPOOL_STATE_DIR_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Opens the directory at path; the caller closes *fd. trusts_links: follows a symbolic link at the
 * end of the path whoever has made it, otherwise only one that belongs to root, as systemd makes it
 * for DynamicUser=. ERROR_CLOSED if it does not exist, ERROR_INVALID if it is not a directory or a
 * link that is not followed, ERROR_SYSTEM. Blocks for the disk.
 */
int state_dir_open_path(const char *path, bool trusts_links, int *fd, struct error *error);

/* As state_dir_check_account and state_dir_claim, with the open directory; path is for messages. */
int state_dir_check_account_at(
    int dir_fd, const char *path, const char *account_id, bool *claimed, struct error *error);
int state_dir_claim_at(int dir_fd, const char *path, const char *account_id, struct error *error);

#endif
