/*
 * A circuit breaker for the gateway, so that an outage costs no notification one of its runs. The
 * circuit is closed (agents may be asked), half-open (an outage is suspected) or open (an outage is
 * known). Sends pass only while it is closed; while it is not, probes find out when they may again.
 *
 *   start -> half-open     or open for good when no gateway is configured
 *   closed -> open         a send was answered "misconfigured" or "busy", or the third in a row
 *                          reached nothing
 *   closed -> half-open    a send went out and nothing proves that no agent ran, or the probe of
 *                          an idle gateway failed
 *   half-open -> open      a probe failed
 *   any -> closed          a probe was answered
 *
 * A quick probe notices a returning gateway early; a slow one, due only after a quick one timed
 * out, tells a slow gateway from a dead one. Single-flight is a mode beside the state: after failed
 * runs of three agents without a reply in between the model provider is suspected, and sends go out
 * one at a time with a growing gap. It outlives outages; any reply ends it.
 *
 * A result may arrive long after the state in which its request began, so callers take a ticket
 * first: a send counts only within its epoch, which every change of state or mode ends, a probe
 * only within its outage. A reply is good news at any time.
 *
 * Workers (mc-send-NN) record sends, mc-probe and mc-probe-slow record probes, any thread takes
 * snapshots. No I/O happens here and the time is an argument; delivery/breaker_control.c applies
 * each change to the queue, the probers and the log.
 */
#include "gateway/breaker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    UNREACHABLE_TO_OPEN = 3, /* in a row; a single refused connection may be a gateway restart */
    FAILED_AGENTS_TO_SINGLE_FLIGHT = 3,
    MIN_PROBE_GAP_MS = 250,
    MAX_PROBE_GAP_MS = 1500, /* queued work has to start within 2 s of the gateway's return */
};

static const char provider_trouble[] =
    "runs of several agents failed in a row: check the gateway's model provider, its key and its "
    "limits";

struct breaker {
    struct breaker_settings settings; /* immutable */
    const char *_Atomic word;         /* copy of the view's word, so that a scrape takes no lock */

    /* Guards everything below. */
    struct mutex lock;
    struct breaker_view view;
    uint64_t epoch;  /* the send ticket; changes with every state or mode */
    uint64_t outage; /* the probe ticket; changes when the circuit closes or ceases to be closed */
    unsigned unreachable_sends; /* in a row */
    int64_t next_probe_ms;      /* while the circuit is not closed */
    int64_t last_heard_ms;      /* the gateway's last answer, or the start of an idle probe */
    unsigned probes;            /* in this outage; widens the gap between them */
    bool slow_probe_wanted;     /* a quick probe timed out and no slow one has begun since */
    /* Distinct agents whose runs failed since the last reply; a single broken agent counts once. */
    char failed_agents[FAILED_AGENTS_TO_SINGLE_FLIGHT][ID_BYTES];
    unsigned failed_agent_count;
    unsigned single_flight_failures; /* in this mode; widens the gap between sends */
    int64_t closed_before_ms;        /* total of the earlier closed periods */
};

/* The published words say whether sends may pass, hence "open" for a closed circuit. */
const char *breaker_view_word(const struct breaker_view *view)
{
    static const char *const words[] = {
        [BREAKER_CLOSED] = "open", [BREAKER_HALF_OPEN] = "suspect", [BREAKER_OPEN] = "shut"};
    return view->state == BREAKER_CLOSED && view->single_flight ? "trickle" : words[view->state];
}

int breaker_create(struct breaker **breaker, const struct breaker_settings *settings,
    int64_t now_ms, struct error *error)
{
    struct breaker *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the circuit breaker");
    created->settings = *settings;
    created->view.version = 1;
    created->view.state = settings->enabled ? BREAKER_HALF_OPEN : BREAKER_OPEN;
    created->view.since_ms = now_ms;
    created->next_probe_ms = now_ms;
    text_copy(created->view.reason, sizeof created->view.reason,
        settings->enabled
            ? "the gateway has not been probed yet"
            : "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); it is disabled");
    atomic_init(&created->word, breaker_view_word(&created->view));
    mutex_init(&created->lock);
    *breaker = created;
    return 0;
}

