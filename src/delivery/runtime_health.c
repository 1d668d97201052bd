/*
 * The judgement on the runtime's health. It is made from one reading of what the other modules
 * publish (runtime_health_read), by pure functions, so that whoever reports it reports the same.
 *
 * Connections that work prove little: a gateway can accept every request and run no agent. So
 * besides the breaker, the polls and the spool the judgement looks at work done:
 *
 * - No delivery has succeeded since five attempts, and these come from all agents that have work,
 *   or from five of them. The class of the failures does not matter. stats.c counts the attempts;
 *   it also knows which agents were delivered to in the last five minutes. While these are as many
 *   as the failing ones, they vouch for the runtime: one broken agent is not an outage. Once the
 *   trouble is found it lasts until a delivery succeeds, or until nothing has been tried and no
 *   work has been there for 15 minutes, so that it does not flap as work comes and goes.
 * - The gateway lacks all agents that have work. An agent with a fallback is not lacking.
 * - A notification whose last attempt failed is more than five minutes old. A long backlog that
 *   is being worked off has no failures and is no trouble.
 *
 * Wake-ups count nowhere here: an agent may be unable to answer one and still deliver.
 */
#include "delivery/runtime_health.h"

#include "base/sync.h"

void runtime_health_read(
    struct runtime_health *health, const struct runtime_health_sources *sources)
{
    struct stats *stats = sources->stats;
    struct send_queue_view view = {0};
    if (sources->queue != NULL)
        send_queue_snapshot(sources->queue, &view);
    *health = (struct runtime_health){
        .gateway_running = atomic_load(&stats->gateway_running),
        .delivery_running = atomic_load(&stats->delivery_running),
        .held_by_operator = view.held_by_operator,
        .spool_broken = atomic_load(&stats->spool_broken),
        .list_full = atomic_load(&stats->list_full),
        .profiles_broken = atomic_load(&stats->profiles_broken),
        .poll_failures = atomic_load(&stats->consecutive_poll_failures),
        .poll_problem = (enum convex_problem)atomic_load(&stats->poll_problem),
        .last_poll_ms = atomic_load(&stats->last_poll_ms),
        .has_child = sources->supervisor != NULL,
        .agents_with_work = view.agents_with_work,
        .unknown_agents = view.unknown_agents,
        .oldest_failing_ms = view.oldest_failing_ms,
        .now_ms = clock_wall_ms(),
    };
    if (sources->convex != NULL) {
        health->pinned_version = convex_pinned_version(sources->convex);
        health->seen_version = convex_seen_version(sources->convex);
    }
    stats_attempts_judge(stats, view.agents_with_work, clock_monotonic_ms(), &health->attempts);
    breaker_snapshot(sources->breaker, &health->breaker);
    if (health->has_child)
        supervisor_status(sources->supervisor, &health->child);
}

bool runtime_health_has(const struct runtime_health *health, enum health_trouble trouble)
{
    switch (trouble) {
    case TROUBLE_NOT_RUNNING:
        /* A gateway that is disabled does not run either, and the breaker says so in full. */
        return (!health->gateway_running || !health->delivery_running) &&
               !runtime_health_has(health, TROUBLE_GATEWAY);
    case TROUBLE_GATEWAY:
        return health->breaker.state != BREAKER_CLOSED || health->breaker.limited;
    case TROUBLE_PROCESS:
        return health->has_child && !health->child.accepting;
    case TROUBLE_BACKEND:
        return health->poll_failures > 0 || health->last_poll_ms == 0;
    case TROUBLE_BACKEND_VERSION:
        return backend_version_mismatches(health->pinned_version, health->seen_version);
    case TROUBLE_SPOOL:
        return health->spool_broken;
    case TROUBLE_PROFILES:
        return health->profiles_broken;
    case TROUBLE_NO_DELIVERY:
        return health->attempts.none_succeeds;
    case TROUBLE_UNKNOWN_AGENTS:
        return health->unknown_agents > 0 && health->unknown_agents >= health->agents_with_work;
    case TROUBLE_OLD_FAILURES:
        return health->oldest_failing_ms != 0 &&
               health->now_ms - health->oldest_failing_ms > HEALTH_MAX_AGE_MS;
    case TROUBLE_LIST_FULL:
        return health->list_full;
    case TROUBLE_COUNT:
        break;
    }
    return false;
}

