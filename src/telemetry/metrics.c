/*
 * A fixed table of metric families, and one array with a cell for every number that they can have.
 * The values of all labels are known in advance, except the agents, for which METRICS_AGENTS places
 * are reserved; so recording is an index computation and an atomic addition, without allocation,
 * and the size of a scrape is bounded.
 *
 * A family's cells are its series one after the other; a series is one cell, or for a histogram its
 * buckets (each counting only its own range), the one without a bound, and the sum. Series are
 * numbered like a number whose digits are the places of the labels' values, the last one counting
 * fastest.
 *
 * Only adding an agent takes the lock. Readers see an agent's slug completely before the count that
 * includes it (release and acquire on metrics->agents), and slugs never change. Scrapes read cells
 * one by one while other threads write: they are monotonic, but not a snapshot.
 */
#include "telemetry/metrics.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define LABEL(label, list)                                         \
    {                                                              \
        .name = (label), .values = (list), .count = COUNT_OF(list) \
    }
#define AGENT           \
    {                   \
        .name = "agent" \
    }
#define ACCOUNT                       \
    {                                 \
        .name = "account", .count = 1 \
    }
#define SECONDS(number) ((int64_t)((number)*1000000 + 0.5))
#define BUCKETS(list) .bounds_us = (list), .bound_count = COUNT_OF(list)

/* Agent runs and deliveries take from milliseconds to a quarter of an hour. */
static const int64_t work_bounds_us[] = {SECONDS(0.05), SECONDS(0.1), SECONDS(0.25), SECONDS(0.5),
    SECONDS(1), SECONDS(2.5), SECONDS(5), SECONDS(10), SECONDS(30), SECONDS(60), SECONDS(120),
    SECONDS(300), SECONDS(600), SECONDS(900)};

/* Requests to the backend time out after a minute. */
static const int64_t request_bounds_us[] = {SECONDS(0.01), SECONDS(0.025), SECONDS(0.05),
    SECONDS(0.1), SECONDS(0.25), SECONDS(0.5), SECONDS(1), SECONDS(2.5), SECONDS(5), SECONDS(10),
    SECONDS(30), SECONDS(60)};

static const char *const versions[] = {MISSION_CONTROL_VERSION};
static const char *const compilers[] = {__VERSION__};
static const char *const backend_versions[] = {"unknown", "v0", "v1"};
static const char *const no_response_outcomes[] = {"skipped", "retries_exhausted"};
static const char *const skip_reasons[] = {"notification_gone", "already_delivered",
    "ended_elsewhere", "agent_gone", "task_gone", "own_message", "caused_by_a_note", "not_assigned",
    "answers_an_update", "too_many_hops", "same_message", "too_many_agent_runs",
    "not_the_orchestrator", "task_at_rest", "status_at_rest", "not_a_reviewer", "stale_update",
    "no_session_key", "other"};
static const char *const failure_classes[] = {"gateway_unreachable", "gateway_misconfigured",
    "gateway_busy", "gateway_refused", "run_failed", "run_ambiguous", "backend_unavailable",
    "backend_error", "backend_rejected", "other"};
static const char *const run_kinds[] = {"first", "repeat"};
static const char *const ends[] = {"delivered", "skipped", "dead"};
static const char *const heartbeat_outcomes[] = {
    "woken", "failed", "report_failed", "put_off", "aborted", "unusable_slug"};
static const char *const actions[] = {"listUndeliveredNotifications", "getNotificationForDelivery",
    "createMessageFromAgent", "markNotificationDelivered", "listAgents", "updateAgentHeartbeat",
    "updateRuntimeStatus", "checkAndClearRestartRequested", "getPendingUpgrade",
    "recordUpgradeResult", "markNotificationRead", "markNotificationDeliveryEnded",
    "updateTaskStatusFromAgent", "getOrchestratorAgentId", "createTaskFromAgent",
    "updateTaskFromAgent", "assignTaskFromAgent", "deleteTaskFromAgent", "linkTaskToPrForAgentTool",
    "createTaskMessageForAgentTool", "listTaskThreadForAgentTool", "listTasksForAgentTool",
    "getTaskForAgentTool", "searchTasksForAgentTool", "loadTaskDetailsForAgentTool",
    "getTaskHistoryForAgentTool", "createDocumentFromAgent", "listDocumentsForAgent",
    "createResponseRequestNotifications", "getAgentSkillsForTool", "other"};