void breaker_destroy(struct breaker *breaker)
{
    if (breaker == NULL)
        return;
    mutex_fini(&breaker->lock);
    free(breaker);
}

void breaker_snapshot(struct breaker *breaker, struct breaker_view *view)
{
    mutex_lock(&breaker->lock);
    *view = breaker->view;
    mutex_unlock(&breaker->lock);
}

const char *breaker_word(const struct breaker *breaker)
{
    return atomic_load(&breaker->word);
}

/* Publishes the word and releases the lock. Returns whether the view changed since version. */
static bool commit_and_unlock(struct breaker *breaker, uint64_t version)
{
    bool changed = breaker->view.version != version;
    atomic_store(&breaker->word, breaker_view_word(&breaker->view));
    mutex_unlock(&breaker->lock);
    return changed;
}

uint64_t breaker_ticket(struct breaker *breaker)
{
    mutex_lock(&breaker->lock);
    uint64_t ticket = breaker->epoch;
    mutex_unlock(&breaker->lock);
    return ticket;
}

static int64_t closed_ms_locked(const struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    bool is_closed = breaker->view.state == BREAKER_CLOSED;
    return breaker->closed_before_ms + (is_closed ? now_ms - breaker->view.since_ms : 0);
}

int64_t breaker_closed_ms(struct breaker *breaker, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    int64_t closed_ms = closed_ms_locked(breaker, now_ms);
    mutex_unlock(&breaker->lock);
    return closed_ms;
}

/*
 * When an outage is probed first. A suspicion is checked at once, unless the probe that closed the
 * circuit was sent only moments ago: a circuit that flaps must not be probed without pause. A known
 * outage gets a moment to pass.
 */
static int64_t first_probe_ms_locked(
    const struct breaker *breaker, enum breaker_state state, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    int64_t after_gap_ms = now_ms + MIN_PROBE_GAP_MS;
    if (state == BREAKER_OPEN || breaker->next_probe_ms > after_gap_ms)
        return after_gap_ms;
    return breaker->next_probe_ms > now_ms ? breaker->next_probe_ms : now_ms;
}

static void enter_locked(
    struct breaker *breaker, enum breaker_state state, const char *reason, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->closed_before_ms = closed_ms_locked(breaker, now_ms);
    if (breaker->view.state == BREAKER_CLOSED) {
        breaker->probes = 0;
        breaker->slow_probe_wanted = false;
        breaker->next_probe_ms = first_probe_ms_locked(breaker, state, now_ms);
    }
    if ((breaker->view.state == BREAKER_CLOSED) != (state == BREAKER_CLOSED))
        breaker->outage++;
    breaker->view.state = state;
    breaker->view.since_ms = now_ms;
    breaker->view.version++;
    breaker->epoch++;
    breaker->unreachable_sends = 0;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, reason);
}

/* Each failure doubles the gap to the next send. No jitter: one runtime is no thundering herd. */
static void delay_next_send_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    int64_t gap_ms = backoff_doubled_ms(breaker->settings.backoff_base_ms,
        breaker->single_flight_failures, breaker->settings.backoff_max_ms);
    breaker->single_flight_failures++;
    breaker->view.next_send_ms = now_ms + gap_ms;
    breaker->view.version++;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, provider_trouble);
}

static void begin_single_flight_locked(struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    breaker->view.single_flight = true;
    breaker->single_flight_failures = 0;
    breaker->epoch++;
}

static void add_failed_agent_locked(struct breaker *breaker, const char *agent_id)
{
    mutex_assert_held(&breaker->lock);
    for (unsigned i = 0; i < breaker->failed_agent_count; i++)
        if (strcmp(breaker->failed_agents[i], agent_id) == 0)
            return;
    if (breaker->failed_agent_count < FAILED_AGENTS_TO_SINGLE_FLIGHT)
        text_copy(breaker->failed_agents[breaker->failed_agent_count++], ID_BYTES, agent_id);
}