bool runtime_health_is_good(const struct runtime_health *health)
{
    for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++)
        if (runtime_health_has(health, (enum health_trouble)trouble))
            return false;
    return true;
}

/* Without numbers, so that a screen reader does not announce a sentence again at each attempt. */
static const struct {
    const char *label;
    const char *sentence;
} troubles[TROUBLE_COUNT] = {
    [TROUBLE_NOT_RUNNING] = {"not_running", "Deliveries are not running"},
    [TROUBLE_GATEWAY] = {"gateway", NULL},
    [TROUBLE_PROCESS] = {"gateway_process", "The gateway process does not accept connections yet"},
    [TROUBLE_BACKEND] = {"backend", NULL},
    [TROUBLE_BACKEND_VERSION] = {"backend_version", NULL},
    [TROUBLE_SPOOL] = {"spool", "The state directory cannot be written"},
    [TROUBLE_PROFILES] = {"profiles", "Agents' profiles cannot be written; the log says why"},
    [TROUBLE_NO_DELIVERY] = {"no_delivery",
        "No delivery has succeeded lately: every attempt has failed"},
    [TROUBLE_UNKNOWN_AGENTS] = {"unknown_agents",
        "The gateway knows none of the agents that have work; add them to the gateway or set "
        "OPENCLAW_FALLBACK_AGENT"},
    [TROUBLE_OLD_FAILURES] = {"old_failures",
        "A notification has been undelivered for over 5 minutes, and its attempts fail"},
    [TROUBLE_LIST_FULL] = {"list_full",
        "500 notifications are undelivered, and the backend lists no more: newer ones are not seen "
        "until some of these have ended"},
};

const char *runtime_health_label(enum health_trouble trouble)
{
    return troubles[trouble].label;
}

/* With what to do about it, where that is known. */
static void append_backend_trouble(struct text *text, const struct runtime_health *health)
{
    if (health->poll_failures == 0)
        text_append(text, "The backend has not answered a poll yet");
    else if (health->poll_problem == PROBLEM_NONE)
        text_append(text, "The backend cannot be polled");
    else
        text_printf(text, "The backend cannot be polled: %s; %s",
            convex_problem_cause(health->poll_problem), convex_problem_fix(health->poll_problem));
}

void runtime_health_append_sentence(
    struct text *text, const struct runtime_health *health, enum health_trouble trouble)
{
    if (trouble == TROUBLE_GATEWAY)
        text_printf(text, "%s: %s",
            health->breaker.state == BREAKER_CLOSED ? "Sends are limited to three at a time"
                                                    : "No agent can be asked",
            health->breaker.reason);
    else if (trouble == TROUBLE_BACKEND)
        append_backend_trouble(text, health);
    else if (trouble == TROUBLE_BACKEND_VERSION)
        text_printf(text, "The backend is version %s, but BACKEND_VERSION=%s is set",
            backend_version_words[health->seen_version],
            backend_version_words[health->pinned_version]);
    else
        text_append(text, troubles[trouble].sentence);
}

void runtime_health_append_reason(struct text *text, const struct runtime_health *health)
{
    const char *separator = "";
    for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++) {
        if (!runtime_health_has(health, (enum health_trouble)trouble))
            continue;
        text_append(text, separator);
        runtime_health_append_sentence(text, health, (enum health_trouble)trouble);
        separator = "; ";
    }
}

bool runtime_health_is_known(const struct stats *stats, struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    bool polled = atomic_load(&stats->last_poll_ms) != 0 ||
                  atomic_load(&stats->consecutive_poll_failures) != 0;
    return view.state != BREAKER_HALF_OPEN && polled;
}
