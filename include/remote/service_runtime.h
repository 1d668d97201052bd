/* The backend's functions about the runtime itself (contract service-actions-v0, section 2). */
#ifndef REMOTE_SERVICE_RUNTIME_H
#define REMOTE_SERVICE_RUNTIME_H

#include "remote/service_actions.h"

enum { VERSION_BYTES = 128, STRATEGY_BYTES = 32 };

/* What a status report tells beside the status. Borrowed texts. */
struct runtime_report {
    const char *droplet_id;
    const char *ip_address;
    const char *region;
    const char *openclaw_version; /* NULL while it is not known: left out */
    const char *runtime_version;
    int64_t at_ms; /* wall clock */
};

/* What the operator asked for. */
struct upgrade {
    char openclaw[VERSION_BYTES]; /* the targets */
    char runtime[VERSION_BYTES];
    int64_t initiated_at_ms; /* tells one request from another; 0 when there is none */
    char strategy[STRATEGY_BYTES];
};

struct upgrade_result {
    bool success;
    const char *from_openclaw;
    const char *to_openclaw;
    const char *from_runtime;
    const char *to_runtime;
    int64_t duration_ms;
    const char *error; /* NULL with success */
};

/* All of these block and fail as convex_call does; any thread, each with its own client. */

/* Replaces the stored status, and the configuration unless report is NULL. Idempotent. */
enum convex_outcome service_report_status(const struct service *service, const char *status,
    const struct runtime_report *report, struct error *error);

/* Takes a pending request to restart: it is reported once, and lost with a lost answer. */
enum convex_outcome service_take_restart_request(
    const struct service *service, bool *requested, struct error *error);

/* The pending upgrade; its initiated_at_ms is 0 when there is none. */
enum convex_outcome service_pending_upgrade(
    const struct service *service, struct upgrade *upgrade, struct error *error);

/* Ends the pending upgrade with its result. Not idempotent. */
enum convex_outcome service_record_upgrade(
    const struct service *service, const struct upgrade_result *result, struct error *error);

#endif
