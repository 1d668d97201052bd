/*
 * An agent that has no tools at the gateway uses HTTP: a POST to the endpoint of a tool, with the
 * key of its session as the credential. It gets here in three steps:
 *
 * - admit_request, on the server's thread, from the header alone: host, method, peer, key,
 *   endpoint. It never blocks, and an agent's request never reaches further than its rights.
 * - serve_request, on one of the threads mc-agent-N: makes sure of the backend's version, finds out
 *   who the orchestrator is, and lets the tool answer (agent_tools/run.h).
 * - end_request, on the server's thread again, whatever became of it: metrics and a log line.
 *
 * Whether an agent is the orchestrator has to be asked of the backend. The answer is kept for a few
 * seconds; while it is fresh an agent that may not use an endpoint is refused at once, and else a
 * thread asks before the body is read.
 *
 * A request that is overdue is aborted by the server's flag, and all of them by the shutdown's. The
 * tool then decides what to answer, as only it knows whether something may have been changed.
 *
 * The endpoints exist on version 1 of the backend only. Without a list of agents no key can be
 * judged, so until the first sync every request is answered with 503, which is not counted as a
 * forged key.
 */
#include "serve/agent_api.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_tools/run.h"
#include "backend/service.h"
#include "base/log.h"
#include "base/sync.h"
#include "serve/agent_access.h"
#include "serve/host_access.h"
#include "serve/serve.h"

enum { ORCHESTRATOR_FRESH_MS = 5000, UNKNOWN_RETRY_S = 5 };

static const char component[] = "AgentApi";
static const char path_prefix[] = "/agent/";
static const char key_header[] = "x-openclaw-session-key";

struct agent_thread {
    pthread_t thread;
    struct agent_api *api;
    struct http_client *client;
};

struct agent_api {
    struct agent_api_parts parts;
    struct agent_access access;
    struct http_server_posts posts;
    struct http_server *server;

    /* Guards the four below. */
    struct mutex lock;
    struct cond ended;
    unsigned alive; /* threads that have not returned */
    char orchestrator_id[ID_BYTES];
    int64_t orchestrator_until_ms; /* monotonic; when that must be asked again */

    int64_t in_flight; /* used only by the server's thread */
    unsigned started;  /* used only by the thread that starts and stops the others */
    struct agent_thread threads[AGENT_API_THREADS];
};

/* An admitted request; owned by the server's post. */
struct agent_request {
    const struct tool *tool;
    struct agent agent;
    struct trace trace;
    char session_key[]; /* without its tag */
};

static void set_api_error(struct http_server_reply *reply, unsigned status, const char *text)
{
    reply->status = status;
    text_clear(&reply->body);
    json_body_append(
        &reply->body, json_pack("{s:b, s:s}", "success", 0, "error", text), JSON_COMPACT);
}

/* The name in metrics and the log: "task-status" for /agent/task-status. */
static const char *endpoint_name(const struct tool *tool)
{
    return tool != NULL ? tool->path + sizeof path_prefix - 1 : "other";
}

static void count_answer(const struct agent_api *api, const struct tool *tool, unsigned status)
{
    const char *class = status == 0 ? "none" : status < 400 ? "2xx" : status < 500 ? "4xx" : "5xx";
    metrics_add(
        &api->parts.stats->metrics, METRIC_AGENT_API_REQUESTS, endpoint_name(tool), class, 1);
}

static void set_in_flight(struct agent_api *api, int64_t change)
{
    api->in_flight += change;
    metrics_set(&api->parts.stats->metrics, METRIC_AGENT_API_IN_FLIGHT, NULL, api->in_flight);
}

static const char *describe_peer(const struct sockaddr *peer, char text[static INET6_ADDRSTRLEN])
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    const char *described = NULL;
    if (peer->sa_family == AF_INET) {
        memcpy(&ipv4, peer, sizeof ipv4);
        described = inet_ntop(AF_INET, &ipv4.sin_addr, text, INET6_ADDRSTRLEN);
    } else if (peer->sa_family == AF_INET6) {
        memcpy(&ipv6, peer, sizeof ipv6);
        described = inet_ntop(AF_INET6, &ipv6.sin6_addr, text, INET6_ADDRSTRLEN);
    }
    return described != NULL ? described : "unknown";
}

