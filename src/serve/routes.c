#include "serve/routes.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sync.h"
#include "telemetry/exposition.h"

static void take_sample(void *trend)
{
    trend_take(trend, clock_monotonic_ms());
}

void routes_init(struct routes *routes, const struct health_sources *health,
    struct send_queue *queue, struct worker_pool *workers, const struct watchdog *watchdog)
{
    routes->health = *health;
    routes->metrics = (struct metrics_sources){
        .config = health->config,
        .stats = health->stats,
        .queue = queue,
        .breaker = health->breaker,
        .health = &routes->health,
    };
    routes->probes = (struct probe_sources){
        .stats = health->stats,
        .breaker = health->breaker,
        .watchdog = watchdog,
    };
    routes->status = (struct status_sources){
        .health = &routes->health,
        .queue = queue,
        .workers = workers,
        .trend = &routes->trend,
    };
    trend_init(&routes->trend, &health->stats->metrics, queue, clock_monotonic_ms());
    routes->ticker = (struct http_server_ticker){
        .interval_ms = TREND_INTERVAL_MS,
        .tick = take_sample,
        .tick_context = &routes->trend,
    };
    const struct http_server_route table[ROUTES + 1] = {
        {"/health", metrics_page_handle_health, &routes->metrics},
        {"/metrics", metrics_page_handle, &routes->metrics},
        {"/livez", probes_handle_alive, &routes->probes},
        {"/readyz", probes_handle_ready, &routes->probes},
        {"/version", health_handle_version, &routes->health},
        {"/status", status_handle, &routes->status},
        {"/", page_handle, (void *)&page_html},
        {"/page.js", page_handle, (void *)&page_script},
        {"/page.css", page_handle, (void *)&page_style},
        {"/icon.svg", page_handle, (void *)&page_icon},
        {NULL, NULL, NULL},
    };
    memcpy(routes->table, table, sizeof table);
}

enum { RANGE_BYTES = 256 };

/* How exactly a range names JSON; a more exact one overrides what others say (RFC 9110, 12.5.1). */
enum { NOT_NAMED, ANYTHING, ANY_APPLICATION, BY_NAME };

struct wishes {
    double metrics;
    double json;
    int json_exactness;
};

/* Cuts the next piece off *rest, without blanks at its ends. NULL at the end. */
static char *next_piece(char **rest, const char *separator)
{
    char *piece = strsep(rest, separator);
    if (piece == NULL)
        return NULL;
    piece += strspn(piece, " \t");
    size_t length = strlen(piece);
    while (length > 0 && strchr(" \t", piece[length - 1]) != NULL)
        length--;
    piece[length] = '\0';
    return piece;
}

/* From 0 to 1; whatever is no such number is 0. */
static double read_weight(const char *text)
{
    char *end;
    double weight = strtod(text, &end);
    bool fits = end != text && *end == '\0' && weight >= 0 && weight <= 1;
    return fits ? weight : 0;
}

static int json_exactness(const char *type)
{
    if (strcasecmp(type, "application/json") == 0)
        return BY_NAME;
    if (strcasecmp(type, "application/*") == 0)
        return ANY_APPLICATION;
    return strcmp(type, "*/*") == 0 ? ANYTHING : NOT_NAMED;
}

static void take_range(struct wishes *wishes, char *range)
{
    const char *type = next_piece(&range, ";");
    double weight = 1;
    bool our_version = false;
    for (char *parameter; (parameter = next_piece(&range, ";")) != NULL;) {
        if (strncasecmp(parameter, "q=", 2) == 0)
            weight = read_weight(parameter + 2);
        else if (strcasecmp(parameter, "version=0.0.4") == 0)
            our_version = true;
    }
    bool metrics = strcasecmp(type, "application/openmetrics-text") == 0 ||
                   (our_version && strcasecmp(type, "text/plain") == 0);
    if (metrics && weight > wishes->metrics)
        wishes->metrics = weight;
    int exactness = json_exactness(type);
    if (exactness > wishes->json_exactness) {
        wishes->json_exactness = exactness;
        wishes->json = weight;
    }
}

bool accept_prefers_metrics(const char *accept)
{
    struct wishes wishes = {0};
    while (*accept != '\0') {
        char range[RANGE_BYTES];
        size_t length = strcspn(accept, ",");
        if (length < sizeof range) {
            memcpy(range, accept, length);
            range[length] = '\0';
            take_range(&wishes, range);
        }
        accept += length + (accept[length] == ',');
    }
    return wishes.metrics > wishes.json;
}

static int append_piece(const char *bytes, size_t length_bytes, void *context)
{
    struct text *body = context;
    text_append_bytes(body, bytes, length_bytes);
    return body->failed ? -1 : 0;
}

void json_body_append(struct text *body, json_t *json, size_t flags)
{
    if (json == NULL || json_dump_callback(json, append_piece, body, flags) != 0)
        body->failed = true;
    json_decref(json);
}

json_t *json_body_words(const char *words)
{
    char quoted[JSON_BODY_WORDS_BYTES];
    if (words == NULL || words[0] == '\0')
        return json_null();
    text_quote(quoted, sizeof quoted, words, strlen(words));
    return json_string(quoted);
}

