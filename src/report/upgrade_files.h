/*
 * The files in STATE_DIR by which an upgrade goes from one process to the next, and to and from
 * whatever installs versions (docs/operations.md, Upgrades).
 */
#ifndef REPORT_UPGRADE_FILES_H
#define REPORT_UPGRADE_FILES_H

#include <stdint.h>

#include "backend/service.h"
#include "base/error.h"

/* The upgrade request that a process acted on by shutting down: STATE_DIR/upgrade.json. */
struct upgrade_record {
    int64_t initiated_at_ms; /* identifies the request; 0: there is no record */
    char from_openclaw[VERSION_BYTES];
    char from_runtime[VERSION_BYTES];
    char to_openclaw[VERSION_BYTES]; /* the targets; "" in records of older releases */
    char to_runtime[VERSION_BYTES];
};

/* Reads the file; one that is missing or damaged is an empty record. Blocks for the disk. */
void upgrade_record_load(const char *state_dir, struct upgrade_record *record);

/* Writes and syncs the file. ERROR_SYSTEM, ERROR_NO_MEMORY. Blocks for the disk. */
int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *record, struct error *error);

/*
 * Asks for an installation: removes the result of an earlier one, then atomically writes and syncs
 * STATE_DIR/upgrade-request.json. now_ms is the wall clock. ERROR_SYSTEM, ERROR_NO_MEMORY. Blocks
 * for the disk.
 */
int upgrade_request_save(
    const char *state_dir, const struct upgrade *upgrade, int64_t now_ms, struct error *error);

enum installation_status {
    INSTALLATION_NONE,        /* there is no result, or none that can be understood */
    INSTALLATION_FAILED,      /* nothing was changed */
    INSTALLATION_ROLLED_BACK, /* the requested version did not work and was replaced again */
};

enum { INSTALLATION_ERROR_BYTES = 256 };

/* What the installer left in STATE_DIR/upgrade-result.json. */
struct installation {
    enum installation_status status;
    char error[INSTALLATION_ERROR_BYTES]; /* one line, possibly cut; "" if it gave no reason */
};

/*
 * Reads what became of the request of that time; a result that is missing, damaged or of another
 * request is INSTALLATION_NONE. Blocks for the disk.
 */
void installation_load(
    const char *state_dir, int64_t initiated_at_ms, struct installation *installation);

/* Removes request and result, if they are there. Blocks for the disk. */
void upgrade_files_remove(const char *state_dir);

#endif
