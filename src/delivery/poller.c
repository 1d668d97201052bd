/*
 * mc-poll asks the backend for the oldest undelivered notifications and offers them to the send
 * queue. How often depends on what happens on the account (attention.c), and on how many rows a
 * page repeats: the list has no cursor and begins with the oldest, so whatever the queue holds is
 * listed again by each page that may show something new, and each row read is paid for. It polls at
 * once while a longer page would bring more and too little is ready; and soon when poked, which the
 * queue does when a worker is about to run dry or a posted message may have caused notifications.
 * Failed polls are backed off. Pokes do not shorten that, unless the backend was away and a call of
 * any thread shows that it is back (src/backend/convex.c pokes, too). If polls fail nevertheless,
 * that shortcut grows longer each time, so that a backend on which only the list fails is left in
 * peace.
 *
 * What the queue holds stays in the backend's list, oldest first, until it is acknowledged, so a
 * page has to be large enough to reach past it (next_limit). How large a response may be is not
 * known in advance: it depends on the size of rows and on limits of the backend and of ours. When a
 * page fails in a way that its size may explain, the next one is half as large; when a page of
 * limited size is full, the limit doubles again (struct page_limit).
 *
 * A v1 backend lists 500 rows at most, the oldest. Should that many be stuck, it hides all others,
 * which no poll can change; so it is a trouble that health reports (find_hidden_rows).
 *
 * After each poll it saves the loop guard's counts, as it is the one thread of the folder whose
 * delays hold up nobody's reply.
 *
 * The thread owns all its state. It holds the queue's lock only within the queue's functions, to
 * copy figures and to offer a page; it blocks in the request and in loop_wait.
 */
#include "delivery/poller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/service.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/sync.h"
#include "delivery/loop_guard.h"
#include "delivery/send_queue.h"

/* A v1 backend truncates pages at 500 rows whatever it is asked for. */
enum { MIN_CUT_ROWS = 500 };

/*
 * Between the beginnings of two polls when a poke asks for the second. Reading a row takes about
 * 15 us here, and some time at the backend, so a long list is requested less often.
 */
enum { POKE_GAP_MS = 100, ROWS_OF_A_MS_MORE = 4 };

/* Between a failed poll and the first that is made because another call has succeeded. */
enum { RECOVERY_GAP_MS = 500 };

static const char component[] = "Delivery";

struct delivery_poller {
    struct delivery_poller_parts parts;
    struct loop loop;
    struct http_client *client;

    /* Only of the thread. */
    struct page_limit page_limit;
    unsigned failures;    /* polls in a row */
    unsigned recoveries;  /* of these, those made because another call had succeeded */
    bool is_backend_away; /* the last poll failed as any other call would have */
    size_t listed;        /* rows of the last page */
    uint64_t digest;      /* of the ids in it, in whatever order */
    bool polled;          /* a poll has succeeded */
    bool logged_refused;  /* invalid ids are logged once, not at each poll */
};

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

/*
 * What the queue holds, and rows without valid ids, come first in the backend's list, so a page has
 * to be larger than that to bring anything new. It asks for as many new ones as there is room for,
 * since every page lists all of them again: a backlog for which there is room is then read with one
 * page. If little is ready although much is held, that is the backlog of a few agents, and others
 * may be behind it: the page then asks for as many new ones as are held, so that a backlog of n is
 * read with about 2 n rows in all. With the same number in each page it would grow with n squared.
 *
 * Under the page limit a page may be smaller than what is held. It still makes progress: what has
 * been delivered left the list, so it shows new rows, or that settled ids can be forgotten.
 */
static unsigned next_limit(const struct delivery_poller *poller)
{
    const struct config *config = poller->parts.config;
    struct send_queue_view view;
    send_queue_snapshot(poller->parts.queue, &view);
    size_t capacity = config->delivery_queue_capacity;
    size_t room = view.ready < capacity ? capacity - view.ready : 0;
    size_t known = view.repeated;
    size_t fresh = room;
    if (view.ready < capacity / 2 && fresh < known)
        fresh = known;
    if (fresh < config->delivery_list_limit)
        fresh = config->delivery_list_limit;
    return page_limit_rows(&poller->page_limit, known + fresh);
}

static void record_good_page(struct delivery_poller *poller, const struct notification_page *page)
{
    struct stats *stats = poller->parts.stats;
    poller->listed = page->listed;
    atomic_store(&stats->last_poll_ms, clock_wall_ms());
    atomic_store(&stats->consecutive_poll_failures, 0);
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_LISTED, NULL, NULL, (int64_t)page->listed);
    log_debug(component, "Listed %zu undelivered notifications", page->listed);
    atomic_store(&stats->refused_ids, (long long)page->refused);
    if (page->refused > 0 && !poller->logged_refused)
        log_error(component,
            "ignoring %zu notifications: their _id or recipientId is not 1 to 64 characters of "
            "[A-Za-z0-9_-]",
            page->refused);
    poller->logged_refused = page->refused > 0;
    if (poller->failures > 0)
        log_info(component, "Polling works again after %u failed polls", poller->failures);
    if (poller->failures > 0 || !poller->polled)
        stats_changed(stats);
    poller->failures = 0;
    atomic_store(&stats->poll_problem, PROBLEM_NONE);
    poller->recoveries = 0;
    poller->is_backend_away = false;
    poller->polled = true;
}