/* The text is a constant, so that the log can count repetitions instead of writing each. */
static enum http_admission refuse_request(const struct agent_api *api, const struct tool *tool,
    const struct http_server_request *request, unsigned status, const char *text,
    struct http_server_reply *reply)
{
    char peer[INET6_ADDRSTRLEN];
    set_api_error(reply, status, text);
    count_answer(api, tool, status);
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("peer", describe_peer(request->peer, peer)),
            LOG_TEXT("endpoint", endpoint_name(tool)), LOG_NUMBER("status", status)),
        "Refused a request to the agents' API: %s", text);
    return HTTP_REFUSE;
}

/* Why no key can be judged now; NULL if they can. In doubt a thread asks for the version again. */
static const char *find_backend_fault(const struct agent_api *api)
{
    enum backend_version version = convex_likely_version(api->parts.convex);
    if (version == BACKEND_V0)
        return "The agents' API needs version 1 of the backend, which is version 0";
    if (version != BACKEND_V1 || atomic_load(&api->parts.stats->last_sync_ms) == 0)
        return "The agents' API needs version 1 of the backend, which has not been seen yet";
    return NULL;
}

/* Whether it is known for the moment, and then which agent it is. */
static bool recall_orchestrator(struct agent_api *api, char agent_id[static ID_BYTES])
{
    int64_t now_ms = clock_monotonic_ms();
    mutex_lock(&api->lock);
    bool is_fresh = now_ms < api->orchestrator_until_ms;
    memcpy(agent_id, api->orchestrator_id, ID_BYTES);
    mutex_unlock(&api->lock);
    return is_fresh;
}

static struct agent_request *make_request(
    const struct tool *tool, const struct agent *agent, const char *credential, size_t key_bytes)
{
    struct agent_request *made = calloc(1, sizeof *made + key_bytes + 1);
    if (made == NULL)
        return NULL;
    made->tool = tool;
    made->agent = *agent;
    trace_begin(&made->trace);
    memcpy(made->session_key, credential, key_bytes);
    return made;
}

static void describe_forbidden(char *text, size_t text_bytes, const struct tool *tool)
{
    const char *only = tool->http_orchestrator_only;
    snprintf(text, text_bytes, "Forbidden: %s", only != NULL ? only : tool->orchestrator_only);
}

/* The checks that need the session, which is known. */
static enum http_admission admit_session(struct agent_api *api,
    const struct http_server_request *request, const struct tool *tool, const struct agent *agent,
    struct http_server_reply *reply)
{
    char orchestrator_id[ID_BYTES];
    if (tool == NULL)
        return refuse_request(api, tool, request, 404, "Not Found", reply);
    if (tool->orchestrator_only == NULL)
        return HTTP_READ;
    if (!recall_orchestrator(api, orchestrator_id))
        return HTTP_ASK;
    if (strcmp(orchestrator_id, agent->id) == 0)
        return HTTP_READ;
    char text[ERROR_TEXT_BYTES];
    describe_forbidden(text, sizeof text, tool);
    return refuse_request(api, tool, request, 403, text, reply);
}

static enum http_admission admit_request(void *context, const struct http_server_request *request,
    struct http_post_plan *plan, struct http_server_reply *reply)
{
    struct agent_api *api = context;
    const struct tool *tool = tool_find_path(api->parts.catalog, request->path);
    struct agent agent;
    size_t key_bytes;
    reply->allow = "POST";
    if (!host_access_check(api->parts.config, request)) {
        host_access_log_refusal(request, component);
        return refuse_request(api, tool, request, 421, HOST_REFUSAL, reply);
    }
    if (strcmp(request->method, "POST") != 0)
        return refuse_request(api, tool, request, 405, "Method Not Allowed", reply);
    if (!peer_is_private(request->peer))
        return refuse_request(api, tool, request, 403, "Forbidden: endpoint is local-only", reply);
    const char *credential = http_server_request_header(request, key_header);
    if (credential == NULL || credential[0] == '\0')
        return refuse_request(
            api, tool, request, 401, "Missing x-openclaw-session-key header", reply);
    const char *fault = find_backend_fault(api);
    if (fault != NULL) {
        reply->retry_after_s = UNKNOWN_RETRY_S;
        return refuse_request(api, tool, request, 503, fault, reply);
    }
    if (!agent_access_check(&api->access, credential, &agent, &key_bytes)) {
        metrics_add(&api->parts.stats->metrics, METRIC_AGENT_API_REFUSED_KEYS, NULL, NULL, 1);
        return refuse_request(api, tool, request, 401, "Unknown session key", reply);
    }
    enum http_admission admission = admit_session(api, request, tool, &agent, reply);
    if (admission == HTTP_REFUSE)
        return admission;
    struct agent_request *made = make_request(tool, &agent, credential, key_bytes);
    if (made == NULL)
        return refuse_request(api, tool, request, 503, "Out of memory", reply);
    *plan = (struct http_post_plan){.details = made, .group = made->session_key};
    set_in_flight(api, 1);
    return admission;
}

