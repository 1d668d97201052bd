/*
 * mc-agents keeps the schedule in step with the board. Each round reads the account's agents from
 * the backend, replaces the schedule's list, and then asks the gateway which agents it has, so that
 * an agent missing there is reported before its first notification fails. On v1 of
 * the backend the gateway is also asked whether it takes tools.
 *
 * The two halves fail independently. If the list cannot be read, the schedule stays as it is and
 * the round is retried with backoff, at the latest after the normal interval. If the gateway does
 * not answer or does not list its agents, the roster keeps what it last knew; while it refuses the
 * token it is not asked. A warning about unknown agents or invalid ids is logged when their number
 * changes, not in every round, and one about slugs that are not usable on v1 when the list of them
 * changes.
 *
 * The counters in struct agent_sync belong to this thread. abort aborts the request in flight at
 * shutdown; an aborted round is neither a success nor a failure.
 */
#include "agents/agents.h"

#include <stdlib.h>
#include <string.h>

#include "agents/profiles.h"
#include "base/log.h"
#include "base/sync.h"
#include "delivery/session_key.h"

enum {
    ROSTER_TIMEOUT_MS = 5000,
    RELOAD_LIMIT_MS = 5000,
    RELOAD_LOOK_MS = 250,
    NEXT_ROUND_MS = 1000, /* until the profiles go on that took too long for one round */
    MAX_NAMED_SLUGS = 5,
    QUOTED_BYTES = 80,
};

static const char component[] = "AgentSync";

struct agent_sync {
    struct agent_sync_parts parts;
    struct loop loop;
    struct http_client *client;

    /* Used only by the thread. */
    unsigned failures; /* consecutive */
    size_t missing;    /* agents unknown to the gateway in the last round */
    size_t refused;    /* agents of the last list without a valid id */
    struct profiles profiles;
    json_t *unusable;   /* the slugs that the log has last reported as unusable; NULL: none */
    struct trace trace; /* of the current round */
};

/* The slugs that the gateway does not have; NULL when out of memory. */
static json_t *find_missing_slugs(struct agent_sync *sync, const struct agent_list *list)
{
    json_t *missing = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (!gateway_roster_has(sync->parts.roster, list->agents[i].slug))
            json_array_append_new(missing, json_string(list->agents[i].slug));
    return missing;
}

/* On v0 of the backend nobody has a use for it. */
static bool needs_dialect(struct agent_sync *sync)
{
    return sync->parts.config->client_tools_enabled &&
           convex_likely_version(sync->parts.convex) == BACKEND_V1 &&
           gateway_roster_asks_dialect(sync->parts.roster);
}

/* Asks the gateway which agents it has. Returns whether it answered. */
static bool refresh_roster(struct agent_sync *sync)
{
    /* The prober tries a refused token, rarely; each further try brings a lockout closer. */
    if (breaker_token_is_refused(sync->parts.breaker))
        return false;
    struct gateway_models models;
    gateway_models_fetch(
        sync->parts.gateway, sync->client, ROSTER_TIMEOUT_MS, &sync->trace, &models);
    bool answered = models.known || models.unsupported;
    if (answered)
        gateway_roster_update(sync->parts.roster, &models);
    gateway_models_fini(&models);
    return answered;
}

static bool gateway_has_all(struct agent_sync *sync, const struct agent_list *list)
{
    bool has_all = true;
    for (size_t i = 0; has_all && i < list->count; i++)
        has_all = gateway_roster_has(sync->parts.roster, list->agents[i].slug);
    return has_all;
}

/*
 * After a change of the agents' file: a gateway that includes it has the agents within two seconds.
 * They are waited for, so that they are neither woken nor reported as missing before.
 */
static void wait_for_gateway(struct agent_sync *sync, const struct agent_list *list)
{
    int64_t until_ms = clock_monotonic_ms() + RELOAD_LIMIT_MS;
    while (refresh_roster(sync) && !gateway_has_all(sync, list) &&
           clock_monotonic_ms() < until_ms &&
           loop_wait(&sync->loop, clock_monotonic_ms() + RELOAD_LOOK_MS, INT64_MAX))
        ;
}

