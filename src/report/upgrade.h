/* Restarts and upgrades that the backend requests: what the reporter's thread does about them. */
#ifndef REPORT_UPGRADE_H
#define REPORT_UPGRADE_H

#include "backend/service.h"
#include "base/error.h"
#include "report/reporter.h"
#include "report/upgrade_files.h"

/*
 * How long a request may wait for its versions, from its initiatedAt. The backend gives it up 5
 * minutes later, without knowing why.
 */
enum { UPGRADE_LIFE_MS = 25 * 60 * 1000 };

/* Used only by the reporter's thread. */
struct upgrade_state {
    const struct reporter_parts *parts; /* borrowed */
    struct upgrade_record acted_on;     /* by this process or an earlier one */
    unsigned report_attempts;           /* to look at its request before the first report */
    bool awaits_version;                /* it can be judged once our version is known */
    bool may_report;                    /* the first report no longer waits for it */
    bool stop_requested;                /* this process is about to shut down */
    bool acted_on_ended;                /* it has its result, or its request is gone */
    bool rollback_sent;                 /* the backend may have recorded that it was rolled back */
    int64_t ended_at_ms;                /* initiatedAt of the last request with a result */
    int64_t logged_at_ms;               /* initiatedAt of the last one ignored with a warning */
};

/* Reads the record of an earlier process. Cannot fail; blocks for the disk. */
void upgrade_begin(struct upgrade_state *state, const struct reporter_parts *parts);

/*
 * Judges the upgrade that an earlier process shut down for: records its result, or publishes what
 * is still waited for (stats_set_upgrade). Must precede the first health report, which may clear
 * the request at the backend. True when the report may follow: the request has been looked at, or
 * that has failed too often. False with awaits_version set when only our version is missing; until
 * that is known a call costs nothing. Blocks for the backend and the disk.
 */
bool upgrade_report_result(struct upgrade_state *state, const struct service *service);

/*
 * Asks the backend for a restart request, then for an upgrade request, and judges one that was
 * acted on again. With UPGRADE_MODE "exit" a new one requests the shutdown of this process,
 * otherwise it is only logged. Failures are logged. Blocks for the backend and the disk.
 */
void upgrade_check_requests(struct upgrade_state *state, const struct service *service);

#endif
