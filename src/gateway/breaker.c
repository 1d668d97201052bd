/*
 * A circuit breaker for the gateway, so that an outage costs no notification one of its runs. The
 * circuit is closed (agents may be asked), half-open (an outage is suspected) or open (an outage is
 * known). Sends pass only while it is closed; while it is not, probes find out when they may again.
 *
 *   start -> half-open     or open for good when no gateway is configured
 *   closed -> open         a send was answered "misconfigured", the gateway is draining, or the
 *                          third send in a row reached nothing
 *   closed -> half-open    a send went out and nothing proves that no agent ran, the probe of an
 *                          idle gateway failed, or its process, our child, has ended or is new
 *   half-open -> open      a probe failed
 *   any -> closed          a probe was accepted
 *
 * A probe waits 1.5 s for its answer, and longer after each that came to nothing, up to 15 s: so a
 * gateway that returns is noticed early, and one that is slow is found as well. A refused token is
 * tried rarely, because the gateway locks out an address after ten wrong tokens in a minute, even
 * for the right one: at least 30 s apart (65 s after a burst of refusals), with the shortest
 * timeout, and at once when SIGHUP has replaced the token or the gateway is a new process.
 *
 * The limit is a mode beside the state: after failed runs of three agents without a reply in
 * between the model provider is suspected, and only a few sends go out at a time. It outlives
 * outages. Any reply ends it, so agents that are broken by themselves do not hold up the others for
 * long.
 *
 * A result may arrive long after the state in which its request began. So a send counts only if the
 * version under which it was allowed, its ticket, is the present one, and every change of state or
 * mode ends a version; a probe counts only within its outage, and only for the process that it
 * asked. A reply is good news at any time.
 *
 * Workers (mc-send-NN) record sends, mc-probe records probes, mc-gateway what becomes of the
 * gateway's process, any thread takes snapshots. No I/O happens here and the time is an argument;
 * delivery/breaker_control.c applies each change to the queue, the probers and the log.
 */
#include "gateway/breaker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    UNREACHABLE_TO_OPEN = 3, /* in a row; a single refused connection may be a gateway restart */
    FAILED_AGENTS_TO_LIMIT = 3,
    MIN_PROBE_GAP_MS = 250,
    MAX_PROBE_GAP_MS = 1500, /* queued work has to start within 2 s of the gateway's return */
    MIN_PATIENCE_MS = 1500,
    MAX_PATIENCE_MS = 15000,
    /* The gateway allows ten wrong tokens in a minute. */
    TOKEN_PROBE_GAP_MS = 30 * 1000,
    TOKEN_BURST = 8, /* refusals at a time after which all of them have to be forgotten first */
    TOKEN_BURST_GAP_MS = 65 * 1000,
};

static const char provider_trouble[] =
    "runs of several agents failed in a row: check the gateway's model provider, its key and its "
    "limits";

struct breaker {
    struct breaker_settings settings; /* immutable */

    /* Guards everything below. */
    struct mutex lock;
    struct breaker_view view;
    /* The probe ticket: changes when the circuit closes, ceases to be closed, or is suspected. */
    uint64_t outage;
    unsigned unreachable_sends; /* in a row */
    int64_t next_probe_ms;      /* while the circuit is not closed */
    int64_t last_heard_ms;      /* the gateway's last answer, or the start of an idle probe */
    unsigned probes;            /* in this outage; widens the gap between them */
    int64_t probe_began_ms;     /* the latest */
    unsigned silent_probes;     /* without an answer in time; they make the next more patient */
    bool idle_probe_failed;     /* the latest, of a closed circuit, had no answer in time */
    bool token_refused;         /* the gateway's last word */
    unsigned token_refusals;    /* since the last probe began */
    /* Distinct agents whose runs failed since the last reply; a single broken agent counts once. */
    char failed_agents[FAILED_AGENTS_TO_LIMIT][ID_BYTES];
    unsigned failed_agent_count;
    int64_t closed_before_ms; /* total of the earlier closed periods */
};

/* The published words say whether sends may pass, hence "open" for a closed circuit. */
const char *breaker_view_word(const struct breaker_view *view)
{
    static const char *const words[] = {
        [BREAKER_CLOSED] = "open", [BREAKER_HALF_OPEN] = "suspect", [BREAKER_OPEN] = "shut"};
    return view->state == BREAKER_CLOSED && view->limited ? "trickle" : words[view->state];
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
        breaker->idle_probe_failed = false;
        breaker->next_probe_ms = first_probe_ms_locked(breaker, state, now_ms);
    }
    if ((breaker->view.state == BREAKER_CLOSED) != (state == BREAKER_CLOSED))
        breaker->outage++;
    breaker->view.state = state;
    breaker->view.since_ms = now_ms;
    breaker->view.version++;
    breaker->unreachable_sends = 0;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, reason);
}