static void compare_with_gateway(struct agent_sync *sync, const struct agent_list *list)
{
    if (breaker_token_is_refused(sync->parts.breaker))
        return;
    if (refresh_roster(sync) && needs_dialect(sync))
        dialect_learn(
            sync->parts.roster, sync->parts.gateway, sync->client, ROSTER_TIMEOUT_MS, &sync->trace);
    /* It does not know those yet whose turn has not come. */
    if (atomic_load(&sync->parts.stats->profiles_unfinished))
        return;
    json_t *missing = find_missing_slugs(sync, list);
    size_t count = json_array_size(missing);
    gateway_roster_set_missing(sync->parts.roster, json_incref(missing));
    const char *fallback = sync->parts.config->fallback_agent;
    if (count != sync->missing && count > 0)
        log_warn(component, "the gateway does not know %zu of %zu agents (first: %s); %s%s", count,
            list->count, json_string_value(json_array_get(missing, 0)),
            fallback != NULL ? "they run as " : "add them there or set OPENCLAW_FALLBACK_AGENT",
            fallback != NULL ? fallback : "");
    sync->missing = count;
    json_decref(missing);
}

/* Those under which an agent must not be asked on v1, as {slug, problem}; NULL without memory. */
static json_t *find_unusable_slugs(const struct agent_sync *sync, const struct agent_list *list)
{
    json_t *unusable = json_array();
    for (size_t i = 0; i < list->count; i++) {
        enum slug_problem problem = slug_check_among(list, i, sync->parts.config->fallback_agent);
        if (problem != SLUG_USABLE)
            json_array_append_new(unusable, json_pack("{s:s, s:s}", "slug", list->agents[i].slug,
                                                "problem", slug_problem_words[problem]));
    }
    return unusable;
}

static void append_slug_problems(struct text *names, const json_t *unusable)
{
    size_t index;
    const json_t *item;
    json_array_foreach (unusable, index, item) {
        char quoted[QUOTED_BYTES];
        const char *slug = json_string_value(json_object_get(item, "slug"));
        if (index == MAX_NAMED_SLUGS) {
            text_append(names, ", ...");
            return;
        }
        text_quote(quoted, sizeof quoted, slug, strlen(slug));
        text_printf(names, "%s\"%s\" (%s)", index > 0 ? ", " : "", quoted,
            json_string_value(json_object_get(item, "problem")));
    }
}

static void log_unusable_slugs(
    struct agent_sync *sync, const struct agent_list *list, json_t *unusable)
{
    struct text names = {0};
    size_t before = json_array_size(sync->unusable);
    if (json_array_size(unusable) > 0) {
        append_slug_problems(&names, unusable);
        log_warn(component,
            "%zu of %zu agents are not asked, because their slugs could lead into sessions of "
            "other agents: %s; give them other slugs on the board",
            json_array_size(unusable), list->count, names.failed ? "..." : names.data);
    } else if (before > 0) {
        log_info(component, "the slugs of all agents are usable again");
    }
    text_fini(&names);
    json_decref(sync->unusable);
    sync->unusable = json_incref(unusable);
}

/* The roster always has them, for the moment at which the backend becomes v1. */
static void check_slugs(struct agent_sync *sync, const struct agent_list *list)
{
    json_t *unusable = find_unusable_slugs(sync, list);
    bool is_v1 = convex_likely_version(sync->parts.convex) == BACKEND_V1;
    /* A copy: what the roster has is released under its lock, by whatever thread. */
    gateway_roster_set_unusable(sync->parts.roster, json_deep_copy(unusable));
    if (is_v1 && !json_equal(unusable, sync->unusable))
        log_unusable_slugs(sync, list, unusable);
    json_decref(unusable);
}

static void log_wake_changes(const struct wake_changes *changes)
{
    if (changes->added + changes->removed > 0)
        log_info(component, "agent list changed: %zu added, %zu removed, %zu in total",
            changes->added, changes->removed, changes->total);
}

