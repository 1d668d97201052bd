/*
 * The words for what an entry can be: one table for each enum. They appear in metrics, the log and
 * the JSON documents, so dashboards depend on them. test/unit/entry_test.c holds the tables and the
 * label values of telemetry/metrics.c together.
 */
#include "delivery/entry.h"

#include <stddef.h>

const char *const entry_stage_words[] = {
    [STAGE_KNOWN] = "known",
    [STAGE_SENDING] = "sending",
    [STAGE_ACTING] = "acting",
    [STAGE_REPLIED] = "replied",
    [STAGE_WRITTEN] = "written",
    [STAGE_NOTIFY_FAILURE] = "giving_up",
    [STAGE_SETTLED] = "settled",
};

const char *const entry_outcome_words[] = {
    [OUTCOME_DELIVERED] = "delivered",
    [OUTCOME_SKIPPED] = "skipped",
    [OUTCOME_DEAD] = "dead",
};

const char *const end_reason_words[] = {
    [REASON_REPLIED] = "replied",
    [REASON_SILENT] = "silent",
    [REASON_UNANSWERED] = "unanswered",
    [REASON_NOTIFICATION_GONE] = "notification_gone",
    [REASON_ALREADY_DELIVERED] = "already_delivered",
    [REASON_ENDED_ELSEWHERE] = "ended_elsewhere",
    [REASON_AGENT_GONE] = "agent_gone",
    [REASON_TASK_GONE] = "task_gone",
    [REASON_OWN_MESSAGE] = "own_message",
    [REASON_CAUSED_BY_NOTICE] = "caused_by_a_note",
    [REASON_NOT_ASSIGNED] = "not_assigned",
    [REASON_ANSWERS_UPDATE] = "answers_an_update",
    [REASON_TOO_MANY_HOPS] = "too_many_hops",
    [REASON_SAME_MESSAGE] = "same_message",
    [REASON_TOO_MANY_AGENT_RUNS] = "too_many_agent_runs",
    [REASON_NOT_ORCHESTRATOR] = "not_the_orchestrator",
    [REASON_TASK_AT_REST] = "task_at_rest",
    [REASON_STATUS_AT_REST] = "status_at_rest",
    [REASON_NOT_REVIEWER] = "not_a_reviewer",
    [REASON_STALE_UPDATE] = "stale_update",
    [REASON_NO_SESSION_KEY] = "no_session_key",
    [REASON_REFUSED_TOO_LONG] = "refused_for_too_long",
    [REASON_LAST_FAILURE] = "last_failure",
};

const char *const failure_class_words[] = {
    [FAILURE_NONE] = NULL,
    [FAILURE_GATEWAY_UNREACHABLE] = "gateway_unreachable",
    [FAILURE_GATEWAY_MISCONFIGURED] = "gateway_misconfigured",
    [FAILURE_GATEWAY_BUSY] = "gateway_busy",
    [FAILURE_GATEWAY_REFUSED] = "gateway_refused",
    [FAILURE_RUN_FAILED] = "run_failed",
    [FAILURE_RUN_AMBIGUOUS] = "run_ambiguous",
    [FAILURE_BACKEND_UNAVAILABLE] = "backend_unavailable",
    [FAILURE_BACKEND_ERROR] = "backend_error",
    [FAILURE_BACKEND_REJECTED] = "backend_rejected",
    [FAILURE_OTHER] = "other",
};

const char *const run_kind_words[] = {
    [RUN_FIRST] = "first",
    [RUN_REPEAT] = "repeat",
};