static void begin_limit_locked(struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    breaker->view.limited = true;
    breaker->view.version++;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, provider_trouble);
}

static void add_failed_agent_locked(struct breaker *breaker, const char *agent_id)
{
    mutex_assert_held(&breaker->lock);
    for (unsigned i = 0; i < breaker->failed_agent_count; i++)
        if (strcmp(breaker->failed_agents[i], agent_id) == 0)
            return;
    if (breaker->failed_agent_count < FAILED_AGENTS_TO_LIMIT)
        text_copy(breaker->failed_agents[breaker->failed_agent_count++], ID_BYTES, agent_id);
}

static void record_failed_run_locked(struct breaker *breaker, const char *agent_id)
{
    mutex_assert_held(&breaker->lock);
    breaker->unreachable_sends = 0;
    /* A wake-up that fails is no reason to hold up what people wait for. */
    if (agent_id == NULL)
        return;
    add_failed_agent_locked(breaker, agent_id);
    if (breaker->failed_agent_count == FAILED_AGENTS_TO_LIMIT && !breaker->view.limited)
        begin_limit_locked(breaker);
}

static void record_reply_locked(struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    breaker->failed_agent_count = 0;
    if (!breaker->view.limited)
        return;
    breaker->view.limited = false;
    breaker->view.version++;
    if (breaker->view.state == BREAKER_CLOSED)
        breaker->view.reason[0] = '\0';
}

/* The hint for a status that points to a wrong configuration. */
static const char *misconfiguration_hint(int status)
{
    switch (status) {
    case 401:
        /* Not ": the gateway...", as redact() would take what follows a colon for the token. */
        return "check OPENCLAW_GATEWAY_TOKEN; the gateway rejects it";
    case 429:
        return "check OPENCLAW_GATEWAY_TOKEN; the gateway has locked out this address after too "
               "many wrong tokens and refuses even the right one for now";
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

/* Whether it is the token that the gateway refuses, or our address for trying it too often. */
static bool refuses_token(const struct gateway_result *result)
{
    return result->outcome == GATEWAY_MISCONFIGURED &&
           (result->status == 401 || result->status == 429);
}

/* Postpones the next probe: the gateway must not see the refused token often. */
static void record_token_refusal_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->token_refused = true;
    breaker->token_refusals++;
    int64_t gap_ms =
        breaker->token_refusals > TOKEN_BURST ? TOKEN_BURST_GAP_MS : TOKEN_PROBE_GAP_MS;
    breaker->next_probe_ms = now_ms + gap_ms;
}

/* An open circuit whose reason stays the same is left alone, so that nothing is logged again. */
static void open_circuit_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    char reason[BREAKER_REASON_BYTES];
    explain_opening(breaker, result, reason);
    bool same = breaker->view.state == BREAKER_OPEN && strcmp(breaker->view.reason, reason) == 0;
    /* That the address is locked out follows from the refused token, which is what to repair. */
    bool follows = breaker->token_refused && refuses_token(result) && result->status == 429 &&
                   breaker->view.state == BREAKER_OPEN;
    if (!same && !follows)
        enter_locked(breaker, BREAKER_OPEN, reason, now_ms);
    if (refuses_token(result))
        record_token_refusal_locked(breaker, now_ms);
    else if (result->status != 0)
        breaker->token_refused = false;
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
    case GATEWAY_BUSY:
        /* An agent's own rate limit is its lane's affair. */
        breaker->unreachable_sends = 0;
        if (result->draining)
            open_circuit_locked(breaker, result, now_ms);
        break;
    case GATEWAY_MISCONFIGURED:
        open_circuit_locked(breaker, result, now_ms);
        break;
    case GATEWAY_AMBIGUOUS:
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
        break;
    case GATEWAY_FAILED_RUN:
        record_failed_run_locked(breaker, agent_id);
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
    if (ticket == breaker->view.version && breaker->view.state == BREAKER_CLOSED)
        record_current_send_locked(breaker, agent_id, result, now_ms);
    else if (ticket + 1 == breaker->view.version && breaker->token_refused && refuses_token(result))
        record_token_refusal_locked(breaker, now_ms);
    bool changed = breaker->view.version != version;
    mutex_unlock(&breaker->lock);
    return changed;
}

static int64_t probe_due_locked(const struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    if (!breaker->settings.enabled)
        return SYNC_NO_DEADLINE;
    if (breaker->view.state != BREAKER_CLOSED)
        return breaker->next_probe_ms;
    /* An idle gateway that was silent gets its more patient probe at once. */
    return breaker->idle_probe_failed ? breaker->last_heard_ms
                                      : breaker->last_heard_ms + breaker->settings.idle_probe_ms;
}

