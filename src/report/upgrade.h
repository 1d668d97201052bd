/* What STATE_DIR remembers of an upgrade across the restart that it led to. */
#ifndef REPORT_UPGRADE_H
#define REPORT_UPGRADE_H

#include "backend/service.h"
#include "base/error.h"
#include "report/reporter.h"

struct upgrade_record {
    int64_t initiated_at_ms; /* of the request that was acted on; 0 for none yet */
    char from_openclaw[VERSION_BYTES];
    char from_runtime[VERSION_BYTES];
};

/* Reads STATE_DIR/upgrade.json; a file that is missing or damaged is an empty memory. Blocks. */
void upgrade_record_load(const char *state_dir, struct upgrade_record *memory);

/* Writes it, on disk when this returns. ERROR_SYSTEM, ERROR_NO_MEMORY. Blocks. */
int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *memory, struct error *error);

/* Restarts and upgrades that the backend asks for: what the reporter's thread does about them. */

/* All of it is the reporter's thread's. */
struct upgrade_state {
    const struct reporter_parts *parts; /* borrowed */
    struct upgrade_record memory;
    unsigned report_attempts;       /* tries so far to tell the result */
    bool awaits_version;            /* a result can be told once our version is known */
    bool result_reported;           /* what became of an upgrade that an earlier process acted on */
    bool stop_requested;            /* a round more would be about a process that ends */
    int64_t logged_initiated_at_ms; /* of the last upgrade that was only logged */
};

/* Reads what an earlier process remembered, so it blocks as files do. Cannot fail. */
void upgrade_begin(struct upgrade_state *state, const struct reporter_parts *parts);

/*
 * Before the first report, since that may clear the request: tells what became of the upgrade that
 * an earlier process ended for. True once that is done or there is nothing to tell, or it was tried
 * often enough. False with awaits_version set: only our version is missing, and until it is known a
 * call costs nothing. Blocks as convex_call does.
 */
bool upgrade_report_result(struct upgrade_state *state, const struct service *service);

/*
 * Asks the backend for a restart, then for an upgrade, and where UPGRADE_MODE is "exit" asks for
 * the stop of this process; else only says what is asked for. Failures are logged. Blocks as
 * convex_call does, and for a file.
 */
void upgrade_look_for_requests(struct upgrade_state *state, const struct service *service);

#endif