static void end_request(void *context, void *details, unsigned status, int64_t duration_us)
{
    struct agent_api *api = context;
    struct agent_request *request = details;
    set_in_flight(api, -1);
    count_answer(api, request->tool, status);
    metrics_observe(&api->parts.stats->metrics, METRIC_AGENT_API_REQUEST, NULL, duration_us);
    enum log_level level = status >= 500   ? LOG_LEVEL_WARN
                           : status >= 400 ? LOG_LEVEL_INFO
                                           : LOG_LEVEL_DEBUG;
    log_event(level, component,
        LOG_FIELDS(LOG_TEXT("agent", request->agent.slug), LOG_TEXT("trace", request->trace.id),
            LOG_NUMBER("ms", duration_us / 1000)),
        status == 0 ? "An agent left before /agent/%s was answered" : "/agent/%s answered with %u",
        endpoint_name(request->tool), status);
    free(request);
}

/* A v1-only function is called only when the version is not in doubt. */
static bool confirm_version(const struct service *service)
{
    struct agent_list agents;
    struct error unused;
    if (convex_version(service->convex) == BACKEND_UNKNOWN &&
        service_list_agents(service, &agents, &unused) == CONVEX_SUCCESS)
        agent_list_fini(&agents);
    return convex_version(service->convex) == BACKEND_V1;
}

static bool ask_for_orchestrator(
    struct agent_api *api, const struct service *service, char agent_id[static ID_BYTES])
{
    struct error error;
    if (recall_orchestrator(api, agent_id))
        return true;
    enum convex_outcome outcome = service_get_orchestrator(service, agent_id, &error);
    if (outcome != CONVEX_SUCCESS) {
        log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_TEXT("trace", service->trace->id)),
            "Cannot find out which agent is the orchestrator: %s", error.text);
        return false;
    }
    mutex_lock(&api->lock);
    memcpy(api->orchestrator_id, agent_id, ID_BYTES);
    api->orchestrator_until_ms = clock_monotonic_ms() + ORCHESTRATOR_FRESH_MS;
    mutex_unlock(&api->lock);
    return true;
}

static void run_tool(const struct agent_api *api, const struct service *service,
    const struct agent_request *request, bool is_orchestrator, const struct text_span *body,
    struct http_server_reply *reply)
{
    const struct tool_call call = {
        .service = service,
        .agent_id = request->agent.id,
        .task_id = "",
        .audience =
            {
                .flags = request->agent.flags,
                .is_orchestrator = is_orchestrator,
                .may_mark_done = request->agent.flags.can_mark_done,
            },
        .by_http = true,
    };
    struct tool_result result;
    tool_run_request(request->tool, &call, body->bytes, body->length_bytes, &result);
    reply->status = (unsigned)result.status;
    json_body_append(&reply->body, result.value, JSON_COMPACT);
    /* What failed, but for an answer that was lost, has changed nothing. */
    if (result.end == TOOL_SUCCEEDED || result.end == TOOL_UNCERTAIN)
        attention_wake(api->parts.attention);
}

/* Returns false when the body has to be read first. */
static bool answer_request(struct agent_api *api, const struct service *service,
    const struct agent_request *request, const struct text_span *body,
    struct http_server_reply *reply)
{
    char orchestrator_id[ID_BYTES];
    char text[ERROR_TEXT_BYTES];
    if (!confirm_version(service)) {
        bool is_v0 = convex_version(service->convex) == BACKEND_V0;
        set_api_error(reply, 503, is_v0 ? find_backend_fault(api) : "Backend unavailable");
    } else if (!ask_for_orchestrator(api, service, orchestrator_id)) {
        set_api_error(reply, 503, "Backend unavailable");
    } else if (request->tool->orchestrator_only != NULL &&
               strcmp(orchestrator_id, request->agent.id) != 0) {
        describe_forbidden(text, sizeof text, request->tool);
        set_api_error(reply, 403, text);
    } else if (body->bytes == NULL) {
        return false;
    } else {
        run_tool(
            api, service, request, strcmp(orchestrator_id, request->agent.id) == 0, body, reply);
    }
    return true;
}