static const char *const call_outcomes[] = {
    "success", "unavailable", "function_error", "rejected", "aborted"};
static const char *const tools[] = {"task_status", "task_update", "task_create", "document_upsert",
    "document_list", "response_request", "get_agent_skills", "task_load", "task_history",
    "task_assign", "task_message", "task_list", "task_get", "task_thread", "task_search",
    "task_delete", "task_link_pr", "unknown"};
static const char *const tool_ends[] = {
    "succeeded", "refused", "rejected", "unavailable", "uncertain", "aborted"};
static const char *const endpoints[] = {"task-status", "task-update", "task-create", "task-assign",
    "response-request", "document", "document-list", "task-message", "task-list", "task-get",
    "task-thread", "task-search", "task-load", "get-agent-skills", "task-delete", "task-link-pr",
    "other"};
static const char *const statuses[] = {"2xx", "4xx", "5xx", "none"};
static const char *const gateway_states[] = {"open", "trickle", "suspect", "shut"};
static const char *const health_reasons[] = {"not_running", "gateway", "gateway_process", "backend",
    "backend_version", "spool", "profiles", "no_delivery", "unknown_agents", "old_failures",
    "list_full"};
static const char *const other_runtime_traces[] = {"delivered", "reply"};

#define COUNTER(short_name, ...)                                                            \
    {                                                                                       \
        .name = "mission_control_" short_name "_total", .type = METRIC_COUNTER, __VA_ARGS__ \
    }
#define GAUGE(short_name, ...)                                                   \
    {                                                                            \
        .name = "mission_control_" short_name, .type = METRIC_GAUGE, __VA_ARGS__ \
    }
#define TIME_GAUGE(short_name, ...)                                                              \
    {                                                                                            \
        .name = "mission_control_" short_name "_seconds", .type = METRIC_GAUGE, .is_time = true, \
        __VA_ARGS__                                                                              \
    }
#define HISTOGRAM(short_name, ...)                                                  \
    {                                                                               \
        .name = "mission_control_" short_name "_seconds", .type = METRIC_HISTOGRAM, \
        .is_time = true, __VA_ARGS__                                                \
    }
#define PROCESS(short_name, kind, ...)                             \
    {                                                              \
        .name = "process_" short_name, .type = (kind), __VA_ARGS__ \
    }