static void record_failed_run_locked(struct breaker *breaker, const char *agent_id, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->unreachable_sends = 0;
    add_failed_agent_locked(breaker, agent_id);
    if (breaker->failed_agent_count < FAILED_AGENTS_TO_SINGLE_FLIGHT)
        return;
    if (!breaker->view.single_flight)
        begin_single_flight_locked(breaker);
    delay_next_send_locked(breaker, now_ms);
}

static void record_reply_locked(struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    breaker->failed_agent_count = 0;
    if (!breaker->view.single_flight)
        return;
    breaker->view.single_flight = false;
    breaker->view.version++;
    breaker->epoch++;
    if (breaker->view.state == BREAKER_CLOSED)
        breaker->view.reason[0] = '\0';
}

/* The hint for a status that points to a wrong configuration. */
static const char *misconfiguration_hint(int status)
{
    switch (status) {
    case 401:
    case 429:
        /* Not ": the gateway...", as redact() would take what follows a colon for the token. */
        return "check OPENCLAW_GATEWAY_TOKEN; the gateway rejects it";
    case 404:
    case 405:
        return "check OPENCLAW_GATEWAY_URL and that the gateway's responses endpoint is enabled "
               "(gateway.http.endpoints.responses.enabled)";
    default:
        return "check OPENCLAW_GATEWAY_URL: it does not lead to an OpenClaw gateway";
    }
}

/* The reason for opening the circuit after that result, with advice where there is some. */
static void explain_opening(const struct breaker *breaker, const struct gateway_result *result,
    char reason[static BREAKER_REASON_BYTES])
{
    /* Half, so that the advice around it always fits. */
    char cause[BREAKER_REASON_BYTES / 2];
    text_copy(cause, sizeof cause, result->error.text);
    if (result->outcome == GATEWAY_MISCONFIGURED)
        snprintf(
            reason, BREAKER_REASON_BYTES, "%s (%s)", misconfiguration_hint(result->status), cause);
    else if (result->outcome == GATEWAY_UNREACHABLE && result->error.code == ERROR_SYSTEM)
        snprintf(reason, BREAKER_REASON_BYTES,
            "raise this process's limit of open files (LimitNOFILE, ulimit -n) (%s)", cause);
    else if (result->outcome == GATEWAY_UNREACHABLE && result->status == 0)
        snprintf(reason, BREAKER_REASON_BYTES,
            "start the gateway at %.128s, or set OPENCLAW_GATEWAY_URL to its address (%s)",
            breaker->settings.url, cause);
    else
        text_copy(reason, BREAKER_REASON_BYTES, cause);
}

/* An open circuit whose reason stays the same is left alone, so that nothing is logged again. */
static void open_circuit_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    char reason[BREAKER_REASON_BYTES];
    explain_opening(breaker, result, reason);
    bool same = breaker->view.state == BREAKER_OPEN && strcmp(breaker->view.reason, reason) == 0;
    if (!same)
        enter_locked(breaker, BREAKER_OPEN, reason, now_ms);
    if (result->outcome == GATEWAY_BUSY && breaker->next_probe_ms < now_ms + result->retry_after_ms)
        breaker->next_probe_ms = now_ms + result->retry_after_ms;
}

static void record_unreachable_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->unreachable_sends++;
    if (breaker->unreachable_sends >= UNREACHABLE_TO_OPEN)
        open_circuit_locked(breaker, result, now_ms);
}

static void record_current_send_locked(struct breaker *breaker, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    switch (result->outcome) {
    case GATEWAY_UNREACHABLE:
        record_unreachable_locked(breaker, result, now_ms);
        break;
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
        open_circuit_locked(breaker, result, now_ms);
        break;
    case GATEWAY_AMBIGUOUS:
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
        break;
    case GATEWAY_FAILED_RUN:
        record_failed_run_locked(breaker, agent_id, now_ms);
        break;
    case GATEWAY_REFUSED:
    case GATEWAY_REPLIED:
        breaker->unreachable_sends = 0;
        break;
    case GATEWAY_DISABLED:
    case GATEWAY_ABORTED:
        break;
    }
}