static void serve_request(struct agent_thread *thread, struct http_post *post)
{
    struct agent_api *api = thread->api;
    const struct agent_request *request = http_post_details(post);
    const struct text_span body = http_post_body(post);
    int64_t left_ms = http_post_deadline_ms(post) - clock_monotonic_ms();
    const struct service service = {
        .convex = api->parts.convex,
        .client = thread->client,
        .trace = &request->trace,
        .abort = http_post_overdue(post),
        .timeout_ms = left_ms > 1 ? left_ms : 1,
    };
    struct http_server_reply reply = {
        .status = 200,
        .content_type = "application/json",
        .content_policy = "default-src 'none'",
    };
    if (answer_request(api, &service, request, &body, &reply))
        http_server_answer_post(api->server, post, &reply);
    else
        http_server_read_post(api->server, post);
}

static void change_alive_threads(struct agent_api *api, int change)
{
    mutex_lock(&api->lock);
    api->alive += (unsigned)change;
    cond_signal(&api->ended);
    mutex_unlock(&api->lock);
}

static void *agent_thread_main(void *argument)
{
    struct agent_thread *thread = argument;
    struct http_post *post;
    while ((post = http_server_take_post(thread->api->server)) != NULL)
        serve_request(thread, post);
    change_alive_threads(thread->api, -1);
    return NULL;
}

int agent_api_create(
    struct agent_api **api, const struct agent_api_parts *parts, struct error *error)
{
    struct agent_api *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the agents' API");
    created->parts = *parts;
    created->access = (struct agent_access){
        .config = parts->config,
        .capability = parts->capability,
        .schedule = parts->schedule,
    };
    created->posts = (struct http_server_posts){
        .prefix = path_prefix,
        .max_of_group = AGENT_API_MAX_OF_SESSION,
        .admit = admit_request,
        .end = end_request,
        .context = created,
    };
    mutex_init(&created->lock);
    cond_init(&created->ended);
    *api = created;
    return 0;
}

void agent_api_destroy(struct agent_api *api)
{
    if (api == NULL)
        return;
    cond_fini(&api->ended);
    mutex_fini(&api->lock);
    free(api);
}

const struct http_server_posts *agent_api_posts(const struct agent_api *api)
{
    return &api->posts;
}

static int start_agent_thread(struct agent_api *api, unsigned number, struct error *error)
{
    struct agent_thread *thread = &api->threads[number];
    char name[sizeof "mc-agent-0"];
    snprintf(name, sizeof name, "mc-agent-%u", (number + 1) % 10);
    thread->api = api;
    int result = http_client_create(&thread->client, api->parts.store, api->parts.abort, error);
    if (result != 0)
        return result;
    change_alive_threads(api, 1);
    result = thread_start(&thread->thread, name, agent_thread_main, thread, error);
    if (result != 0) {
        change_alive_threads(api, -1);
        http_client_destroy(thread->client);
    }
    return result;
}

int agent_api_start(struct agent_api *api, struct http_server *server, struct error *error)
{
    int result = 0;
    api->server = server;
    for (; result == 0 && api->started < AGENT_API_THREADS; api->started += result == 0)
        result = start_agent_thread(api, api->started, error);
    return result;
}

void agent_api_begin_stop(struct agent_api *api)
{
    if (api != NULL && api->server != NULL)
        http_server_close_posts(api->server);
}

bool agent_api_wait(struct agent_api *api, int64_t deadline_ms)
{
    if (api == NULL)
        return true;
    bool in_time = true;
    mutex_lock(&api->lock);
    while (api->alive > 0 && in_time)
        in_time = cond_wait_until(&api->ended, &api->lock, deadline_ms);
    bool all_ended = api->alive == 0;
    mutex_unlock(&api->lock);
    return all_ended;
}

void agent_api_stop(struct agent_api *api)
{
    agent_api_begin_stop(api);
    for (; api != NULL && api->started > 0; api->started--) {
        const struct agent_thread *thread = &api->threads[api->started - 1];
        thread_join(thread->thread);
        http_client_destroy(thread->client);
    }
}