const struct metric_family metric_families[METRICS] = {
    [METRIC_BUILD_INFO] = GAUGE("build_info",
        .help =
            "Always 1; the labels identify the build, the account and the version of its backend.",
        .labels = {LABEL("backend", backend_versions), LABEL("version", versions),
            LABEL("compiler", compilers), ACCOUNT},
        .only_current = true),
    [METRIC_UPGRADE_FAILED] = GAUGE("upgrade_failed",
        .help = "1 if this process reported that an upgrade failed or was rolled back, else 0."),
    [METRIC_LOG_LINES_DROPPED] = COUNTER("log_lines_dropped",
        .help = "Log lines that were dropped because nothing read the stream."),

    [METRIC_NOTIFICATIONS_LISTED] = COUNTER("notifications_listed",
        .help = "Rows returned by polls; undelivered notifications are listed again by each poll."),
    [METRIC_NOTIFICATIONS_DELIVERED] = COUNTER("notifications_delivered",
        .help = "Notifications whose agent answered and that were marked as delivered."),
    [METRIC_NOTIFICATIONS_SILENT] = COUNTER("notifications_silent",
        .help = "Delivered notifications whose agent chose to say nothing; nothing was posted."),
    [METRIC_NO_RESPONSE] = COUNTER("notifications_no_response",
        .help = "Notifications whose agent gave no answer: none was needed, or retries were used "
                "up.",
        .labels = {LABEL("outcome", no_response_outcomes)}),
    [METRIC_NOTIFICATIONS_SKIPPED] = COUNTER("notifications_skipped",
        .help = "Notifications that ended without an agent run, or without using its reply.",
        .labels = {LABEL("reason", skip_reasons)}),
    [METRIC_NOTIFICATIONS_FAILED] = COUNTER("notifications_failed",
        .help = "Failed attempts; the notification is retried or abandoned.",
        .labels = {LABEL("class", failure_classes)}),
    [METRIC_NOTIFICATIONS_DEAD] =
        COUNTER("notifications_dead", .help = "Notifications that were abandoned as dead letters."),
    [METRIC_NOTIFICATIONS_UNDELIVERED] = GAUGE("notifications_undelivered",
        .help = "Notifications held by this process that have not ended."),
    [METRIC_NOTIFICATIONS_REFUSED] = GAUGE("notifications_refused",
        .help = "Rows of the last poll without a valid id, which cannot be delivered."),
    [METRIC_OLDEST_UNDELIVERED_AGE] = TIME_GAUGE("oldest_undelivered_age",
        .help = "Age of the oldest notification that has not ended, 0 if there is none."),

    [METRIC_RUNS] = COUNTER("runs",
        .help = "Agent runs for notifications that took place or may have taken place.",
        .labels = {LABEL("kind", run_kinds)}),
    [METRIC_AGENT_RUNS] = COUNTER("agent_runs",
        .help = "Agent runs by agent; agents after the first 100 are \"other\".",
        .labels = {AGENT}),
    [METRIC_AGENT_NOTIFICATIONS] = COUNTER("agent_notifications",
        .help = "Notifications that ended, by agent; agents after the first 100 are \"other\".",
        .labels = {AGENT, LABEL("outcome", ends)}),
    [METRIC_QUEUE_WAIT] = HISTOGRAM("queue_wait",
        .help = "Time that ready notifications waited for a worker.", BUCKETS(work_bounds_us)),
    [METRIC_AGENT_RUN] = HISTOGRAM("agent_run",
        .help = "Duration of agent runs, failed ones included.", BUCKETS(work_bounds_us)),
    [METRIC_WRITE_BACK] = HISTOGRAM("write_back",
        .help = "Time from an agent's reply until its notification was marked as delivered.",
        BUCKETS(work_bounds_us)),
    [METRIC_DELIVERY] = HISTOGRAM("delivery",
        .help = "Time from when this process learned of a notification until it was delivered.",
        BUCKETS(work_bounds_us)),
    [METRIC_DELIVERY_LAG] = HISTOGRAM("delivery_lag",
        .help = "Time from the creation of a notification until it was delivered.",
        BUCKETS(work_bounds_us)),
    [METRIC_TOOL_CALLS] = COUNTER("tool_calls", .help = "Calls of tools by agents that were asked.",
        .labels = {LABEL("tool", tools), LABEL("outcome", tool_ends)}),
    [METRIC_TOOL_CALL] =
        HISTOGRAM("tool_call", .help = "Duration of calls of tools.", BUCKETS(request_bounds_us)),
    [METRIC_TOOL_ROUNDS] = COUNTER(
        "tool_rounds", .help = "Rounds of tool calls; all calls of one answer are one round."),
    [METRIC_HEARTBEATS] = COUNTER("heartbeats",
        .help = "Wake-ups by outcome; report_failed is counted in addition to a successful one.",
        .labels = {LABEL("outcome", heartbeat_outcomes)}),
    [METRIC_HEARTBEAT_FAILING_AGENTS] = GAUGE("heartbeat_failing_agents",
        .help = "Agents whose last three wake-ups or more have all failed."),
    [METRIC_AGENTS_UNKNOWN] = GAUGE("agents_unknown_to_gateway",
        .help = "Agents that the gateway lacks, 0 if another one stands in for them."),
    [METRIC_TOOLS_COLLIDE] = GAUGE("gateway_tools_collide",
        .help = "1 if the gateway refuses the agents' tools because one has the name of a tool of "
                "its own."),

    [METRIC_CONVEX_REQUESTS] =
        COUNTER("convex_requests", .help = "Calls of backend functions by outcome.",
            .labels = {LABEL("action", actions), LABEL("outcome", call_outcomes)}),
    [METRIC_CONVEX_REQUEST] = HISTOGRAM("convex_request",
        .help = "Duration of calls of backend functions, including the wait for a slot.",
        .labels = {LABEL("action", actions)}, BUCKETS(request_bounds_us)),

    [METRIC_AGENT_API_REQUESTS] = COUNTER("agent_api_requests",
        .help = "Requests to the agents' API by class of status; \"none\" if the client left.",
        .labels = {LABEL("endpoint", endpoints), LABEL("status", statuses)}),
    [METRIC_AGENT_API_REQUEST] = HISTOGRAM("agent_api_request",
        .help = "Time from the header of an admitted request to the agents' API to its answer.",
        BUCKETS(request_bounds_us)),
    [METRIC_AGENT_API_IN_FLIGHT] = GAUGE("agent_api_in_flight",
        .help = "Requests to the agents' API that are admitted and not answered."),
    [METRIC_AGENT_API_REFUSED_KEYS] = COUNTER("agent_api_refused_keys",
        .help = "Requests to the agents' API with a session key that is not valid."),

    [METRIC_QUEUE_DEPTH] =
        GAUGE("queue_depth", .help = "Entries ready for a worker; each agent counts for at most "
                                     "32, or half of the capacity."),
    [METRIC_QUEUE_CAPACITY] =
        GAUGE("queue_capacity", .help = "Depth at which the queue accepts no more notifications."),
    [METRIC_QUEUE_WAITING] = GAUGE(
        "queue_waiting", .help = "Notifications that failed and wait for their next attempt."),
    [METRIC_LANES] = GAUGE("lanes",
        .help = "Agents, or sessions of agents on a v1 backend, with entries in the queue; each "
                "runs one at a time."),
    [METRIC_WORKERS] = GAUGE("workers", .help = "Worker threads."),
    [METRIC_WORKERS_BUSY] = GAUGE("workers_busy", .help = "Workers that are processing an entry."),
    [METRIC_GATEWAY_STATE] = GAUGE("gateway_state",
        .help = "1 for the current state of the circuit breaker, 0 for the others.",
        .labels = {LABEL("state", gateway_states)}),
    [METRIC_DEGRADED] = GAUGE("degraded",
        .help = "1 for each reason for which /health says degraded, 0 for the others.",
        .labels = {LABEL("reason", health_reasons)}),

    [METRIC_OTHER_RUNTIME] = GAUGE("other_runtime",
        .help = "1 while another runtime seems to work on the same account, else 0."),
    [METRIC_OTHER_RUNTIME_TRACES] = COUNTER("other_runtime_traces",
        .help = "Traces of another runtime: notifications that were marked as delivered but not by "
                "this one, and replies whose place another one has taken.",
        .labels = {LABEL("trace", other_runtime_traces)}),

    [METRIC_SENDS_HELD] =
        GAUGE("sends_held", .help = "1 while an operator has paused all sends, else 0."),

    [METRIC_SPOOL_ENTRIES] = GAUGE("spool_entries",
        .help = "Records in the spool: runs in flight and replies not yet written back."),
    [METRIC_SPOOL_OLDEST_AGE] = TIME_GAUGE("spool_oldest_age",
        .help = "Age of the oldest notification with a record in the spool, 0 if there is none."),
    [METRIC_SPOOL_BROKEN] =
        GAUGE("spool_broken", .help = "1 if the last write to the spool failed, else 0."),
    [METRIC_DEAD_LETTERS] = GAUGE("dead_letters", .help = "Records in dead/."),
    [METRIC_DEAD_LETTER_BYTES] =
        GAUGE("dead_letter_bytes", .help = "Total size of the records in dead/."),

    [METRIC_LAST_POLL] = TIME_GAUGE("last_poll_timestamp",
        .help = "Unix time at which the last successful poll ended, 0 if none has."),
    [METRIC_LAST_SYNC] = TIME_GAUGE(
        "last_sync_timestamp", .help = "Unix time at which the agents were last read, 0 if never."),
    [METRIC_LAST_REPORT] = TIME_GAUGE("last_report_timestamp",
        .help = "Unix time at which the backend last accepted a status report, 0 if never."),
    [METRIC_POLL_FAILURES] = GAUGE("poll_failures", .help = "Consecutive polls that have failed."),

    [METRIC_PROCESS_CPU] = PROCESS("cpu_seconds_total", METRIC_COUNTER, .is_time = true,
        .help = "Total user and system CPU time spent in seconds."),
    [METRIC_PROCESS_OPEN_FDS] =
        PROCESS("open_fds", METRIC_GAUGE, .help = "Number of open file descriptors."),
    [METRIC_PROCESS_MAX_FDS] =
        PROCESS("max_fds", METRIC_GAUGE, .help = "Maximum number of open file descriptors."),
    [METRIC_PROCESS_VIRTUAL_BYTES] =
        PROCESS("virtual_memory_bytes", METRIC_GAUGE, .help = "Virtual memory size in bytes."),
    [METRIC_PROCESS_VIRTUAL_MAX_BYTES] = PROCESS("virtual_memory_max_bytes", METRIC_GAUGE,
        .help = "Maximum amount of virtual memory available in bytes, -1 for no limit."),
    [METRIC_PROCESS_RESIDENT_BYTES] =
        PROCESS("resident_memory_bytes", METRIC_GAUGE, .help = "Resident memory size in bytes."),
    [METRIC_PROCESS_START_TIME] = PROCESS("start_time_seconds", METRIC_GAUGE, .is_time = true,
        .help = "Start time of the process since unix epoch in seconds."),
    [METRIC_PROCESS_THREADS] =
        PROCESS("threads", METRIC_GAUGE, .help = "Number of threads of the process."),
};

