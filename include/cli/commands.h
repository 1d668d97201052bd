/* The command doctor: looks for what keeps a runtime with these settings from working. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>

#include "base/text.h"
#include "config/config.h"
#include "config/usage.h"

/*
 * Checks state directory, network, backend, gateway and clock, and says on standard output what it
 * found and how to mend it, a line each or, with json, as one object. Runs no agent and changes
 * nothing, so it may be used beside a running runtime. Returns the exit status: 0 when nothing
 * failed, else 1, or 71 when the answer cannot be written. Blocks up to a minute: at most five
 * requests with a limit of 10 seconds each.
 */
int command_doctor(const struct config *config, bool json);

/* The command healthcheck: asks a running runtime how it is, for images that have no curl. */

/*
 * Asks /health at the address of these settings, whatever proxy is set, and says on standard output
 * whether the runtime is healthy or degraded, or on standard error what was asked and what came of
 * it. Returns the exit status: 0 when the answer was a 200, else 1. Blocks up to 5 seconds.
 */
int command_healthcheck(const struct config *config);

/*
 * Appends the URL of /health as one asks it on the same machine: the loopback address stands for
 * those that mean "all", and IPv6 addresses are in brackets. port is not 0. Pure.
 */
void healthcheck_append_url(struct text *url, const char *host, unsigned port);

/* The command spool: shows operators what the spool holds, and acts on its dead letters. */

/*
 * Does what the words of arguments ask for: "list", "show ID", "retry ID..." or "drop ID...", in
 * the state directory of these settings. Says what came of it on standard output, and what was
 * refused on standard error; list and show work beside a runtime, the others hold its lock
 * meanwhile. Returns the exit status: 0, 1 when there is no spool or an id could not be served (the
 * others are), 64 for wrong words, 71 when the disk fails or the answer cannot be written, 75 when
 * a runtime holds the directory, 78 when it is another account's. Blocks for the disk.
 */
int command_spool(const struct config *config, const struct arguments *arguments);

/* The answers of commands on standard output. */

/*
 * Writes bytes to standard output and has them go out. Returns EX_OK, or EX_OSERR after a word on
 * standard error when not all could be written: a full disk, a reader that left. Blocks as standard
 * output does. One thread.
 */
int print_bytes(const char *bytes, size_t length_bytes);

/* The same of a text, which may be one that lacked memory: that is EX_OSERR, too. */
int print_text(const struct text *text);

#endif
