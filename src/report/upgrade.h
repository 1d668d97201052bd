/* Restarts and upgrades that the backend requests: what the reporter's thread does about them. */
#ifndef REPORT_UPGRADE_H
#define REPORT_UPGRADE_H

#include "backend/service.h"
#include "base/error.h"
#include "report/reporter.h"

/* The upgrade request that a process acted on by shutting down: STATE_DIR/upgrade.json. */
struct upgrade_record {
    int64_t initiated_at_ms; /* identifies the request; 0: there is no record */
    char from_openclaw[VERSION_BYTES];
    char from_runtime[VERSION_BYTES];
};

/* Reads the file; one that is missing or damaged is an empty record. Blocks for the disk. */
void upgrade_record_load(const char *state_dir, struct upgrade_record *record);

/* Writes and syncs the file. ERROR_SYSTEM, ERROR_NO_MEMORY. Blocks for the disk. */
int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *record, struct error *error);

/* Used only by the reporter's thread. */
struct upgrade_state {
    const struct reporter_parts *parts; /* borrowed */
    struct upgrade_record acted_on;     /* by this process or an earlier one */
    unsigned report_attempts;           /* to report its result */
    bool awaits_version;                /* the result can be reported once our version is known */
    bool result_reported;               /* or abandoned, or left to the next process */
    bool stop_requested;                /* this process is about to shut down */
    int64_t logged_initiated_at_ms;     /* of the last request that was ignored with a warning */
};

/* Reads the record of an earlier process. Cannot fail; blocks for the disk. */
void upgrade_begin(struct upgrade_state *state, const struct reporter_parts *parts);

/*
 * Reports the result of the upgrade that an earlier process shut down for. Must precede the first
 * health report, which may clear the request at the backend. True when it is done, there is nothing
 * to report, or it has failed too often. False with awaits_version set when only our version is
 * missing; until that is known a call costs nothing. Blocks for the backend.
 */
bool upgrade_report_result(struct upgrade_state *state, const struct service *service);

/*
 * Asks the backend for a restart request, then for an upgrade request. With UPGRADE_MODE "exit" it
 * requests the shutdown of this process, otherwise it only logs them. Failures are logged. Blocks
 * for the backend and the disk.
 */
void upgrade_check_requests(struct upgrade_state *state, const struct service *service);

#endif