static const char other_agent[] = "other";
static const char unknown_agent[] = "unknown";

/* A histogram has a bucket for each bound, one without a bound, and the sum. */
static size_t family_cells_per_series(const struct metric_family *family)
{
    return family->type == METRIC_HISTOGRAM ? family->bound_count + 2 : 1;
}

/* A label that the family does not have counts as one value. */
static size_t label_value_count(const struct metric_label *label)
{
    if (label->name == NULL)
        return 1;
    return label->count != 0 ? label->count : METRICS_AGENTS + 1;
}

size_t metrics_series_count(enum metric metric)
{
    size_t count = 1;
    for (size_t i = 0; i < METRIC_LABELS; i++)
        count *= label_value_count(&metric_families[metric].labels[i]);
    return count;
}

void metrics_init(struct metrics *metrics)
{
    size_t cells = 0;
    memset(metrics, 0, sizeof *metrics);
    metrics->account = "";
    mutex_init(&metrics->lock);
    for (int metric = 0; metric < METRICS; metric++) {
        metrics->first[metric] = cells;
        cells += metrics_series_count((enum metric)metric) *
                 family_cells_per_series(&metric_families[metric]);
    }
    assert(cells <= METRICS_CELLS);
    /* The value is constant; the labels carry the information. */
    metrics_set(metrics, METRIC_BUILD_INFO, backend_versions[0], 1);
}