/* The error, and what a person can do about it, as one of the last errors. */
static void record_poll_error(
    const struct delivery_poller *poller, enum convex_problem problem, const char *text)
{
    char advised[STATS_TEXT_BYTES];
    const char *fix = convex_problem_fix(problem);
    /* What does not fit is the end of what the backend said, not of what to do. */
    int room = (int)(sizeof advised - strlen(fix) - sizeof "; ");
    snprintf(advised, sizeof advised, "%.*s%s%s", room, text, fix[0] != '\0' ? "; " : "", fix);
    stats_delivery_failed(poller->parts.stats, advised);
}

static void log_problem(const struct delivery_poller *poller, enum convex_problem problem)
{
    if (problem != PROBLEM_NONE)
        log_error(component, "The backend at %s cannot be polled: %s; %s",
            convex_url(poller->parts.convex), convex_problem_cause(problem),
            convex_problem_fix(problem));
}

/*
 * Whether a smaller page may succeed: the response was too large for us or for the backend, whose
 * function then fails, or it took too long.
 */
static bool page_may_be_too_large(enum convex_outcome outcome, const struct error *error)
{
    return outcome == CONVEX_FUNCTION_ERROR || error->code == ERROR_TOO_LARGE ||
           error->code == ERROR_TIMEOUT || error->code == ERROR_NO_MEMORY;
}

static int64_t poll_failed(struct delivery_poller *poller, unsigned limit,
    enum convex_outcome outcome, enum convex_problem problem, const struct error *error)
{
    const struct config *config = poller->parts.config;
    poller->failures++;
    poller->is_backend_away = outcome == CONVEX_UNAVAILABLE && error->code != ERROR_TOO_LARGE;
    if (page_may_be_too_large(outcome, error))
        page_limit_failed(&poller->page_limit, limit, clock_monotonic_ms());
    /* Before the failure counts, so that nobody sees one without its problem. */
    int last_problem = atomic_exchange(&poller->parts.stats->poll_problem, (int)problem);
    atomic_store(&poller->parts.stats->consecutive_poll_failures, poller->failures);
    record_poll_error(poller, problem, error->text);
    int64_t delay_ms = backoff_ms(poller->failures, config->delivery_backoff_base_ms,
        config->delivery_backoff_max_ms, backoff_random_unit());
    log_event(LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_NUMBER("failures", poller->failures), LOG_NUMBER("limit", limit),
            LOG_NUMBER("retry_ms", delay_ms)),
        "Poll error: %s", error->text);
    if (poller->failures == 1)
        stats_changed(poller->parts.stats);
    /* Once for each problem: the page has it for as long as it lasts. */
    if ((int)problem != last_problem)
        log_problem(poller, problem);
    return delay_ms;
}

static int64_t poke_gap_ms(const struct delivery_poller *poller)
{
    return POKE_GAP_MS + (int64_t)(poller->listed / ROWS_OF_A_MS_MORE);
}

/* Equal for pages with the same ids. */
static uint64_t page_digest(const struct notification_page *page)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < page->count; i++)
        digest += id_hash(page->rows[i].id);
    return digest;
}

/*
 * A v1 backend hides what does not fit on a page. While pages bring something new, that is only a
 * matter of time; two equal pages show that it is not. It is over only when a page is not full, as
 * it would otherwise come and go with each notification that ends.
 */
static void find_hidden_rows(
    struct delivery_poller *poller, const struct notification_page *page, unsigned limit)
{
    struct stats *stats = poller->parts.stats;
    struct send_queue_view view;
    uint64_t digest = page_digest(page);
    bool is_same = digest == poller->digest;
    bool was_full = atomic_load(&stats->list_full);
    bool is_cut = convex_likely_version(poller->parts.convex) == BACKEND_V1 &&
                  page->listed >= MIN_CUT_ROWS && limit > page->listed;
    poller->digest = digest;
    send_queue_snapshot(poller->parts.queue, &view);
    bool is_full = is_cut && (was_full || (is_same && view.held >= MIN_CUT_ROWS));
    if (is_full == was_full)
        return;
    atomic_store(&stats->list_full, is_full);
    stats_changed(stats);
    if (is_full)
        log_warn(component,
            "%zu notifications are undelivered, and the backend lists no more: newer ones are not "
            "seen until some of these have ended",
            page->listed);
    else
        log_info(component, "The backend lists all undelivered notifications again");
}

/*
 * How long to wait after a good poll. While something happens the interval counts from when the
 * poll began, so that a slow backend makes polls no rarer; unless it takes longer than that.
 */
