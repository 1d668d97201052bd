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

struct gateway_gate {
    struct gate_settings settings; /* never changed */
    const char *_Atomic word;      /* of the view, read without the lock */

    /* Guards everything below. */
    struct mutex lock;
    struct gate_view view;
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

const char *gate_view_word(const struct gate_view *view)
{
    static const char *const words[] = {
        [GATE_OPEN] = "open", [GATE_SUSPECT] = "suspect", [GATE_SHUT] = "shut"};
    return view->state == GATE_OPEN && view->trickle ? "trickle" : words[view->state];
}

int gateway_gate_create(struct gateway_gate **gate, const struct gate_settings *settings,
    int64_t now_ms, struct error *error)
{
    struct gateway_gate *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's gate");
    created->settings = *settings;
    created->view.version = 1;
    created->view.state = settings->enabled ? GATE_SUSPECT : GATE_SHUT;
    created->view.since_ms = now_ms;
    created->next_probe_ms = now_ms;
    text_copy(created->view.reason, sizeof created->view.reason,
        settings->enabled
            ? "the gateway has not been asked yet"
            : "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); it is disabled");
    atomic_init(&created->word, gate_view_word(&created->view));
    mutex_init(&created->lock);
    *gate = created;
    return 0;
}

void gateway_gate_destroy(struct gateway_gate *gate)
{
    if (gate == NULL)
        return;
    mutex_fini(&gate->lock);
    free(gate);
}

void gateway_gate_look(struct gateway_gate *gate, struct gate_view *view)
{
    mutex_lock(&gate->lock);
    *view = gate->view;
    mutex_unlock(&gate->lock);
}

const char *gateway_gate_word(const struct gateway_gate *gate)
{
    return atomic_load(&gate->word);
}

/* Whether the view has changed since that version; gives the lock back. */
static bool end_change(struct gateway_gate *gate, uint64_t version)
{
    bool changed = gate->view.version != version;
    atomic_store(&gate->word, gate_view_word(&gate->view));
    mutex_unlock(&gate->lock);
    return changed;
}

uint64_t gateway_gate_ticket(struct gateway_gate *gate)
{
    mutex_lock(&gate->lock);
    uint64_t ticket = gate->epoch;
    mutex_unlock(&gate->lock);
    return ticket;
}

static int64_t open_ms_locked(const struct gateway_gate *gate, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    bool open = gate->view.state == GATE_OPEN;
    return gate->open_before_ms + (open ? now_ms - gate->view.since_ms : 0);
}

int64_t gateway_gate_open_ms(struct gateway_gate *gate, int64_t now_ms)
{
    mutex_lock(&gate->lock);
    int64_t open_ms = open_ms_locked(gate, now_ms);
    mutex_unlock(&gate->lock);
    return open_ms;
}

/* Of a gate that is no longer open; also not too soon after the probe that opened it. */
static int64_t first_probe_ms_locked(
    const struct gateway_gate *gate, enum gate_state state, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    int64_t after_gap_ms = now_ms + FIRST_PROBE_GAP_MS;
    if (state == GATE_SHUT || gate->next_probe_ms > after_gap_ms)
        return after_gap_ms;
    return gate->next_probe_ms > now_ms ? gate->next_probe_ms : now_ms;
}

static void enter_locked(
    struct gateway_gate *gate, enum gate_state state, const char *reason, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    gate->open_before_ms = open_ms_locked(gate, now_ms);
    if (gate->view.state == GATE_OPEN) {
        gate->probes = 0;
        gate->patient_wanted = false;
        gate->next_probe_ms = first_probe_ms_locked(gate, state, now_ms);
    }
    if ((gate->view.state == GATE_OPEN) != (state == GATE_OPEN))
        gate->outage++;
    gate->view.state = state;
    gate->view.since_ms = now_ms;
    gate->view.version++;
    gate->epoch++;
    gate->unreachable = 0;
    text_copy(gate->view.reason, sizeof gate->view.reason, reason);
}

/* Puts the next send of a trickle off, further with each failure. No jitter: there is no herd. */
static void slow_down_locked(struct gateway_gate *gate, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    int64_t gap_ms = backoff_doubled_ms(
        gate->settings.backoff_base_ms, gate->trickle_failures, gate->settings.backoff_max_ms);
    gate->trickle_failures++;
    gate->view.next_send_ms = now_ms + gap_ms;
    gate->view.version++;
    text_copy(gate->view.reason, sizeof gate->view.reason, provider_trouble);
}

static void begin_trickle_locked(struct gateway_gate *gate)
{
    mutex_assert_held(&gate->lock);
    gate->view.trickle = true;
    gate->trickle_failures = 0;
    gate->epoch++;
}

static void add_failed_agent_locked(struct gateway_gate *gate, const char *agent_id)
{
    mutex_assert_held(&gate->lock);
    for (unsigned i = 0; i < gate->failed_agent_count; i++)
        if (strcmp(gate->failed_agents[i], agent_id) == 0)
            return;
    if (gate->failed_agent_count < FAILED_AGENTS_TO_TRICKLE)
        text_copy(gate->failed_agents[gate->failed_agent_count++], ID_BYTES, agent_id);
}

static void note_failed_run_locked(struct gateway_gate *gate, const char *agent_id, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    gate->unreachable = 0;
    add_failed_agent_locked(gate, agent_id);
    if (gate->failed_agent_count < FAILED_AGENTS_TO_TRICKLE)
        return;
    if (!gate->view.trickle)
        begin_trickle_locked(gate);
    slow_down_locked(gate, now_ms);
}

static void note_reply_locked(struct gateway_gate *gate)
{
    mutex_assert_held(&gate->lock);
    gate->failed_agent_count = 0;
    if (!gate->view.trickle)
        return;
    gate->view.trickle = false;
    gate->view.version++;
    gate->epoch++;
    if (gate->view.state == GATE_OPEN)
        gate->view.reason[0] = '\0';
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

/* Why the gate is shut by that result, into GATE_REASON_BYTES. */
static void explain(
    const struct gateway_gate *gate, const struct gateway_result *result, char *reason)
{
    char words[GATE_REASON_BYTES / 2];
    text_copy(words, sizeof words, result->error.text);
    if (result->outcome == GATEWAY_MISCONFIGURED)
        snprintf(reason, GATE_REASON_BYTES, "%s (%s)", advice(result->status), words);
    else if (result->outcome == GATEWAY_UNREACHABLE && result->status == 0)
        snprintf(reason, GATE_REASON_BYTES,
            "start the gateway at %.128s, or set OPENCLAW_GATEWAY_URL to where it is (%s)",
            gate->settings.url, words);
    else
        text_copy(reason, GATE_REASON_BYTES, words);
}

static void shut_locked(
    struct gateway_gate *gate, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    char reason[GATE_REASON_BYTES];
    explain(gate, result, reason);
    bool same = gate->view.state == GATE_SHUT && strcmp(gate->view.reason, reason) == 0;
    if (!same)
        enter_locked(gate, GATE_SHUT, reason, now_ms);
    if (result->outcome == GATEWAY_BUSY && gate->next_probe_ms < now_ms + result->retry_after_ms)
        gate->next_probe_ms = now_ms + result->retry_after_ms;
}

static void note_unreachable_locked(
    struct gateway_gate *gate, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    gate->unreachable++;
    if (gate->unreachable >= UNREACHABLE_TO_SHUT)
        shut_locked(gate, result, now_ms);
}

static void note_current_locked(struct gateway_gate *gate, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    switch (result->outcome) {
    case GATEWAY_UNREACHABLE:
        note_unreachable_locked(gate, result, now_ms);
        break;
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
        shut_locked(gate, result, now_ms);
        break;
    case GATEWAY_AMBIGUOUS:
        enter_locked(gate, GATE_SUSPECT, result->error.text, now_ms);
        break;
    case GATEWAY_FAILED_RUN:
        note_failed_run_locked(gate, agent_id, now_ms);
        break;
    case GATEWAY_REFUSED:
        gate->unreachable = 0;
        /* As a proxy answers while the gateway behind it is away. */
        if (gateway_is_absent_by(result->status))
            enter_locked(gate, GATE_SUSPECT, result->error.text, now_ms);
        break;
    case GATEWAY_REPLIED:
        gate->unreachable = 0;
        break;
    case GATEWAY_DISABLED:
    case GATEWAY_ABORTED:
        break;
    }
}

bool gateway_gate_note_send(struct gateway_gate *gate, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&gate->lock);
    uint64_t version = gate->view.version;
    if (result->status != 0)
        gate->heard_ms = now_ms;
    if (result->outcome == GATEWAY_REPLIED)
        note_reply_locked(gate);
    if (ticket == gate->epoch && gate->view.state == GATE_OPEN)
        note_current_locked(gate, agent_id, result, now_ms);
    return end_change(gate, version);
}

static int64_t probe_due_locked(const struct gateway_gate *gate, bool patient)
{
    mutex_assert_held(&gate->lock);
    if (!gate->settings.enabled || (patient && !gate->patient_wanted))
        return SYNC_NO_DEADLINE;
    if (gate->view.state != GATE_OPEN)
        return gate->next_probe_ms;
    return patient ? gate->heard_ms : gate->heard_ms + gate->settings.check_ms;
}

int64_t gateway_gate_probe_due(struct gateway_gate *gate, bool patient)
{
    mutex_lock(&gate->lock);
    int64_t due_ms = probe_due_locked(gate, patient);
    mutex_unlock(&gate->lock);
    return due_ms;
}

bool gateway_gate_begin_probe(
    struct gateway_gate *gate, bool patient, int64_t now_ms, uint64_t *ticket)
{
    mutex_lock(&gate->lock);
    bool mine = now_ms >= probe_due_locked(gate, patient);
    if (mine && gate->view.state == GATE_OPEN)
        gate->heard_ms = now_ms;
    else if (mine)
        gate->next_probe_ms =
            now_ms + backoff_doubled_ms(FIRST_PROBE_GAP_MS, gate->probes++, LAST_PROBE_GAP_MS);
    if (mine && patient)
        gate->patient_wanted = false;
    *ticket = gate->outage;
    mutex_unlock(&gate->lock);
    return mine;
}

static void open_locked(struct gateway_gate *gate, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    enter_locked(gate, GATE_OPEN, "", now_ms);
    if (gate->view.trickle)
        slow_down_locked(gate, now_ms);
}

/* Of an open gate: a gateway that is merely slow is waited for before it is suspected. */
static void note_check_locked(
    struct gateway_gate *gate, bool patient, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    if (result->outcome == GATEWAY_REPLIED)
        gate->heard_ms = now_ms;
    else if (result->timed_out && !patient)
        gate->patient_wanted = true;
    else
        enter_locked(gate, GATE_SUSPECT, result->error.text, now_ms);
}

static void note_probe_locked(
    struct gateway_gate *gate, bool patient, const struct gateway_result *result, int64_t now_ms)
{
    mutex_assert_held(&gate->lock);
    if (result->outcome == GATEWAY_ABORTED)
        return;
    if (gate->view.state == GATE_OPEN) {
        note_check_locked(gate, patient, result, now_ms);
        return;
    }
    if (result->outcome == GATEWAY_REPLIED) {
        gate->heard_ms = now_ms;
        open_locked(gate, now_ms);
        return;
    }
    if (!result->timed_out) {
        shut_locked(gate, result, now_ms);
        return;
    }
    /* Slow is not away: what is known of the gateway stays known until somebody has waited long. */
    gate->patient_wanted = !patient || gate->patient_wanted;
    if (gate->view.state == GATE_SUSPECT || patient)
        shut_locked(gate, result, now_ms);
}

bool gateway_gate_note_probe(struct gateway_gate *gate, bool patient, uint64_t ticket,
    const struct gateway_result *result, int64_t now_ms)
{
    mutex_lock(&gate->lock);
    uint64_t version = gate->view.version;
    if (ticket == gate->outage)
        note_probe_locked(gate, patient, result, now_ms);
    return end_change(gate, version);
}
