/* The verbs of the command spool that only look. */
#ifndef COMMAND_SPOOL_LOOK_H
#define COMMAND_SPOOL_LOOK_H

#include <stdbool.h>

#include "base/text.h"
#include "queue/spool.h"

/* Borrowed. */
struct spool_look {
    struct spool *spool;
    const char *state_dir;
    const char *id; /* NULL for list */
    bool json;
    bool visible; /* for a terminal: no control characters of a reply reach it */
};

/*
 * Appends a table of all records with totals below it, or an array of objects. Blocks for the disk.
 * ERROR_SYSTEM, ERROR_NO_MEMORY; a text that failed is the caller's to notice.
 */
int spool_look_list(const struct spool_look *look, struct text *out, struct error *error);

/*
 * Appends all that is known of one id, the reply's text last; both records if spool/ and dead/ have
 * one. ERROR_CLOSED when neither has, else as spool_look_list.
 */
int spool_look_show(const struct spool_look *look, struct text *out, struct error *error);

#endif
