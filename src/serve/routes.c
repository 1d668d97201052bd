/*
 * Which path is answered by what. All handlers run on the server's one thread, mc-http, which also
 * takes the samples for the page's charts between responses; so the ring of samples needs no lock.
 * A handler never waits for anything that a worker holds for long: it copies what the other modules
 * publish and builds the body from the copies.
 *
 * The files of the page are part of the program, so that it can be served from any machine and
 * loads nothing from elsewhere, which its Content-Security-Policy enforces. All but probes and
 * metrics is only for requests that came by a name of ours (serve/host_access.c).
 */
#include "serve/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sync.h"
#include "http/server.h"
#include "serve/host_access.h"
#include "serve/serve.h"

static const char component[] = "Health";

enum { MAX_ROUTES = 11, MISDIRECTED = 421, UNAVAILABLE = 503 };

struct routes {
    struct routes_sources sources;
    struct trend trend; /* used only by the server's thread */
    struct http_server_route table[MAX_ROUTES + 1];
    struct http_server *server;
};

/* Whether the request has been refused because of the name that it came by. */
static bool refuse_foreign_host(const struct routes *routes,
    const struct http_server_request *request, struct http_server_reply *reply)
{
    if (host_access_check(routes->sources.config, request))
        return false;
    host_access_log_refusal(request, component);
    reply->status = MISDIRECTED;
    text_append(&reply->body, "{\"error\":\"" HOST_REFUSAL "\"}");
    return true;
}

static void answer_metrics(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    const struct routes *routes = context;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_page_append(&reply->body, &routes->sources);
}

/* For people and scrapers alike: a client that prefers metrics to JSON gets metrics. */
static void answer_health(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    const struct routes *routes = context;
    if (accept_prefers_metrics(request->accept))
        answer_metrics(context, request, reply);
    else if (!refuse_foreign_host(routes, request, reply))
        health_append(&reply->body, &routes->sources);
}

static void answer_version(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    const struct routes *routes = context;
    if (!refuse_foreign_host(routes, request, reply))
        health_append_version(&reply->body, &routes->sources);
}

static void answer_livez(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    const struct routes *routes = context;
    if (!probes_append_alive(&reply->body, &routes->sources, request->verbose))
        reply->status = UNAVAILABLE;
}

static void answer_readyz(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    const struct routes *routes = context;
    if (!probes_append_ready(&reply->body, &routes->sources, request->verbose))
        reply->status = UNAVAILABLE;
}

static void answer_status(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    const struct routes *routes = context;
    if (!refuse_foreign_host(routes, request, reply))
        status_append(&reply->body, &routes->sources, &routes->trend);
}

/* Paths are relative to where the compiler runs, the top of the repository. */
__asm__(".pushsection .rodata\n"
        "status_page_html: .incbin \"src/serve/page/index.html\"\n"
        "status_page_html_end:\n"
        "status_page_script: .incbin \"src/serve/page/page.js\"\n"
        "status_page_script_end:\n"
        "status_page_charts: .incbin \"src/serve/page/charts.js\"\n"
        "status_page_charts_end:\n"
        "status_page_style: .incbin \"src/serve/page/page.css\"\n"
        "status_page_style_end:\n"
        "status_page_icon: .incbin \"src/serve/page/icon.svg\"\n"
        "status_page_icon_end: .byte 0\n"
        ".popsection\n");

extern const char status_page_html[];
extern const char status_page_html_end[];
extern const char status_page_script[];
extern const char status_page_script_end[];
extern const char status_page_charts[];
extern const char status_page_charts_end[];
extern const char status_page_style[];
extern const char status_page_style_end[];
extern const char status_page_icon[];
extern const char status_page_icon_end[];

static const struct {
    const char *path;
    const char *content_type;
    const char *bytes;
    const char *end;
} page_files[] = {
    {"/", "text/html; charset=utf-8", status_page_html, status_page_html_end},
    {"/page.js", "text/javascript; charset=utf-8", status_page_script, status_page_script_end},
    {"/charts.js", "text/javascript; charset=utf-8", status_page_charts, status_page_charts_end},
    {"/page.css", "text/css; charset=utf-8", status_page_style, status_page_style_end},
    {"/icon.svg", "image/svg+xml", status_page_icon, status_page_icon_end},
};

enum { PAGE_FILES = sizeof page_files / sizeof page_files[0] };

static void answer_page_file(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    size_t i = 0;
    if (refuse_foreign_host(context, request, reply))
        return;
    /* The last one needs no comparison: only the paths of the table are routed here. */
    while (i < PAGE_FILES - 1 && strcmp(page_files[i].path, request->path) != 0)
        i++;
    reply->content_type = page_files[i].content_type;
    reply->content_policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    text_append_bytes(
        &reply->body, page_files[i].bytes, (size_t)(page_files[i].end - page_files[i].bytes));
}

static void take_trend_sample(void *trend)
{
    trend_take(trend, clock_monotonic_ms());
}

static void log_listening(const struct routes *routes)
{
    const char *host = routes->sources.config->health_host;
    unsigned port = http_server_port(routes->server);
    if (http_server_is_on_all_addresses(routes->server))
        log_info(component,
            "Listening on %s port %u, which is all addresses of this machine: whoever reaches one "
            "can read the status page, with agents' names and error texts",
            host, port);
    else
        log_info(component, "Listening on %s port %u", host, port);
}

static int listen_for_routes(struct routes *routes, struct error *error)
{
    const struct config *config = routes->sources.config;
    const struct http_server_ticker ticker = {
        .interval_ms = TREND_INTERVAL_MS,
        .tick = take_trend_sample,
        .tick_context = &routes->trend,
    };
    int result = http_server_create(&routes->server, config->health_host, config->health_port,
        routes->table, &ticker, routes->sources.posts, error);
    if (result == 0)
        log_listening(routes);
    return result;
}

int routes_start(struct routes **routes, const struct routes_sources *sources, struct error *error)
{
    struct routes *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the HTTP endpoints");
    created->sources = *sources;
    trend_init(&created->trend, &sources->stats->metrics, sources->queue, clock_monotonic_ms());
    const struct http_server_route table[MAX_ROUTES + 1] = {
        {"/health", answer_health, created},
        {"/metrics", answer_metrics, created},
        {"/livez", answer_livez, created},
        {"/readyz", answer_readyz, created},
        {"/version", answer_version, created},
        {"/status", answer_status, created},
        {"/", answer_page_file, created},
        {"/page.js", answer_page_file, created},
        {"/charts.js", answer_page_file, created},
        {"/page.css", answer_page_file, created},
        {"/icon.svg", answer_page_file, created},
        {NULL, NULL, NULL},
    };
    memcpy(created->table, table, sizeof table);
    int result = listen_for_routes(created, error);
    if (result != 0) {
        free(created);
        return result;
    }
    *routes = created;
    return 0;
}

struct http_server *routes_server(const struct routes *routes)
{
    return routes->server;
}

void routes_stop(struct routes *routes)
{
    if (routes == NULL)
        return;
    http_server_destroy(routes->server);
    free(routes);
}
