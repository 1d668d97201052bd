/* The commands that run instead of the daemon: doctor, healthcheck, spool, hold and release. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>

#include "base/text.h"
#include "config/config.h"
#include "config/usage.h"

/*
 * The command doctor: checks state directory, network, backend, gateway and clock, and prints each
 * result with a fix, a line each or, with json, as one object. Runs no agent and changes nothing,
 * so it is safe beside a running runtime. Returns the exit status: 0 when no check failed,
 * otherwise 1, or 71 when the report cannot be printed. Blocks up to a minute: at most five
 * requests with a timeout of 10 s each, and one of 5 s to a running runtime.
 */
int command_doctor(const struct config *config, bool json);

/*
 * The command healthcheck: requests /health at the configured address, ignoring proxies, and prints
 * "healthy" or "degraded", or on standard error the URL and what went wrong. Returns the exit
 * status: 0 for an answer with status 200, otherwise 1. Blocks up to 5 s.
 */
int command_healthcheck(const struct config *config);

/*
 * Appends the URL of /health as seen from the same machine: loopback in place of a wildcard
 * address, IPv6 addresses in brackets. port is not 0. Pure.
 */
void healthcheck_append_url(struct text *url, const char *host, unsigned port);

/*
 * The command spool: "list", "show ID", "retry ID..." or "drop ID..." in the configured state
 * directory; the operands have been checked by arguments_parse. Results go to standard output,
 * refusals to standard error. list and show work beside a running runtime; retry and drop hold the
 * directory's lock, or ask the runtime that does. Returns the exit status: 0; 1 when
 * there is no spool or an id failed (the other ids are processed); 71 when the disk fails or output
 * cannot be written; 75 when a runtime holds the directory and cannot be asked; 78 when it
 * belongs to another account. Blocks on the disk.
 */
int command_spool(const struct config *config, const struct arguments *arguments);

/*
 * The commands hold and release: the running runtime of the configured state directory pauses all
 * sends, or resumes them; asking twice changes nothing. Returns the exit status: 0; 69 when no
 * runtime runs there; otherwise as command_spool. Blocks up to SPOOL_ASK_MS.
 */
int command_hold(const struct config *config, bool held);

/*
 * Writes bytes to standard output and flushes it. Returns EX_OK, or EX_OSERR after a message on
 * standard error when not everything could be written, for example to a full disk. Blocks as
 * standard output does. One thread.
 */
int print_bytes(const char *bytes, size_t length_bytes);

/* Prints a text; EX_OSERR also when the text failed. */
int print_text(const struct text *text);

#endif