bool breaker_record_send(struct breaker *breaker, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    uint64_t version = breaker->view.version;
    if (result->status != 0)
        breaker->last_heard_ms = now_ms;
    if (result->outcome == GATEWAY_REPLIED)
        record_reply_locked(breaker);
    /* A stale send would blame the gateway as it is now for what it was then. */
    if (ticket == breaker->epoch && breaker->view.state == BREAKER_CLOSED)
        record_current_send_locked(breaker, agent_id, result, now_ms);
    return commit_and_unlock(breaker, version);
}

static int64_t probe_due_locked(const struct breaker *breaker, bool slow_probe)
{
    mutex_assert_held(&breaker->lock);
    if (!breaker->settings.enabled || (slow_probe && !breaker->slow_probe_wanted))
        return SYNC_NO_DEADLINE;
    if (breaker->view.state != BREAKER_CLOSED)
        return breaker->next_probe_ms;
    return slow_probe ? breaker->last_heard_ms
                      : breaker->last_heard_ms + breaker->settings.idle_probe_ms;
}

int64_t breaker_probe_due(struct breaker *breaker, bool slow_probe)
{
    mutex_lock(&breaker->lock);
    int64_t due_ms = probe_due_locked(breaker, slow_probe);
    mutex_unlock(&breaker->lock);
    return due_ms;
}

bool breaker_begin_probe(struct breaker *breaker, bool slow_probe, int64_t now_ms, uint64_t *ticket)
{
    mutex_lock(&breaker->lock);
    bool mine = now_ms >= probe_due_locked(breaker, slow_probe);
    /* Moving the due time here makes a second prober that wakes for the same probe skip it. */
    if (mine && breaker->view.state == BREAKER_CLOSED)
        breaker->last_heard_ms = now_ms;
    else if (mine)
        breaker->next_probe_ms =
            now_ms + backoff_doubled_ms(MIN_PROBE_GAP_MS, breaker->probes++, MAX_PROBE_GAP_MS);
    if (mine && slow_probe)
        breaker->slow_probe_wanted = false;
    *ticket = breaker->outage;
    mutex_unlock(&breaker->lock);
    return mine;
}

static void close_circuit_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    enter_locked(breaker, BREAKER_CLOSED, "", now_ms);
    /* A probe runs no agent, so it says nothing about the model provider. */
    if (breaker->view.single_flight)
        delay_next_send_locked(breaker, now_ms);
}

/* The probe of an idle gateway timing out is not an outage yet: the slow probe decides. */
static void record_idle_probe_locked(
    struct breaker *breaker, bool slow_probe, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    if (result->outcome == GATEWAY_REPLIED)
        breaker->last_heard_ms = now_ms;
    else if (result->timed_out && !slow_probe)
        breaker->slow_probe_wanted = true;
    else
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
}

static void record_probe_locked(
    struct breaker *breaker, bool slow_probe, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    if (result->outcome == GATEWAY_ABORTED)
        return;
    if (breaker->view.state == BREAKER_CLOSED) {
        record_idle_probe_locked(breaker, slow_probe, result, now_ms);
        return;
    }
    if (result->outcome == GATEWAY_REPLIED) {
        breaker->last_heard_ms = now_ms;
        close_circuit_locked(breaker, now_ms);
        return;
    }
    if (!result->timed_out) {
        open_circuit_locked(breaker, result, now_ms);
        return;
    }
    /* Slow is not down: an open circuit keeps its reason until a slow probe has timed out as well.
     */
    breaker->slow_probe_wanted = !slow_probe || breaker->slow_probe_wanted;
    if (breaker->view.state == BREAKER_HALF_OPEN || slow_probe)
        open_circuit_locked(breaker, result, now_ms);
}

bool breaker_record_probe(struct breaker *breaker, bool slow_probe, uint64_t ticket,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    uint64_t version = breaker->view.version;
    if (ticket == breaker->outage)
        record_probe_locked(breaker, slow_probe, result, now_ms);
    return commit_and_unlock(breaker, version);
}
