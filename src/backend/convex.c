/*
 * Calls Convex functions over HTTP: one POST to /api/action for each call, with the account's id
 * and service token among the arguments (docs/protocol.md, "Convex HTTP API").
 *
 * One struct convex is shared by all threads; each brings its own http_client and blocks in its
 * call. A deployment on the smallest plan runs 64 actions at a time, so at most 32 calls are in
 * flight. Four of these slots are reserved for the control loops, so that workers stuck in slow
 * calls cannot keep the poller or the reporter from being heard. Waiting for a slot counts as part
 * of the call, not of its timeout, and ends when an abort flag is set.
 *
 * The outcome tells the caller what may be done next: an unavailable call may or may not have run
 * and is repeated if the function is idempotent; the others use CONVEX_ONCE, for which libcurl must
 * not repeat the request by itself either. A function error may mean anything, because
 * production deployments hide why a function threw. Error texts quote the deployment only up to
 * where it echoes our arguments.
 *
 * A deployment is one of two generations, which differ in what they return and in the functions
 * that they have. Nothing tells the generation outright, so it is read off answers that are fetched
 * anyway: a key that only one of them has (docs/protocol.md, "Versions of the backend"). It may
 * change while we run, with a deployment. It is kept here for all threads, in one atomic, so that
 * workers can ask on every delivery: the last version seen and a bit for doubt. Doubt does not
 * erase the version: when the next answer confirms it, nothing has changed and nothing is reported.
 *
 * The control loops' calls also read the backend's time from their answers (backend_clock.c).
 *
 * A kept connection may lead to one broken host of many, so an answer that is not the backend's own
 * closes it. The first success after a failure, of whoever called, wakes the poller, which would
 * otherwise sleep through the rest of its backoff.
 */
#include "backend/convex.h"

#include <stdlib.h>
#include <string.h>

#include "backend/backend_clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/sync.h"

enum {
    MAX_CALLS = 32,
    LOOP_CALLS = 4,       /* of these, reserved for the loops; each makes one call at a time */
    ABORT_CHECK_MS = 200, /* while a call waits for a slot: abort flags signal no condition */
    CALL_TIMEOUT_MS = 60000,
    USER_TIMEOUT_MS = 15000, /* the most that a connection which died silently may cost */
    RESPONSE_LIMIT_BYTES = 20 * 1024 * 1024, /* a value of 16 MiB, escaped, in its envelope */
    QUOTE_BYTES = 400,
    DOUBT_BIT = 1 << 8, /* beside the last version seen */
};

static const char component[] = "Backend";

struct convex {
    char *url;
    char *endpoint;
    char *account_id;
    struct secret *service_token;
    int64_t timeout_ms;
    struct metrics *metrics;  /* NULL: calls are not counted */
    struct loop *on_recovery; /* poked when a call succeeds after one failed; NULL: none */
    atomic_bool failing;      /* the last call to end found the backend unavailable */
    struct backend_clock clock;
    enum backend_version pinned; /* by the operator; BACKEND_UNKNOWN: go by what is seen */
    struct loop *on_version;     /* poked when the version seen changes; NULL: none */
    _Atomic unsigned seen;       /* an enum backend_version, and whether it is in doubt */

    /* Guards the number of calls in flight. */
    struct mutex lock;
    struct cond call_ended;
    unsigned calls;
};

int convex_create(struct convex **convex, const char *url, const char *account_id,
    const char *service_token, struct error *error)
{
    struct convex *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the Convex client");
    mutex_init(&created->lock);
    cond_init(&created->call_ended);
    created->timeout_ms = CALL_TIMEOUT_MS;
    created->url = strdup(url);
    created->account_id = strdup(account_id);
    created->service_token = secret_create(service_token);
    struct text endpoint = {0};
    text_printf(&endpoint, "%s/api/action", url);
    created->endpoint = text_take(&endpoint);
    if (created->url == NULL || created->account_id == NULL || created->service_token == NULL ||
        created->endpoint == NULL) {
        convex_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the Convex client");
    }
    *convex = created;
    return 0;
}

void convex_destroy(struct convex *convex)
{
    if (convex == NULL)
        return;
    cond_fini(&convex->call_ended);
    mutex_fini(&convex->lock);
    free(convex->url);
    free(convex->endpoint);
    free(convex->account_id);
    secret_destroy(convex->service_token);
    free(convex);
}

void convex_set_timeout(struct convex *convex, int64_t timeout_ms)
{
    convex->timeout_ms = timeout_ms;
}

bool convex_exchange_token(struct convex *convex, char **token)
{
    return secret_exchange(convex->service_token, token);
}

void convex_set_metrics(struct convex *convex, struct metrics *metrics)
{
    convex->metrics = metrics;
}