static int64_t next_wait_ms(struct delivery_poller *poller, int64_t began_at_ms)
{
    struct attention *attention = poller->parts.attention;
    struct send_queue_view view;
    send_queue_snapshot(poller->parts.queue, &view);
    if (view.event_ms != 0)
        attention_note(attention, view.event_ms);
    int64_t now_ms = clock_monotonic_ms();
    int64_t took_ms = now_ms - began_at_ms;
    int64_t interval_ms = attention_next_ms(attention, now_ms);
    bool is_attentive = interval_ms < attention->normal_ms;
    return is_attentive && took_ms < interval_ms ? interval_ms - took_ms : interval_ms;
}

/* Offers a page to the queue; returns how long to wait before the next poll, in milliseconds. */
static int64_t offer_page(struct delivery_poller *poller, const struct notification_page *page,
    unsigned limit, int64_t began_at_ms)
{
    record_good_page(poller, page);
    find_hidden_rows(poller, page, limit);
    const struct offer offer = {
        .rows = page->rows,
        .count = page->count,
        .unusable = page->refused,
        .full = page->listed >= limit || page->listed >= MIN_CUT_ROWS,
        .limited = page->listed >= limit,
        .began_at_ms = began_at_ms,
    };
    bool more = send_queue_offer(poller->parts.queue, &offer);
    bool grown = page_limit_worked(&poller->page_limit, limit, offer.full, clock_monotonic_ms());
    int64_t interval_ms = next_wait_ms(poller, began_at_ms);
    if (more)
        return 0;
    /* What the limit hid from this page need not wait an interval for each doubling. */
    return grown && poke_gap_ms(poller) < interval_ms ? poke_gap_ms(poller) : interval_ms;
}

/* Returns how long to wait before the next poll, in milliseconds. */
static int64_t poll_once(struct delivery_poller *poller)
{
    struct trace trace;
    enum convex_problem problem = PROBLEM_NONE;
    const struct service service = {.convex = poller->parts.convex,
        .client = poller->client,
        .trace = &trace,
        .for_loop = true,
        .problem = &problem};
    struct notification_page page;
    struct error error;
    unsigned limit = next_limit(poller);
    trace_begin(&trace);
    int64_t began_at_ms = clock_monotonic_ms();
    enum convex_outcome outcome = service_list_undelivered(&service, limit, &page, &error);
    if (outcome == CONVEX_ABORTED)
        return poller->parts.config->delivery_interval_ms;
    if (outcome != CONVEX_SUCCESS)
        return poll_failed(poller, limit, outcome, problem, &error);
    int64_t delay_ms = offer_page(poller, &page, limit, began_at_ms);
    notification_page_fini(&page);
    return delay_ms;
}

/*
 * Waits for a poll after a good one; false when the loop must stop. When the page would repeat too
 * many rows it waits on, and looks again at times, since what is held may end meanwhile.
 */
static bool wait_for_page(
    struct delivery_poller *poller, int64_t until_ms, int64_t poke_from_ms, int64_t delay_ms)
{
    while (loop_wait(&poller->loop, until_ms, poke_from_ms)) {
        int64_t now_ms = clock_monotonic_ms();
        int64_t page_ms = send_queue_next_page_ms(poller->parts.queue);
        if (delay_ms == 0 || now_ms >= page_ms)
            return true;
        until_ms = page_ms < now_ms + delay_ms ? page_ms : now_ms + delay_ms;
    }
    return false;
}

/*
 * Waits for the next poll; false when the loop must stop. While polls fail, a poke ends the wait
 * only if the backend is no longer away; the one that says so cannot be missed, because whether it
 * is away is asked after each.
 */
static bool poller_wait(struct delivery_poller *poller, int64_t began_at_ms, int64_t delay_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t until_ms = now_ms + delay_ms;
    int64_t poke_from_ms = began_at_ms + poke_gap_ms(poller);
    if (poller->failures == 0)
        return wait_for_page(poller, until_ms, poke_from_ms, delay_ms);
    poke_from_ms = INT64_MAX;
    if (poller->is_backend_away)
        poke_from_ms = now_ms + backoff_doubled_ms(RECOVERY_GAP_MS, poller->recoveries, delay_ms);
    do {
        if (!loop_wait(&poller->loop, until_ms, poke_from_ms))
            return false;
        now_ms = clock_monotonic_ms();
    } while (now_ms < until_ms && convex_is_failing(poller->parts.convex));
    poller->recoveries += now_ms < until_ms ? 1 : 0;
    return true;
}

static void *poller_thread(void *owner)
{
    struct delivery_poller *poller = owner;
    atomic_store(&poller->parts.stats->delivery_running, true);
    int64_t began_at_ms;
    int64_t delay_ms;
    do {
        began_at_ms = clock_monotonic_ms();
        delay_ms = poll_once(poller);
        loop_guard_save(poller->parts.guard);
        journal_recheck(&poller->parts.journal);
    } while (poller_wait(poller, began_at_ms, delay_ms));
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