/* The files, found from the directory that the compiler runs in: the top of the repository. */
__asm__(".pushsection .rodata\n"
        "status_page_html: .incbin \"src/serve/page/index.html\"\n"
        "status_page_html_end:\n"
        "status_page_script: .incbin \"src/serve/page/page.js\"\n"
        "status_page_script_end:\n"
        "status_page_style: .incbin \"src/serve/page/page.css\"\n"
        "status_page_style_end:\n"
        "status_page_icon: .incbin \"src/serve/page/icon.svg\"\n"
        "status_page_icon_end: .byte 0\n"
        ".popsection\n");

extern const char status_page_html[];
extern const char status_page_html_end[];
extern const char status_page_script[];
extern const char status_page_script_end[];
extern const char status_page_style[];
extern const char status_page_style_end[];
extern const char status_page_icon[];
extern const char status_page_icon_end[];

struct page_file {
    const char *content_type;
    const char *bytes;
    const char *end;
};

const struct page_file page_html = {
    "text/html; charset=utf-8", status_page_html, status_page_html_end};
const struct page_file page_script = {
    "text/javascript; charset=utf-8", status_page_script, status_page_script_end};
const struct page_file page_style = {
    "text/css; charset=utf-8", status_page_style, status_page_style_end};
const struct page_file page_icon = {"image/svg+xml", status_page_icon, status_page_icon_end};

void page_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    const struct page_file *file = context;
    reply->content_type = file->content_type;
    reply->content_policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    text_append_bytes(&reply->body, file->bytes, (size_t)(file->end - file->bytes));
}

static void set(struct metrics *metrics, enum metric metric, int64_t number)
{
    metrics_set(metrics, metric, NULL, number);
}

/* What is kept in milliseconds. */
static void set_ms(struct metrics *metrics, enum metric metric, int64_t time_ms)
{
    metrics_set(metrics, metric, NULL, time_ms * 1000);
}

/* 0 when there is nothing, or when it is from a clock that is ahead of ours. */
static void set_age(struct metrics *metrics, enum metric metric, int64_t since_ms)
{
    int64_t now_ms = clock_wall_ms();
    set_ms(metrics, metric, since_ms != 0 && since_ms < now_ms ? now_ms - since_ms : 0);
}

static void update_queue(struct metrics *metrics, const struct metrics_sources *sources)
{
    struct send_queue_view view;
    send_queue_snapshot(sources->queue, &view);
    set(metrics, METRIC_QUEUE_DEPTH, (int64_t)view.ready);
    set(metrics, METRIC_QUEUE_CAPACITY, sources->config->delivery_queue_capacity);
    set(metrics, METRIC_QUEUE_WAITING, (int64_t)view.waiting);
    set(metrics, METRIC_LANES, (int64_t)view.lanes);
    set(metrics, METRIC_WORKERS, sources->config->delivery_workers);
    set(metrics, METRIC_WORKERS_BUSY, (int64_t)view.running);
    set(metrics, METRIC_NOTIFICATIONS_UNDELIVERED, (int64_t)view.undelivered);
    set_age(metrics, METRIC_OLDEST_UNDELIVERED_AGE, view.oldest_undelivered_ms);
    set(metrics, METRIC_SPOOL_ENTRIES, (int64_t)view.recorded);
    set_age(metrics, METRIC_SPOOL_OLDEST_AGE, view.oldest_recorded_ms);
}

static void update_gateway(struct metrics *metrics, const struct breaker *breaker)
{
    const struct metric_label *label = &metric_families[METRIC_GATEWAY_STATE].labels[0];
    const char *now = breaker_word(breaker);
    for (size_t i = 0; i < label->count; i++)
        metrics_set(metrics, METRIC_GATEWAY_STATE, label->values[i],
            strcmp(label->values[i], now) == 0 ? 1 : 0);
}

static void update_stats(struct stats *stats)
{
    struct metrics *metrics = &stats->metrics;
    set(metrics, METRIC_NOTIFICATIONS_REFUSED, atomic_load(&stats->refused_ids));
    set(metrics, METRIC_SENDS_HELD, atomic_load(&stats->held_by_operator) ? 1 : 0);
    set(metrics, METRIC_SPOOL_BROKEN, atomic_load(&stats->spool_broken) ? 1 : 0);
    set(metrics, METRIC_DEAD_LETTERS, atomic_load(&stats->dead_files));
    set(metrics, METRIC_DEAD_LETTER_BYTES, atomic_load(&stats->dead_bytes));
    set(metrics, METRIC_POLL_FAILURES, atomic_load(&stats->consecutive_poll_failures));
    set_ms(metrics, METRIC_LAST_POLL, atomic_load(&stats->last_poll_ms));
    set_ms(metrics, METRIC_LAST_SYNC, atomic_load(&stats->last_sync_ms));
    set_ms(metrics, METRIC_LAST_REPORT, atomic_load(&stats->last_report_ms));
}

void metrics_page_append(struct text *body, const struct metrics_sources *sources)
{
    struct metrics *metrics = &sources->stats->metrics;
    update_queue(metrics, sources);
    update_gateway(metrics, sources->breaker);
    update_stats(sources->stats);
    process_metrics_update(metrics);
    exposition_append(body, metrics);
}

void metrics_page_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_page_append(&reply->body, context);
}

void metrics_page_handle_health(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    struct metrics_sources *sources = context;
    if (accept_prefers_metrics(request->accept))
        metrics_page_handle(sources, request, reply);
    else
        health_handle(sources->health, request, reply);
}
