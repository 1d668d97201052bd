/* The command spool: shows operators what the spool holds, and acts on its dead letters. */
#ifndef COMMAND_SPOOL_COMMAND_H
#define COMMAND_SPOOL_COMMAND_H

#include "config/config.h"
#include "config/usage.h"

/*
 * Does what the words of arguments ask for: "list", "show ID", "retry ID..." or "drop ID...", in
 * the state folder of these settings. Says what came of it on standard output, and what was refused
 * on standard error; list and show work beside a runtime, the others hold its lock meanwhile.
 * Returns the exit status: 0, 1 when there is no spool or an id could not be served (the others
 * are), 64 for wrong words, 71 when the disk fails or the answer cannot be written, 75 when a
 * runtime holds the folder, 78 when it is another account's. Blocks for the disk.
 */
int command_spool(const struct config *config, const struct arguments *arguments);

#endif
