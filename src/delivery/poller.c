#include "delivery/poller.h"

#include <stdlib.h>

#include "backend/service.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/sync.h"
#include "delivery/send_queue.h"

/* A newer backend cuts pages at 500 rows whatever it is asked for. */
enum { MIN_CUT_ROWS = 500 };

/*
 * Between the beginnings of two polls when workers ask for the second. A row costs about 15 us of
 * this thread's time to read and the backend some, too, so a long list is asked for less often.
 */
enum { POKE_GAP_MS = 100, ROWS_OF_A_MS_MORE = 4 };

static const char component[] = "Delivery";

struct delivery_poller {
    struct delivery_poller_parts parts;
    struct loop loop;
    struct http_client *client;

    /* The thread's own. */
    struct page_limit page_limit;
    unsigned failures; /* polls in a row */
    size_t listed;     /* rows of the last page */
    size_t refused;    /* of them those that nothing can be done with */
    bool polled;       /* a poll has worked */
    bool said_refused; /* ids that are no ids are said once, not at each poll */
};

/*
 * What is held stays in the backend's list, the oldest of it first, and so do rows without usable
 * ids, for ever; new ones are behind that many. As each page lists these again, the new ones asked
 * for are as many, too, as far as there is room: a backlog is then taken in with as many rows as it
 * has, and not with their square.
 *
 * What cannot be answered is asked for in smaller pages. What was delivered has left the list, so
 * even a page of fewer rows than are held brings new ones, or ends the holding of settled ids.
 */
static unsigned next_limit(const struct delivery_poller *poller)
{
    const struct config *config = poller->parts.config;
    struct send_queue_view counts;
    send_queue_snapshot(poller->parts.queue, &counts);
    size_t capacity = config->delivery_queue_capacity;
    size_t room = counts.ready < capacity ? capacity - counts.ready : 0;
    size_t known = counts.held + poller->refused;
    size_t fresh = known < room ? known : room;
    if (fresh < config->delivery_list_limit)
        fresh = config->delivery_list_limit;
    return page_limit_rows(&poller->page_limit, known + fresh);
}

static void count_page(struct delivery_poller *poller, const struct notification_page *page)
{
    struct stats *stats = poller->parts.stats;
    poller->listed = page->listed;
    poller->refused = page->refused;
    atomic_store(&stats->last_poll_ms, clock_wall_ms());
    atomic_store(&stats->consecutive_poll_failures, 0);
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_LISTED, NULL, NULL, (int64_t)page->listed);
    log_debug(component, "Listed %zu undelivered notifications", page->listed);
    atomic_store(&stats->refused_ids, (long long)page->refused);
    if (page->refused > 0 && !poller->said_refused)
        log_error(component,
            "%zu listed notifications have an _id or a recipientId that is not 1 to 64 characters "
            "of [A-Za-z0-9_-]; they cannot be delivered",
            page->refused);
    poller->said_refused = page->refused > 0;
    if (poller->failures > 0)
        log_info(component, "Polling works again after %u failed polls", poller->failures);
    if (poller->failures > 0 || !poller->polled)
        stats_changed(stats);
    poller->failures = 0;
    poller->polled = true;
}

/* Only development deployments say so; a hint for the operator, never a decision. */
static bool refuses_credentials(const char *text)
{
    switch (service_refusal_parse(text)) {
    case REFUSAL_TOKEN_INVALID:
    case REFUSAL_TOKEN_NOT_CONFIGURED:
    case REFUSAL_ACCOUNT_MISMATCH:
    case REFUSAL_ACCOUNT_UNKNOWN:
        return true;
    default:
        return false;
    }
}

static void give_hint(
    const struct delivery_poller *poller, enum convex_outcome outcome, const char *text)
{
    const char *url = convex_url(poller->parts.convex);
    if (outcome == CONVEX_FUNCTION_ERROR && refuses_credentials(text))
        log_error(component,
            "The backend refuses the service token. SERVICE_TOKEN must come from the deployment "
            "%s; generate it again there for this account",
            url);
    else if (outcome == CONVEX_FUNCTION_ERROR)
        log_error(component,
            "If this goes on: check that SERVICE_TOKEN and ACCOUNT_ID belong to the deployment %s, "
            "and that it is not paused or over its plan's limits",
            url);
    else if (outcome == CONVEX_REJECTED)
        log_error(component, "Check CONVEX_URL: %s does not answer as a Convex deployment", url);
}

/*
 * Whether a smaller page may fare better: the answer was too large for us or for the backend, whose
 * function then fails, or it took too long.
 */
static bool may_be_too_large(enum convex_outcome outcome, const struct error *error)
{
    return outcome == CONVEX_FUNCTION_ERROR || error->code == ERROR_TOO_LARGE ||
           error->code == ERROR_TIMEOUT || error->code == ERROR_NO_MEMORY;
}