void metrics_fini(struct metrics *metrics)
{
    mutex_fini(&metrics->lock);
}

void metrics_set_account(struct metrics *metrics, const char *account)
{
    metrics->account = account;
}

/* The place of slug among the first count, or count. */
static size_t metrics_find_agent(const struct metrics *metrics, size_t count, const char *slug)
{
    size_t place = 0;
    while (place < count && strcmp(metrics->slugs[place], slug) != 0)
        place++;
    return place;
}

static size_t metrics_add_agent(struct metrics *metrics, const char *slug)
{
    mutex_lock(&metrics->lock);
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_relaxed);
    size_t place = metrics_find_agent(metrics, count, slug);
    if (place == count && count < METRICS_AGENTS) {
        text_copy(metrics->slugs[place], ID_BYTES, slug);
        /* A reader that sees the new count also sees the slug. */
        atomic_store_explicit(&metrics->agents, count + 1, memory_order_release);
    }
    mutex_unlock(&metrics->lock);
    return place;
}

/* METRICS_AGENTS for agents without a place of their own. */
static size_t metrics_agent_place(struct metrics *metrics, const char *slug)
{
    char known[ID_BYTES];
    text_copy(known, sizeof known, slug[0] != '\0' ? slug : unknown_agent);
    /* An agent that is really called "other" shares the series of the rest. */
    if (strcmp(known, other_agent) == 0)
        return METRICS_AGENTS;
    /* Without the lock first: after its first use an agent is always found here. */
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_acquire);
    size_t place = metrics_find_agent(metrics, count, known);
    return place < count || count == METRICS_AGENTS ? place : metrics_add_agent(metrics, known);
}

/* An unknown value counts as the last one, "other" where that can happen. */
static size_t label_place(
    struct metrics *metrics, const struct metric_label *label, const char *value)
{
    if (value == NULL) {
        assert(label_value_count(label) == 1);
        return 0;
    }
    assert(label->name != NULL);
    if (label->values == NULL)
        return metrics_agent_place(metrics, value);
    size_t place = 0;
    while (place + 1 < label->count && strcmp(label->values[place], value) != 0)
        place++;
    return place;
}