int64_t breaker_probe_due(struct breaker *breaker)
{
    mutex_lock(&breaker->lock);
    int64_t due_ms = probe_due_locked(breaker);
    mutex_unlock(&breaker->lock);
    return due_ms;
}

/* Waiting longer for the answer to a refused token only delays the attempt with the right one. */
static int64_t patience_ms_locked(const struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    if (breaker->token_refused)
        return MIN_PATIENCE_MS;
    return backoff_doubled_ms(MIN_PATIENCE_MS, 2 * breaker->silent_probes, MAX_PATIENCE_MS);
}

bool breaker_begin_probe(struct breaker *breaker, int64_t now_ms, struct breaker_probe *probe)
{
    mutex_lock(&breaker->lock);
    bool due = now_ms >= probe_due_locked(breaker);
    if (due) {
        breaker->probe_began_ms = now_ms;
        breaker->token_refusals = 0;
        breaker->idle_probe_failed = false;
        if (breaker->view.state == BREAKER_CLOSED)
            breaker->last_heard_ms = now_ms;
        else
            breaker->next_probe_ms =
                now_ms + (breaker->token_refused ? TOKEN_PROBE_GAP_MS
                                                 : backoff_doubled_ms(MIN_PROBE_GAP_MS,
                                                       breaker->probes++, MAX_PROBE_GAP_MS));
    }
    *probe = (struct breaker_probe){
        .ticket = breaker->outage, .timeout_ms = patience_ms_locked(breaker)};
    mutex_unlock(&breaker->lock);
    return due;
}

static void close_circuit_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    /* A probe runs no agent, so it says nothing about the model provider. */
    enter_locked(breaker, BREAKER_CLOSED, breaker->view.limited ? provider_trouble : "", now_ms);
}

/* The next probe waits longer if this one had no answer in time. Returns whether it can. */
static bool adapt_patience_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    bool was_patient = patience_ms_locked(breaker) >= MAX_PATIENCE_MS;
    if (result->timed_out && !was_patient)
        breaker->silent_probes++;
    else if (!result->timed_out && now_ms - breaker->probe_began_ms < MIN_PATIENCE_MS)
        breaker->silent_probes = 0;
    return !was_patient;
}

/* The probe of an idle gateway timing out is not an outage yet: the most patient one decides. */
static void record_idle_probe_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    bool can_wait_longer = adapt_patience_locked(breaker, result, now_ms);
    breaker->idle_probe_failed = result->timed_out && can_wait_longer;
    if (result->outcome == GATEWAY_REPLIED)
        breaker->last_heard_ms = now_ms;
    else if (!breaker->idle_probe_failed)
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
}

static void record_probe_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    if (result->outcome == GATEWAY_ABORTED)
        return;
    if (breaker->view.state == BREAKER_CLOSED) {
        record_idle_probe_locked(breaker, result, now_ms);
        return;
    }
    bool can_wait_longer = adapt_patience_locked(breaker, result, now_ms);
    /* Slow is not down: an open circuit keeps its reason until the most patient probe was silent,
       and the reason of a refused token even then: the gateway delays its answers to those. */
    bool keeps_reason = result->timed_out && breaker->view.state == BREAKER_OPEN &&
                        (can_wait_longer || breaker->token_refused);
    if (result->outcome == GATEWAY_REPLIED) {
        breaker->last_heard_ms = now_ms;
        breaker->token_refused = false;
        close_circuit_locked(breaker, now_ms);
    } else if (!keeps_reason) {
        open_circuit_locked(breaker, result, now_ms);
    }
}

bool breaker_record_probe(
    struct breaker *breaker, uint64_t ticket, const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    uint64_t version = breaker->view.version;
    if (ticket == breaker->outage)
        record_probe_locked(breaker, result, now_ms);
    bool changed = breaker->view.version != version;
    mutex_unlock(&breaker->lock);
    return changed;
}

bool breaker_suspect(struct breaker *breaker, const char *reason, bool is_new, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    bool was_closed = breaker->view.state == BREAKER_CLOSED;
    breaker->outage++;
    if (is_new)
        breaker->token_refused = false;
    if (was_closed)
        enter_locked(breaker, BREAKER_HALF_OPEN, reason, now_ms);
    if (!breaker->token_refused)
        breaker->next_probe_ms = now_ms;
    mutex_unlock(&breaker->lock);
    return was_closed;
}

void breaker_token_changed(struct breaker *breaker, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    /* Answers to the old token no longer count, nor do those of a probe in flight. */
    breaker->view.version++;
    breaker->outage++;
    if (breaker->token_refused)
        breaker->next_probe_ms = now_ms;
    breaker->token_refused = false;
    mutex_unlock(&breaker->lock);
}

bool breaker_token_is_refused(struct breaker *breaker)
{
    mutex_lock(&breaker->lock);
    bool refused = breaker->token_refused;
    mutex_unlock(&breaker->lock);
    return refused;
}