static int64_t poll_failed(struct delivery_poller *poller, unsigned limit,
    enum convex_outcome outcome, const struct error *error)
{
    const struct config *config = poller->parts.config;
    poller->failures++;
    if (may_be_too_large(outcome, error))
        page_limit_failed(&poller->page_limit, limit, clock_monotonic_ms());
    atomic_store(&poller->parts.stats->consecutive_poll_failures, poller->failures);
    stats_delivery_failed(poller->parts.stats, error->text);
    int64_t delay_ms = backoff_ms(poller->failures, config->delivery_backoff_base_ms,
        config->delivery_backoff_max_ms, backoff_random_unit());
    log_event(LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_NUMBER("failures", poller->failures), LOG_NUMBER("limit", limit),
            LOG_NUMBER("retry_ms", delay_ms)),
        "Poll error: %s", error->text);
    if (poller->failures == 1)
        stats_changed(poller->parts.stats);
    if (poller->failures == 1)
        give_hint(poller, outcome, error->text);
    return delay_ms;
}

static int64_t poke_gap_ms(const struct delivery_poller *poller)
{
    return POKE_GAP_MS + (int64_t)(poller->listed / ROWS_OF_A_MS_MORE);
}

/* What a good page leads to; returns how long to wait before the next, in milliseconds. */
static int64_t take_in(struct delivery_poller *poller, const struct notification_page *page,
    unsigned limit, int64_t began_at_ms)
{
    int64_t interval_ms = poller->parts.config->delivery_interval_ms;
    count_page(poller, page);
    const struct offer offer = {
        .rows = page->rows,
        .count = page->count,
        .full = page->listed >= limit || page->listed >= MIN_CUT_ROWS,
        .began_at_ms = began_at_ms,
    };
    bool more = send_queue_offer(poller->parts.queue, &offer);
    bool grown = page_limit_worked(&poller->page_limit, limit, offer.full, clock_monotonic_ms());
    if (more)
        return 0;
    /* What is behind the bound need not wait for each of its doublings. */
    return grown && poke_gap_ms(poller) < interval_ms ? poke_gap_ms(poller) : interval_ms;
}

/* One poll; returns how long to wait before the next, in milliseconds. */
static int64_t poll_once(struct delivery_poller *poller)
{
    struct trace trace;
    const struct service service = {.convex = poller->parts.convex,
        .client = poller->client,
        .trace = &trace,
        .for_loop = true};
    struct notification_page page;
    struct error error;
    unsigned limit = next_limit(poller);
    trace_begin(&trace);
    int64_t began_at_ms = clock_monotonic_ms();
    enum convex_outcome outcome = service_list_undelivered(&service, limit, &page, &error);
    if (outcome == CONVEX_ABORTED)
        return poller->parts.config->delivery_interval_ms;
    if (outcome != CONVEX_SUCCESS)
        return poll_failed(poller, limit, outcome, &error);
    int64_t delay_ms = take_in(poller, &page, limit, began_at_ms);
    notification_page_fini(&page);
    return delay_ms;
}

static void *poller_thread(void *owner)
{
    struct delivery_poller *poller = owner;
    atomic_store(&poller->parts.stats->delivery_running, true);
    int64_t began_at_ms;
    int64_t delay_ms;
    int64_t poke_from_ms;
    do {
        began_at_ms = clock_monotonic_ms();
        delay_ms = poll_once(poller);
        /* A failing backend is not asked more often because workers poke. */
        poke_from_ms = poller->failures > 0 ? INT64_MAX : began_at_ms + poke_gap_ms(poller);
    } while (loop_wait(&poller->loop, clock_monotonic_ms() + delay_ms, poke_from_ms));
    atomic_store(&poller->parts.stats->delivery_running, false);
    return NULL;
}

int delivery_poller_create(
    struct delivery_poller **poller, const struct delivery_poller_parts *parts, struct error *error)
{
    struct delivery_poller *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the delivery poller");
    created->parts = *parts;
    page_limit_init(&created->page_limit);
    int result = http_client_create(&created->client, parts->store, parts->abort, error);
    if (result != 0) {
        free(created);
        return result;
    }
    loop_init(&created->loop, "mc-poll", poller_thread, created);
    *poller = created;
    return 0;
}

void delivery_poller_destroy(struct delivery_poller *poller)
{
    if (poller == NULL)
        return;
    loop_fini(&poller->loop);
    http_client_destroy(poller->client);
    free(poller);
}

struct loop *delivery_poller_loop(struct delivery_poller *poller)
{
    return &poller->loop;
}

void page_limit_init(struct page_limit *limit)
{
    *limit = (struct page_limit){.max_rows = SEND_QUEUE_MAX_HELD};
}

unsigned page_limit_rows(const struct page_limit *limit, size_t wanted)
{
    return wanted < limit->max_rows ? (unsigned)wanted : limit->max_rows;
}

void page_limit_failed(struct page_limit *limit, unsigned rows, int64_t now_ms)
{
    limit->max_rows = rows > 1 ? rows / 2 : 1;
    limit->grows_from_ms = limit->is_grown ? now_ms + PAGE_LIMIT_PAUSE_MS : now_ms;
    limit->is_grown = false;
}

bool page_limit_worked(struct page_limit *limit, unsigned rows, bool full, int64_t now_ms)
{
    unsigned before = limit->max_rows;
    bool binds = full && rows == before;
    limit->is_grown = binds && before < SEND_QUEUE_MAX_HELD && now_ms >= limit->grows_from_ms;
    if (!binds || (limit->is_grown && before > SEND_QUEUE_MAX_HELD / 2))
        limit->max_rows = SEND_QUEUE_MAX_HELD;
    else if (limit->is_grown)
        limit->max_rows = 2 * before;
    return limit->is_grown;
}