/* The cells of the series with these label values. */
static atomic_llong *metrics_series(
    struct metrics *metrics, enum metric metric, const char *first, const char *second)
{
    const struct metric_family *family = &metric_families[metric];
    const char *const values[METRIC_LABELS] = {first, second};
    size_t series = 0;
    for (size_t i = 0; i < METRIC_LABELS; i++)
        series = series * label_value_count(&family->labels[i]) +
                 label_place(metrics, &family->labels[i], values[i]);
    return &metrics->cells[metrics->first[metric] + series * family_cells_per_series(family)];
}

/* Relaxed: cells are independent of each other, and a scrape needs no order between them. */
static void cell_add(atomic_llong *cell, int64_t number)
{
    atomic_fetch_add_explicit(cell, number, memory_order_relaxed);
}

void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
    int64_t number)
{
    assert(metric_families[metric].type == METRIC_COUNTER);
    cell_add(metrics_series(metrics, metric, first, second), number);
}

void metrics_set(struct metrics *metrics, enum metric metric, const char *first, int64_t number)
{
    assert(metric_families[metric].type != METRIC_HISTOGRAM);
    atomic_store_explicit(
        metrics_series(metrics, metric, first, NULL), number, memory_order_relaxed);
}

void metrics_observe(
    struct metrics *metrics, enum metric metric, const char *first, int64_t duration_us)
{
    const struct metric_family *family = &metric_families[metric];
    assert(family->type == METRIC_HISTOGRAM);
    atomic_llong *cells = metrics_series(metrics, metric, first, NULL);
    size_t bucket = 0;
    while (bucket < family->bound_count && duration_us > family->bounds_us[bucket])
        bucket++;
    cell_add(&cells[bucket], 1);
    cell_add(&cells[family->bound_count + 1], duration_us > 0 ? duration_us : 0);
}

int64_t metrics_cell(const struct metrics *metrics, enum metric metric, size_t series, size_t cell)
{
    size_t start =
        metrics->first[metric] + series * family_cells_per_series(&metric_families[metric]);
    return atomic_load_explicit(&metrics->cells[start + cell], memory_order_relaxed);
}

int64_t metrics_value(const struct metrics *metrics, enum metric metric, const char *first)
{
    int64_t total = 0;
    size_t count = metrics_series_count(metric);
    for (size_t series = 0; series < count; series++)
        if (strcmp(metrics_label_value(metrics, metric, series, 0), first) == 0)
            total += metrics_cell(metrics, metric, series, 0);
    return total;
}

int64_t metrics_total(const struct metrics *metrics, enum metric metric)
{
    int64_t total = 0;
    size_t count = metrics_series_count(metric);
    for (size_t series = 0; series < count; series++)
        total += metrics_cell(metrics, metric, series, 0);
    return total;
}

static const char *metrics_agent_at(const struct metrics *metrics, size_t place)
{
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_acquire);
    if (place < count)
        return metrics->slugs[place];
    return place == METRICS_AGENTS ? other_agent : NULL;
}

const char *metrics_label_value(
    const struct metrics *metrics, enum metric metric, size_t series, size_t label)
{
    const struct metric_label *labels = metric_families[metric].labels;
    for (size_t i = METRIC_LABELS - 1; i > label; i--)
        series /= label_value_count(&labels[i]);
    size_t place = series % label_value_count(&labels[label]);
    if (labels[label].values != NULL)
        return labels[label].values[place];
    if (labels[label].count == 1)
        return metrics->account;
    return metrics_agent_at(metrics, place);
}

int64_t histogram_quantile_us(
    const int64_t *bounds_us, size_t bound_count, const int64_t *counts, double share)
{
    int64_t total = 0;
    for (size_t i = 0; i <= bound_count; i++)
        total += counts[i];
    if (total == 0)
        return -1;
    /* Find the bucket that holds the observation of that rank and interpolate within it. */
    double rank = share * (double)total;
    double below = 0;
    int64_t lower_us = 0;
    for (size_t i = 0; i < bound_count; i++) {
        double within = (double)counts[i];
        if (counts[i] > 0 && below + within >= rank)
            return lower_us +
                   (int64_t)((double)(bounds_us[i] - lower_us) * (rank - below) / within);
        below += within;
        lower_us = bounds_us[i];
    }
    return lower_us;
}
