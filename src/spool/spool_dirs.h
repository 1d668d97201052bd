/* The inside of a spool: the descriptors of its directories. */
#ifndef SPOOL_SPOOL_DIRS_H
#define SPOOL_SPOOL_DIRS_H

#include <stdbool.h>

/* The names of the directories in STATE_DIR. */
#define SPOOL_LIVE_DIR "spool"
#define SPOOL_DEAD_DIR "dead"

/* Constant once it is open; shared by all threads. */
struct spool {
    int state_fd; /* STATE_DIR */
    int dir_fd;   /* stays the same number, also when spool/ is made again */
    int dead_fd;  /* likewise */
    char *account_id;
    bool keeps_temporaries; /* a runtime may be writing them */
};

#endif