const char *const convex_outcome_words[] = {
    [CONVEX_SUCCESS] = "success",
    [CONVEX_UNAVAILABLE] = "unavailable",
    [CONVEX_FUNCTION_ERROR] = "function_error",
    [CONVEX_REJECTED] = "rejected",
    [CONVEX_ABORTED] = "aborted",
};

const char *convex_url(const struct convex *convex)
{
    return convex->url;
}

/* The request's body, for the caller to free; NULL without memory. Takes the reference. */
static char *build_call_body(const struct convex *convex, const char *action, json_t *arguments)
{
    json_t *body = json_pack("{s:s+, s:s, s:[o]}", "path", "service/actions:", action, "format",
        "convex_encoded_json", "args", arguments);
    json_t *inner = json_array_get(json_object_get(body, "args"), 0);
    char *dumped = NULL;
    struct text token = {0};
    secret_append(convex->service_token, &token);
    if (!token.failed &&
        json_object_set_new(inner, "accountId", json_string(convex->account_id)) == 0 &&
        json_object_set_new(inner, "serviceToken", json_string(token.data)) == 0)
        dumped = json_write(body);
    text_fini(&token);
    json_decref(body);
    return dumped;
}

/* Whether the same call may succeed later. */
static bool is_transient_status(int status)
{
    return status == 408 || status == 409 || status == 421 || status == 425 || status == 429 ||
           status >= 500;
}

/*
 * Quotes a backend or proxy up to where it echoes the request, which may hold an agent's reply:
 * replies do not belong in a log.
 */
static void quote_without_echo(
    char quote[static QUOTE_BYTES], const char *bytes, size_t length_bytes)
{
    static const char *const echoes[] = {"Object: ", "\"args\"", "\"content\""};
    for (size_t i = 0; i < sizeof echoes / sizeof echoes[0]; i++) {
        const char *echo = memmem(bytes, length_bytes, echoes[i], strlen(echoes[i]));
        if (echo != NULL)
            length_bytes = (size_t)(echo - bytes);
    }
    text_quote(quote, QUOTE_BYTES, bytes, length_bytes);
}

/* A status other than 200 and 560: {"code","message"}, or whatever a proxy sends. */
static enum convex_outcome classify_status_error(
    const struct http_response *answer, struct error *error)
{
    char quote[QUOTE_BYTES];
    quote_without_echo(quote, answer->body.bytes, answer->body.length_bytes);
    error_set(
        error, ERROR_REMOTE, "HTTP %d%s%s", answer->status, quote[0] != '\0' ? ": " : "", quote);
    return is_transient_status(answer->status) ? CONVEX_UNAVAILABLE : CONVEX_REJECTED;
}

static enum convex_outcome classify_transport_failure(
    const struct http_response *answer, struct error *error)
{
    static const enum error_code codes[] = {
        [HTTP_NOT_SENT] = ERROR_UNREACHABLE,
        [HTTP_TIMED_OUT] = ERROR_TIMEOUT,
        [HTTP_LOST] = ERROR_UNREACHABLE,
        [HTTP_TOO_LARGE] = ERROR_TOO_LARGE,
        [HTTP_ABORTED] = ERROR_INTERRUPTED,
        [HTTP_NO_MEMORY] = ERROR_NO_MEMORY,
    };
    enum error_code code = codes[answer->failure];
    error_set(error, code, "%s", answer->reason);
    return answer->failure == HTTP_ABORTED ? CONVEX_ABORTED : CONVEX_UNAVAILABLE;
}

/* Up to the stack trace that development deployments put below what went wrong. */
static size_t message_without_stack_bytes(const char *message)
{
    static const char frame[] = "\n    at ";
    const char *stack = strstr(message, frame);
    size_t length_bytes = stack != NULL ? (size_t)(stack - message) : strlen(message);
    while (length_bytes > 0 && message[length_bytes - 1] == '\n')
        length_bytes--;
    return length_bytes;
}

/* The body of a 200 or 560, which use the same envelope. */
static enum convex_outcome read_envelope(
    const struct http_response *answer, enum convex_kind kind, json_t **value, struct error *error)
{
    json_t *envelope;
    size_t max_values = kind == CONVEX_LIST ? JSON_GUARD_MAX_LIST_VALUES : JSON_GUARD_MAX_VALUES;
    if (json_guard_load_within(
            answer->body.bytes, answer->body.length_bytes, max_values, &envelope, error) != 0) {
        error_wrap(error, "not a Convex response");
        return CONVEX_UNAVAILABLE;
    }
    const char *status = json_guard_string(envelope, "status");
    enum convex_outcome outcome = CONVEX_UNAVAILABLE;
    json_t *found = json_object_get(envelope, "value");
    if (status != NULL && strcmp(status, "success") == 0 && found != NULL) {
        *value = json_incref(found);
        outcome = CONVEX_SUCCESS;
    } else if (status != NULL && strcmp(status, "error") == 0) {
        const char *found_message = json_guard_string(envelope, "errorMessage");
        const char *message = found_message != NULL ? found_message : "";
        char quote[QUOTE_BYTES];
        quote_without_echo(quote, message, message_without_stack_bytes(message));
        error_set(error, ERROR_REMOTE, "%s", quote);
        outcome = CONVEX_FUNCTION_ERROR;
    } else {
        error_set(error, ERROR_REMOTE, "not a Convex response: %s is missing",
            status == NULL ? "status" : "value");
    }
    json_decref(envelope);
    return outcome;
}