static int apply_agent_list(
    struct agent_sync *sync, const struct agent_list *list, struct error *error)
{
    struct stats *stats = sync->parts.stats;
    struct wake_changes changes;
    int result =
        wake_schedule_update(sync->parts.schedule, list, clock_monotonic_ms(), &changes, error);
    if (result != 0)
        return result;
    loop_poke(sync->parts.heartbeat);
    atomic_store(&stats->sync_added, (long long)changes.added);
    atomic_store(&stats->sync_removed, (long long)changes.removed);
    stats_sync_ended(stats, NULL);
    if (sync->failures > 0)
        log_info(component, "agents can be read again after %u failures", sync->failures);
    if (list->refused > 0 && list->refused != sync->refused)
        log_error(component, "ignoring %zu agents with an invalid _id", list->refused);
    sync->refused = list->refused;
    log_wake_changes(&changes);
    sync->failures = 0;
    return 0;
}

/* Returns the delay before the next attempt: backoff, but never more than the interval. */
static int64_t record_sync_failure(struct agent_sync *sync, const struct error *error)
{
    const struct config *config = sync->parts.config;
    sync->failures++;
    stats_sync_ended(sync->parts.stats, error->text);
    int64_t delay_ms = backoff_ms(sync->failures, config->delivery_backoff_base_ms,
        config->delivery_backoff_max_ms, backoff_random_unit());
    if (delay_ms > config->agent_sync_interval_ms)
        delay_ms = config->agent_sync_interval_ms;
    log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_NUMBER("retry_ms", delay_ms)),
        "agent sync failed: %s", error->text);
    return delay_ms;
}

/* Returns when the next sync is due, on the monotonic clock. */
static int64_t sync_once(struct agent_sync *sync)
{
    int64_t began_ms = clock_monotonic_ms();
    const struct service service = {.convex = sync->parts.convex,
        .client = sync->client,
        .trace = &sync->trace,
        .for_loop = true};
    int64_t interval_ms = sync->parts.config->agent_sync_interval_ms;
    struct agent_list list;
    struct error error;
    trace_begin(&sync->trace);
    enum convex_outcome outcome = service_list_agents(&service, &list, &error);
    if (outcome == CONVEX_ABORTED)
        return began_ms + interval_ms;
    if (outcome != CONVEX_SUCCESS)
        return began_ms + record_sync_failure(sync, &error);
    /* Both before the schedule has new agents, which may be woken at once. */
    check_slugs(sync, &list);
    if (profiles_sync(&sync->profiles, &service,
            gateway_roster_release(sync->parts.roster).generation, list.count))
        wait_for_gateway(sync, &list);
    int64_t next_ms = began_ms + interval_ms;
    if (apply_agent_list(sync, &list, &error) != 0)
        next_ms = began_ms + record_sync_failure(sync, &error);
    else if (atomic_load(&sync->parts.stats->profiles_unfinished))
        next_ms = clock_monotonic_ms() + NEXT_ROUND_MS;
    compare_with_gateway(sync, &list);
    agent_list_fini(&list);
    return next_ms;
}

static void *agent_sync_thread(void *owner)
{
    struct agent_sync *sync = owner;
    atomic_store(&sync->parts.stats->sync_running, true);
    while (loop_wait(&sync->loop, sync_once(sync), INT64_MAX))
        ;
    atomic_store(&sync->parts.stats->sync_running, false);
    return NULL;
}

int agent_sync_create(
    struct agent_sync **sync, const struct agent_sync_parts *parts, struct error *error)
{
    struct agent_sync *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the agent sync");
    created->parts = *parts;
    created->profiles =
        (struct profiles){.config = parts->config, .stats = parts->stats, .abort = parts->abort};
    int result = http_client_create(&created->client, parts->store, parts->abort, error);
    if (result != 0) {
        free(created);
        return result;
    }
    loop_init(&created->loop, "mc-agents", agent_sync_thread, created);
    *sync = created;
    return 0;
}

void agent_sync_destroy(struct agent_sync *sync)
{
    if (sync == NULL)
        return;
    loop_fini(&sync->loop);
    http_client_destroy(sync->client);
    profiles_fini(&sync->profiles);
    json_decref(sync->unusable);
    free(sync);
}

struct loop *agent_sync_loop(struct agent_sync *sync)
{
    return &sync->loop;
}
