#include "gateway/breaker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    UNREACHABLE_TO_SHUT = 3, /* in a row */
    FAILED_AGENTS_TO_TRICKLE = 3,
    FIRST_PROBE_GAP_MS = 250,
    LAST_PROBE_GAP_MS = 1500, /* work has to start within 2 s of the gateway's return */
};

static const char provider_trouble[] =
    "runs of several agents failed in a row: check the gateway's model provider, its key and its "
    "limits";

struct breaker {
    struct breaker_settings settings; /* never changed */
    const char *_Atomic word;         /* of the view, read without the lock */

    /* Guards everything below. */
    struct mutex lock;
    struct breaker_view view;
    uint64_t epoch;  /* number of the state; results of earlier ones do not count */
    uint64_t outage; /* number of the time that the gate is open, or is not */
    unsigned unreachable;
    int64_t next_probe_ms; /* while the gate is not open */
    int64_t heard_ms;      /* when the gateway was last heard of, or a check began */
    unsigned probes;       /* in this outage, for the gap between them */
    bool patient_wanted;
    char failed_agents[FAILED_AGENTS_TO_TRICKLE][ID_BYTES]; /* without a reply in between */
    unsigned failed_agent_count;
    unsigned trickle_failures;
    int64_t open_before_ms; /* time open in states that are over */
};

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
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's gate");
    created->settings = *settings;
    created->view.version = 1;
    created->view.state = settings->enabled ? BREAKER_HALF_OPEN : BREAKER_OPEN;
    created->view.since_ms = now_ms;
    created->next_probe_ms = now_ms;
    text_copy(created->view.reason, sizeof created->view.reason,
        settings->enabled
            ? "the gateway has not been asked yet"
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

/* Whether the view has changed since that version; gives the lock back. */
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

static int64_t open_ms_locked(const struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    bool open = breaker->view.state == BREAKER_CLOSED;
    return breaker->open_before_ms + (open ? now_ms - breaker->view.since_ms : 0);
}

int64_t breaker_closed_ms(struct breaker *breaker, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    int64_t open_ms = open_ms_locked(breaker, now_ms);
    mutex_unlock(&breaker->lock);
    return open_ms;
}

/* Of a gate that is no longer open; also not too soon after the probe that opened it. */
static int64_t first_probe_ms_locked(
    const struct breaker *breaker, enum breaker_state state, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    int64_t after_gap_ms = now_ms + FIRST_PROBE_GAP_MS;
    if (state == BREAKER_OPEN || breaker->next_probe_ms > after_gap_ms)
        return after_gap_ms;
    return breaker->next_probe_ms > now_ms ? breaker->next_probe_ms : now_ms;
}

static void enter_locked(
    struct breaker *breaker, enum breaker_state state, const char *reason, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->open_before_ms = open_ms_locked(breaker, now_ms);
    if (breaker->view.state == BREAKER_CLOSED) {
        breaker->probes = 0;
        breaker->patient_wanted = false;
        breaker->next_probe_ms = first_probe_ms_locked(breaker, state, now_ms);
    }
    if ((breaker->view.state == BREAKER_CLOSED) != (state == BREAKER_CLOSED))
        breaker->outage++;
    breaker->view.state = state;
    breaker->view.since_ms = now_ms;
    breaker->view.version++;
    breaker->epoch++;
    breaker->unreachable = 0;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, reason);
}

/* Puts the next send of a trickle off, further with each failure. No jitter: there is no herd. */
static void slow_down_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    int64_t gap_ms = backoff_doubled_ms(breaker->settings.backoff_base_ms,
        breaker->trickle_failures, breaker->settings.backoff_max_ms);
    breaker->trickle_failures++;
    breaker->view.next_send_ms = now_ms + gap_ms;
    breaker->view.version++;
    text_copy(breaker->view.reason, sizeof breaker->view.reason, provider_trouble);
}

static void begin_trickle_locked(struct breaker *breaker)
{
    mutex_assert_held(&breaker->lock);
    breaker->view.single_flight = true;
    breaker->trickle_failures = 0;
    breaker->epoch++;
}

static void add_failed_agent_locked(struct breaker *breaker, const char *agent_id)
{
    mutex_assert_held(&breaker->lock);
    for (unsigned i = 0; i < breaker->failed_agent_count; i++)
        if (strcmp(breaker->failed_agents[i], agent_id) == 0)
            return;
    if (breaker->failed_agent_count < FAILED_AGENTS_TO_TRICKLE)
        text_copy(breaker->failed_agents[breaker->failed_agent_count++], ID_BYTES, agent_id);
}

static void note_failed_run_locked(struct breaker *breaker, const char *agent_id, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->unreachable = 0;
    add_failed_agent_locked(breaker, agent_id);
    if (breaker->failed_agent_count < FAILED_AGENTS_TO_TRICKLE)
        return;
    if (!breaker->view.single_flight)
        begin_trickle_locked(breaker);
    slow_down_locked(breaker, now_ms);
}

static void note_reply_locked(struct breaker *breaker)
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

/* What to look at, for the statuses that the configuration is to blame for. */
static const char *advice(int status)
{
    switch (status) {
    case 401:
        return "check OPENCLAW_GATEWAY_TOKEN, which the gateway refuses";
    case 403:
        return "the gateway, or a proxy before it, does not let this runtime in";
    case 404:
        return "check OPENCLAW_GATEWAY_URL, and that the gateway's responses endpoint is enabled "
               "(gateway.http.endpoints.responses.enabled)";
    default:
        return "check OPENCLAW_GATEWAY_URL: it leads somewhere else";
    }
}