enum convex_outcome convex_classify(
    const struct http_response *answer, enum convex_kind kind, json_t **value, struct error *error)
{
    if (answer->failure != HTTP_ANSWERED)
        return classify_transport_failure(answer, error);
    if (answer->status == 200 || answer->status == 560)
        return read_envelope(answer, kind, value, error);
    return classify_status_error(answer, error);
}

/* Blocks until a slot is free and takes it. False when an abort flag was set first. */
static bool acquire_call_slot(const struct service *service)
{
    struct convex *convex = service->convex;
    unsigned max = service->for_loop ? MAX_CALLS : MAX_CALLS - LOOP_CALLS;
    bool aborted;
    mutex_lock(&convex->lock);
    while (!(aborted = http_client_is_aborted(service->client, service->abort)) &&
           convex->calls >= max)
        cond_wait_until(&convex->call_ended, &convex->lock, clock_monotonic_ms() + ABORT_CHECK_MS);
    convex->calls += aborted ? 0 : 1;
    mutex_unlock(&convex->lock);
    return !aborted;
}

/* Only the backend's own answers, not those of a proxy, have its time. */
static void learn_the_time(
    struct convex *convex, const struct http_response *answer, int64_t before_ms, int64_t after_ms)
{
    struct backend_clock *clock = &convex->clock;
    bool is_own =
        answer->failure == HTTP_ANSWERED && (answer->status == 200 || answer->status == 560);
    if (!is_own || !backend_clock_see(clock, answer->date_ms, before_ms, after_ms))
        return;
    long long ahead_ms = atomic_load(&clock->ahead_ms);
    if (atomic_load(&clock->is_off))
        log_warn(component,
            "This machine's clock is %lld s %s that of the backend; synchronize it, for example "
            "with timesyncd or chrony",
            (ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000, ahead_ms < 0 ? "behind" : "ahead of");
    else
        log_info(component, "This machine's clock agrees with that of the backend again");
}

static void post_call(const struct service *service, const char *body, enum convex_kind kind,
    struct http_response *answer)
{
    struct convex *convex = service->convex;
    char trace[TRACE_HEADER_BYTES];
    bool is_traced = trace_header(service->trace, trace);
    const char *const headers[] = {"Content-Type: application/json",
        "Convex-Client: mc-runtime-c-" MISSION_CONTROL_VERSION, is_traced ? trace : NULL, NULL};
    const struct http_request request = {
        .url = convex->endpoint,
        .headers = headers,
        .body = body,
        .body_bytes = strlen(body),
        .timeout_ms = service->timeout_ms != 0 ? service->timeout_ms : convex->timeout_ms,
        .response_limit_bytes = RESPONSE_LIMIT_BYTES,
        .single_use_connection = kind == CONVEX_ONCE,
        .user_timeout_ms = USER_TIMEOUT_MS,
        .wants_details = service->for_loop,
        .extra_abort = service->abort,
    };
    if (!acquire_call_slot(service)) {
        *answer = (struct http_response){.failure = HTTP_ABORTED, .reason = "aborted by shutdown"};
        return;
    }
    int64_t before_ms = clock_wall_ms();
    http_client_perform(service->client, &request, answer);
    if (service->for_loop)
        learn_the_time(convex, answer, before_ms, clock_wall_ms());
    mutex_lock(&convex->lock);
    convex->calls--;
    cond_signal(&convex->call_ended);
    mutex_unlock(&convex->lock);
}

/* What the outcome of one call means for later ones. */
static void learn_from_call(
    const struct service *service, enum convex_outcome outcome, const struct http_response *answer)
{
    struct convex *convex = service->convex;
    if (outcome == CONVEX_SUCCESS) {
        if (atomic_exchange(&convex->failing, false) && convex->on_recovery != NULL)
            loop_poke(convex->on_recovery);
    } else if (outcome == CONVEX_UNAVAILABLE) {
        atomic_store(&convex->failing, true);
        /* The error may be that of a proxy or a host which a new connection would not reach. */
        if (answer->failure == HTTP_ANSWERED)
            http_client_close_connections(service->client);
    }
}

/*
 * Whether the function may have run, whatever the outcome. It has not when nothing was sent, when
 * the request was refused, or when the deployment had no room for it.
 */
static bool call_may_have_run(enum convex_outcome outcome, const struct http_response *answer)
{
    if (answer->failure != HTTP_ANSWERED)
        return answer->sent;
    return outcome != CONVEX_REJECTED && answer->status != 421 && answer->status != 425 &&
           answer->status != 429;
}

struct backend_clock *convex_clock(struct convex *convex)
{
    return &convex->clock;
}

bool convex_is_failing(const struct convex *convex)
{
    return atomic_load(&convex->failing);
}

void convex_on_recovery(struct convex *convex, struct loop *loop)
{
    convex->on_recovery = loop;
}

/* The version. */

const char *const backend_version_words[] = {
    [BACKEND_UNKNOWN] = "unknown",
    [BACKEND_V0] = "v0",
    [BACKEND_V1] = "v1",
};

void convex_pin_version(struct convex *convex, enum backend_pin pin)
{
    static const enum backend_version versions[] = {
        [BACKEND_PIN_AUTO] = BACKEND_UNKNOWN,
        [BACKEND_PIN_V0] = BACKEND_V0,
        [BACKEND_PIN_V1] = BACKEND_V1,
    };
    convex->pinned = versions[pin];
    atomic_store(&convex->seen, BACKEND_UNKNOWN);
}

enum backend_version convex_pinned_version(const struct convex *convex)
{
    return convex->pinned;
}

enum backend_version convex_version(const struct convex *convex)
{
    unsigned seen = atomic_load(&convex->seen);
    if (convex->pinned != BACKEND_UNKNOWN)
        return convex->pinned;
    return (seen & DOUBT_BIT) != 0 ? BACKEND_UNKNOWN : (enum backend_version)seen;
}

enum backend_version convex_likely_version(const struct convex *convex)
{
    return convex->pinned != BACKEND_UNKNOWN ? convex->pinned : convex_seen_version(convex);
}

enum backend_version convex_seen_version(const struct convex *convex)
{
    return (enum backend_version)(atomic_load(&convex->seen) & ~(unsigned)DOUBT_BIT);
}

void convex_see_version(struct convex *convex, enum backend_version version)
{
    if (version == BACKEND_UNKNOWN)
        return;
    unsigned before = atomic_exchange(&convex->seen, version);
    if ((before & ~(unsigned)DOUBT_BIT) == version)
        return;
    if (convex->on_version != NULL)
        loop_poke(convex->on_version);
    log_info(component, "The backend is version %s", backend_version_words[version]);
    if (backend_version_mismatches(convex->pinned, version))
        log_error(component,
            "The backend is version %s, but BACKEND_VERSION=%s is set; remove the setting, or "
            "deliveries may fail",
            backend_version_words[version], backend_version_words[convex->pinned]);
}

void convex_doubt_version(struct convex *convex)
{
    atomic_fetch_or(&convex->seen, DOUBT_BIT);
}

void convex_on_version(struct convex *convex, struct loop *loop)
{
    convex->on_version = loop;
}

bool backend_version_mismatches(enum backend_version pinned, enum backend_version seen)
{
    return pinned != BACKEND_UNKNOWN && seen != BACKEND_UNKNOWN && seen != pinned;
}

/* Calls. */

enum convex_outcome convex_call(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, json_t **value, struct error *error)
{
    if (service->may_have_run != NULL)
        *service->may_have_run = false;
    if (service->problem != NULL)
        *service->problem = PROBLEM_NONE;
    char *body = build_call_body(service->convex, action, arguments);
    if (body == NULL) {
        error_set(error, ERROR_NO_MEMORY, "%s: no memory for the request", action);
        return CONVEX_UNAVAILABLE;
    }
    struct metrics *metrics = service->convex->metrics;
    struct http_response answer;
    int64_t began_us = clock_monotonic_us();
    post_call(service, body, kind, &answer);
    free(body);
    enum convex_outcome outcome = convex_classify(&answer, kind, value, error);
    if (metrics != NULL) {
        metrics_add(metrics, METRIC_CONVEX_REQUESTS, action, convex_outcome_words[outcome], 1);
        metrics_observe(metrics, METRIC_CONVEX_REQUEST, action, clock_monotonic_us() - began_us);
    }
    learn_from_call(service, outcome, &answer);
    if (service->may_have_run != NULL)
        *service->may_have_run = call_may_have_run(outcome, &answer);
    if (service->problem != NULL)
        *service->problem = convex_problem_find(outcome, &answer, error->text);
    if (outcome != CONVEX_SUCCESS)
        error_wrap(error, "%s", action);
    return outcome;
}
