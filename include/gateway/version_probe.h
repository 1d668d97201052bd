/* Finds out, once and in the background, which OpenClaw version is installed. */
#ifndef GATEWAY_VERSION_PROBE_H
#define GATEWAY_VERSION_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Room for any version; a longer one is cut. */
enum { VERSION_PROBE_BYTES = 128 };

/* What the version is called when there is no way to find it out. */
#define VERSION_PROBE_UNKNOWN "unknown"

struct version_probe;

/*
 * Makes *probe, which the caller ends with version_probe_stop. With a configured version
 * (OPENCLAW_VERSION; neither NULL nor "") that is the answer, known at once. Else a thread named
 * mc-version asks `openclaw --version`, then `clawdbot --version`, at most 10 s each: the first
 * that prints a version wins, and if none does it is VERSION_PROBE_UNKNOWN. (Contract
 * runtime-behaviour-v0, section 1.) Does not block. ERROR_NO_MEMORY or ERROR_SYSTEM.
 */
int version_probe_start(struct version_probe **probe, const char *configured, struct error *error);

/*
 * Copies the version into buffer of bytes (VERSION_PROBE_BYTES hold any) and returns true. While it
 * is not known yet: returns false and leaves buffer alone. Once true, always true with the same
 * text. Any thread; does not block.
 */
bool version_probe_get(const struct version_probe *probe, char *buffer, size_t bytes);

/* Kills a version command that is still running, joins the thread and frees. NULL is nothing. */
void version_probe_stop(struct version_probe *probe);

/*
 * The first thing in output that looks like a version, copied into version: numbers joined by dots,
 * maybe with "v" before and -suffix or +suffix behind ("OpenClaw 2026.9.6 (eb377ac)" has
 * "2026.9.6"). Returns false, leaving version alone, when there is none. Pure.
 */
bool version_probe_parse(const char *output, char version[static VERSION_PROBE_BYTES]);

#endif
