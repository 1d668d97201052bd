/* Detects, once and in the background, which OpenClaw version is installed. */
#ifndef GATEWAY_VERSION_PROBE_H
#define GATEWAY_VERSION_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "gateway/roster.h"

/* Room for any version, including the NUL; a longer one is cut. */
enum { VERSION_PROBE_BYTES = 128 };

/* The version reported when it cannot be detected. */
#define VERSION_PROBE_UNKNOWN "unknown"

struct version_probe;

/*
 * Creates *probe, which the caller ends with version_probe_stop. If configured (OPENCLAW_VERSION)
 * is neither NULL nor "", that is the version, known at once. Otherwise a thread named mc-version
 * runs `openclaw --version`, then `clawdbot --version`, for 10 s each at most; the first that
 * prints a version wins, and if neither does it is VERSION_PROBE_UNKNOWN (docs/protocol.md,
 * "OpenClaw gateway"). Does not block. ERROR_NO_MEMORY or ERROR_SYSTEM.
 */
int version_probe_start(struct version_probe **probe, const char *configured, struct error *error);

/*
 * Copies the version into buffer, of the given size (VERSION_PROBE_BYTES hold any), and returns
 * true; returns false and leaves buffer alone while it is not known yet. Once known it never
 * changes. Any thread; does not block.
 */
bool version_probe_get(const struct version_probe *probe, char *buffer, size_t bytes);

/*
 * As version_probe_get, but if no program here could tell the version, it is the release that the
 * gateway itself reports, if any, which may become known later. roster may be NULL. Any thread;
 * briefly takes the roster's lock.
 */
bool version_probe_get_any(
    const struct version_probe *probe, struct gateway_roster *roster, char *buffer, size_t bytes);

/* Kills a command that is still running, joins the thread and frees probe; NULL is allowed. */
void version_probe_stop(struct version_probe *probe);

/*
 * Copies the first version in output: numbers joined by dots, optionally after a "v" and followed
 * by -suffix or +suffix ("OpenClaw 2026.9.6 (eb377ac)" has "2026.9.6"). Returns false and leaves
 * version alone when there is none. Pure.
 */
bool version_probe_parse(const char *output, char version[static VERSION_PROBE_BYTES]);

#endif
