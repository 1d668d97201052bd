/*
 * Dispatches requests by path to backend, gateway, control API and page, and owns the state that
 * they share. Everything runs in the thread of server_run, so nothing is locked.
 *
 * A reset recreates the board but keeps the change counter rising: a page or test that waits for
 * "change > N" must not miss it.
 */
#include "sandbox.h"

#include "answer.h"
#include "backend.h"
#include "base/host.h"
#include "base/sync.h"
#include "board_find.h"
#include "control.h"
#include "gateway.h"
#include "memory.h"
#include "page.h"
#include "presence.h"
#include "service.h"

static const double KEPT_INPUT_BYTES = 4096;

static void use_default_settings(struct sandbox *sandbox)
{
    sandbox->settings = (struct settings){
        .gateway_latency_ms = sandbox->options.latency_ms,
        .gateway_input_bytes = KEPT_INPUT_BYTES,
    };
    if (sandbox->options.runtime_url != NULL)
        sandbox->settings.runtime_url = memory_copy(sandbox->options.runtime_url);
}

static void free_settings(struct settings *settings)
{
    json_decref(settings->gateway_agents);
    free(settings->runtime_url);
}

void sandbox_init(struct sandbox *sandbox, struct options *options)
{
    *sandbox = (struct sandbox){
        .options = *options, .started_ms = clock_monotonic_ms(), .swept_ms = clock_monotonic_ms()};
    *options = (struct options){0};
    use_default_settings(sandbox);
    store_init(&sandbox->store, sandbox->options.backend);
    faults_init(&sandbox->faults);
    recorder_init(&sandbox->recorder);
    effects_init(&sandbox->effects);
    agent_errands_init(&sandbox->errands);
    agent_memories_init(&sandbox->memories);
    tool_log_init(&sandbox->tool_log);
    timings_init(&sandbox->timings);
    waits_init(&sandbox->waits);
    board_make_default(sandbox);
}

void sandbox_fini(struct sandbox *sandbox)
{
    free_settings(&sandbox->settings);
    store_fini(&sandbox->store);
    faults_fini(&sandbox->faults);
    recorder_fini(&sandbox->recorder);
    effects_fini(&sandbox->effects);
    agent_errands_fini(&sandbox->errands);
    agent_memories_fini(&sandbox->memories);
    tool_log_fini(&sandbox->tool_log);
    timings_fini(&sandbox->timings);
    call_log_fini(&sandbox->call_log);
    counts_fini(&sandbox->counts);
    options_fini(&sandbox->options);
}

void sandbox_reset(struct sandbox *sandbox)
{
    uint64_t changes = sandbox->store.changes;
    faults_clear(&sandbox->faults, NULL);
    free_settings(&sandbox->settings);
    use_default_settings(sandbox);
    store_fini(&sandbox->store);
    store_init(&sandbox->store, sandbox->options.backend);
    sandbox->store.changes = changes;
    recorder_reset(&sandbox->recorder);
    effects_fini(&sandbox->effects);
    effects_init(&sandbox->effects);
    agent_memories_fini(&sandbox->memories);
    agent_memories_init(&sandbox->memories);
    tool_log_fini(&sandbox->tool_log);
    tool_log_init(&sandbox->tool_log);
    timings_fini(&sandbox->timings);
    timings_init(&sandbox->timings);
    call_log_fini(&sandbox->call_log);
    counts_reset(&sandbox->counts, service_names(sandbox->options.backend));
    sandbox->auth_failures = 0;
    sandbox->listed = 0;
    board_make_default(sandbox);
}

struct document *sandbox_account(struct sandbox *sandbox)
{
    return TAILQ_FIRST(&sandbox->store.tables[TABLE_ACCOUNTS]);
}

struct document *sandbox_user(struct sandbox *sandbox)
{
    return TAILQ_FIRST(&sandbox->store.tables[TABLE_USERS]);
}

static size_t sandbox_body_limit(void *context, const char *path)
{
    (void)context;
    if (backend_has_path(path))
        return BACKEND_BODY_LIMIT_BYTES;
    return gateway_has_path(path) ? GATEWAY_BODY_LIMIT_BYTES : CONTROL_BODY_LIMIT_BYTES;
}

/*
 * Against DNS rebinding, as in the runtime (base/host.h): of the board, which asks for no token.
 * Backend and gateway do, and may have any name.
 */
static bool is_host_allowed(const struct options *options, const struct exchange *exchange)
{
    const char *host = exchange_header(exchange, "Host");
    if (host == NULL)
        return true;
    struct text_span name = host_name(text_trim(host, strlen(host)));
    return !host_is_domain(name) || host_is_listed(name, options->host) ||
           (options->allowed_hosts != NULL && host_is_listed(name, options->allowed_hosts));
}

static void sandbox_begin(void *context, struct exchange *exchange)
{
    struct sandbox *sandbox = context;
    const char *path = exchange_path(exchange);
    if (backend_has_path(path))
        backend_begin(sandbox, exchange);
    else if (gateway_has_path(path))
        gateway_begin(sandbox, exchange);
    else if (!is_host_allowed(&sandbox->options, exchange))
        answer_refusal(exchange, 421, "MisdirectedRequest",
            "this is not one of the sandbox's names; if it should be, start it with --allow-host");
    else if (strncmp(path, "/sandbox/", 9) == 0)
        control_begin(sandbox, exchange);
    else
        page_begin(exchange);
}

static void sandbox_batch_ended(void *context)
{
    struct sandbox *sandbox = context;
    agent_errands_check(&sandbox->errands);
    presence_sweep_if_due(sandbox);
    waits_check(context);
}

struct server_handler sandbox_handler(struct sandbox *sandbox)
{
    return (struct server_handler){
        .context = sandbox,
        .body_limit_bytes = sandbox_body_limit,
        .begin = sandbox_begin,
        .batch_ended = sandbox_batch_ended,
        .wake_descriptor = sandbox->errands.wake_descriptor,
    };
}