/* Why the gate is shut by that result, into BREAKER_REASON_BYTES. */
static void explain(
    const struct breaker *breaker, const struct gateway_result *result, char *reason)
{
    char words[BREAKER_REASON_BYTES / 2];
    text_copy(words, sizeof words, result->error.text);
    if (result->outcome == GATEWAY_MISCONFIGURED)
        snprintf(reason, BREAKER_REASON_BYTES, "%s (%s)", advice(result->status), words);
    else if (result->outcome == GATEWAY_UNREACHABLE && result->status == 0)
        snprintf(reason, BREAKER_REASON_BYTES,
            "start the gateway at %.128s, or set OPENCLAW_GATEWAY_URL to where it is (%s)",
            breaker->settings.url, words);
    else
        text_copy(reason, BREAKER_REASON_BYTES, words);
}

static void shut_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    char reason[BREAKER_REASON_BYTES];
    explain(breaker, result, reason);
    bool same = breaker->view.state == BREAKER_OPEN && strcmp(breaker->view.reason, reason) == 0;
    if (!same)
        enter_locked(breaker, BREAKER_OPEN, reason, now_ms);
    if (result->outcome == GATEWAY_BUSY && breaker->next_probe_ms < now_ms + result->retry_after_ms)
        breaker->next_probe_ms = now_ms + result->retry_after_ms;
}

static void note_unreachable_locked(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    breaker->unreachable++;
    if (breaker->unreachable >= UNREACHABLE_TO_SHUT)
        shut_locked(breaker, result, now_ms);
}

static void note_current_locked(struct breaker *breaker, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    switch (result->outcome) {
    case GATEWAY_UNREACHABLE:
        note_unreachable_locked(breaker, result, now_ms);
        break;
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
        shut_locked(breaker, result, now_ms);
        break;
    case GATEWAY_AMBIGUOUS:
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
        break;
    case GATEWAY_FAILED_RUN:
        note_failed_run_locked(breaker, agent_id, now_ms);
        break;
    case GATEWAY_REFUSED:
        breaker->unreachable = 0;
        /* As a proxy answers while the gateway behind it is away. */
        if (gateway_is_absent_by(result->status))
            enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
        break;
    case GATEWAY_REPLIED:
        breaker->unreachable = 0;
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
        breaker->heard_ms = now_ms;
    if (result->outcome == GATEWAY_REPLIED)
        note_reply_locked(breaker);
    if (ticket == breaker->epoch && breaker->view.state == BREAKER_CLOSED)
        note_current_locked(breaker, agent_id, result, now_ms);
    return commit_and_unlock(breaker, version);
}

static int64_t probe_due_locked(const struct breaker *breaker, bool slow_probe)
{
    mutex_assert_held(&breaker->lock);
    if (!breaker->settings.enabled || (slow_probe && !breaker->patient_wanted))
        return SYNC_NO_DEADLINE;
    if (breaker->view.state != BREAKER_CLOSED)
        return breaker->next_probe_ms;
    return slow_probe ? breaker->heard_ms : breaker->heard_ms + breaker->settings.check_ms;
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
    if (mine && breaker->view.state == BREAKER_CLOSED)
        breaker->heard_ms = now_ms;
    else if (mine)
        breaker->next_probe_ms =
            now_ms + backoff_doubled_ms(FIRST_PROBE_GAP_MS, breaker->probes++, LAST_PROBE_GAP_MS);
    if (mine && slow_probe)
        breaker->patient_wanted = false;
    *ticket = breaker->outage;
    mutex_unlock(&breaker->lock);
    return mine;
}

static void open_locked(struct breaker *breaker, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    enter_locked(breaker, BREAKER_CLOSED, "", now_ms);
    if (breaker->view.single_flight)
        slow_down_locked(breaker, now_ms);
}

/* Of an open gate: a gateway that is merely slow is waited for before it is suspected. */
static void note_check_locked(
    struct breaker *breaker, bool slow_probe, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    if (result->outcome == GATEWAY_REPLIED)
        breaker->heard_ms = now_ms;
    else if (result->timed_out && !slow_probe)
        breaker->patient_wanted = true;
    else
        enter_locked(breaker, BREAKER_HALF_OPEN, result->error.text, now_ms);
}

static void note_probe_locked(
    struct breaker *breaker, bool slow_probe, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&breaker->lock);
    if (result->outcome == GATEWAY_ABORTED)
        return;
    if (breaker->view.state == BREAKER_CLOSED) {
        note_check_locked(breaker, slow_probe, result, now_ms);
        return;
    }
    if (result->outcome == GATEWAY_REPLIED) {
        breaker->heard_ms = now_ms;
        open_locked(breaker, now_ms);
        return;
    }
    if (!result->timed_out) {
        shut_locked(breaker, result, now_ms);
        return;
    }
    /* Slow is not away: what is known of the gateway stays known until somebody has waited long. */
    breaker->patient_wanted = !slow_probe || breaker->patient_wanted;
    if (breaker->view.state == BREAKER_HALF_OPEN || slow_probe)
        shut_locked(breaker, result, now_ms);
}

bool breaker_record_probe(struct breaker *breaker, bool slow_probe, uint64_t ticket,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&breaker->lock);
    uint64_t version = breaker->view.version;
    if (ticket == breaker->outage)
        note_probe_locked(breaker, slow_probe, result, now_ms);
    return commit_and_unlock(breaker, version);
}
