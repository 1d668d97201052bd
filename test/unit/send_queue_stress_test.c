/*
 * Workers, a poller and a close at once, with random delays and failures: nothing is lost, nothing
 * is sent twice, and no lane has two entries at work. Lanes are agents or sessions, or change from
 * one to the other all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"

enum { WORKERS = 6, AGENTS = 7, TASKS = 3, NOTIFICATIONS = 600, PAGE_ROWS = 40, SEED = 12345 };

/* The lanes of sessions are pairs of agent and task; each pair has a number. */
enum { SESSIONS = AGENTS * TASKS };

enum lane_kind { AGENT_LANES, SESSION_LANES, CHANGING_LANES };

/* One notification as the backend has it, and what the workers did with it. */
struct notification {
    char id[ID_BYTES];
    char agent_id[ID_BYTES];
    char task_id[ID_BYTES];
    atomic_bool delivered;
    atomic_uint sends;
    atomic_uint skips;
};

struct stress {
    struct send_queue *queue;
    struct notification notifications[NOTIFICATIONS];
    enum lane_kind lane_kind;
    unsigned failures_percent;
    atomic_uint settled;
    atomic_uint taken;
    atomic_uint given_back;
    atomic_uint looked_at; /* ahead of their turn, and given back */
    atomic_bool stopping;
    atomic_int at_work[SESSIONS];   /* by lane */
    atomic_int last_sent[SESSIONS]; /* number of the last notification sent */
    /* Violations; read by the main thread once all others have ended. */
    atomic_uint two_of_a_lane;
    atomic_uint out_of_order;
    atomic_uint sends_after_close;
};

struct worker {
    struct stress *stress;
    pthread_t thread;
    unsigned random;
};

/* xorshift32 */
static unsigned next_random(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void stress_init(struct stress *stress, enum lane_kind lane_kind, unsigned failures_percent)
{
    memset(stress, 0, sizeof *stress);
    stress->queue = queue_fixture_create_ahead(32);
    stress->lane_kind = lane_kind;
    send_queue_use_session_lanes(stress->queue, lane_kind == SESSION_LANES);
    stress->failures_percent = failures_percent;
    for (int i = 0; i < NOTIFICATIONS; i++) {
        struct notification *notification = &stress->notifications[i];
        snprintf(notification->id, sizeof notification->id, "n%d", i);
        snprintf(notification->agent_id, sizeof notification->agent_id, "agent%d", i % AGENTS);
        snprintf(notification->task_id, sizeof notification->task_id, "task%d", i / AGENTS % TASKS);
    }
    for (int i = 0; i < SESSIONS; i++)
        atomic_init(&stress->last_sent[i], -1);
}

static int number_of(const struct entry *entry)
{
    return (int)strtol(entry->item.id + 1, NULL, 10);
}

/* Which lane the notification of that number is in, as long as the kind of lanes stays. */
static int lane_of(const struct stress *stress, int number)
{
    return number % (stress->lane_kind == AGENT_LANES ? AGENTS : SESSIONS);
}

/* Some are to be skipped, which whoever looks at them finds out. */
static bool is_to_be_skipped(int number)
{
    return number % 5 < 2;
}

static bool fails(struct worker *worker)
{
    return next_random(&worker->random) % 100 < worker->stress->failures_percent;
}

/* The agent is asked: at most once for each notification, and in order if nothing ever fails. */
static void send(struct stress *stress, const struct entry *entry)
{
    int number = number_of(entry);
    atomic_fetch_add(&stress->notifications[number].sends, 1);
    if (atomic_exchange(&stress->last_sent[lane_of(stress, number)], number) > number)
        atomic_fetch_add(&stress->out_of_order, 1);
}

static enum entry_stage run_stage(struct worker *worker, struct entry *entry)
{
    struct stress *stress = worker->stress;
    switch (entry->queue.stage) {
    case STAGE_KNOWN:
        if (is_to_be_skipped(number_of(entry))) {
            entry->work.outcome = OUTCOME_SKIPPED;
            atomic_fetch_add(&stress->notifications[number_of(entry)].skips, 1);
            return STAGE_WRITTEN;
        }
        if (!send_queue_advance(stress->queue, entry, STAGE_SENDING))
            return STAGE_KNOWN;
        send(stress, entry);
        entry->work.reply = strdup("reply");
        return STAGE_REPLIED;
    case STAGE_REPLIED:
        return STAGE_WRITTEN;
    default:
        atomic_store(&stress->notifications[number_of(entry)].delivered, true);
        return STAGE_SETTLED;
    }
}

/* Whether an entry that was taken ahead of its turn may be sent; else it is given back. */
static bool take_turn(struct worker *worker, struct entry *entry)
{
    struct stress *stress = worker->stress;
    if (next_random(&worker->random) % 4 == 0)
        sched_yield();
    if (send_queue_take_turn(stress->queue, entry))
        return true;
    atomic_fetch_add(&stress->looked_at, 1);
    send_queue_finish(stress->queue, entry, STAGE_KNOWN, 0);
    atomic_fetch_add(&stress->given_back, 1);
    return false;
}

/* Like a worker of the runtime: stage after stage until one fails or is refused. */
static void work_on(struct worker *worker, struct entry *entry)
{
    struct stress *stress = worker->stress;
    atomic_int *at_work = &stress->at_work[lane_of(stress, number_of(entry))];
    if (!is_to_be_skipped(number_of(entry)) && entry->queue.ahead && !take_turn(worker, entry))
        return;
    bool has_turn = !entry->queue.ahead;
    if (has_turn && atomic_fetch_add(at_work, 1) != 0 && stress->lane_kind != CHANGING_LANES)
        atomic_fetch_add(&stress->two_of_a_lane, 1);
    enum entry_stage stage = entry->queue.stage;
    int64_t delay_ms = 0;
    while (stage != STAGE_SETTLED && delay_ms == 0) {
        if (next_random(&worker->random) % 4 == 0)
            sched_yield();
        enum entry_stage before = stage;
        if (!fails(worker))
            stage = run_stage(worker, entry);
        if (stage == before)
            delay_ms = 1 + next_random(&worker->random) % 3;
        else if (stage != STAGE_SETTLED)
            send_queue_advance(stress->queue, entry, stage);
    }
    if (stage == STAGE_SETTLED)
        atomic_fetch_add(&stress->settled, 1);
    if (has_turn)
        atomic_fetch_sub(at_work, 1);
    send_queue_finish(stress->queue, entry, stage, delay_ms);
    atomic_fetch_add(&stress->given_back, 1);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct stress *stress = worker->stress;
    struct entry *entry;
    for (;;) {
        bool closed = atomic_load(&stress->stopping);
        entry = send_queue_take(stress->queue, NULL);
        if (entry == NULL)
            return NULL;
        atomic_fetch_add(&stress->taken, 1);
        if (closed && entry->queue.stage == STAGE_KNOWN)
            atomic_fetch_add(&stress->sends_after_close, 1);
        work_on(worker, entry);
    }
}

/* The backend's list: the oldest undelivered ones, up to the limit. */
static size_t list(struct stress *stress, struct notification_row *rows, size_t limit)
{
    size_t count = 0;
    for (int i = 0; i < NOTIFICATIONS && count < limit; i++) {
        const struct notification *notification = &stress->notifications[i];
        if (atomic_load(&notification->delivered))
            continue;
        rows[count] = queue_fixture_row(notification->id, notification->agent_id, i);
        text_copy(rows[count++].task_id, ID_BYTES, notification->task_id);
    }
    return count;
}

/* Requests a page, lets others run while the response is under way, and offers it. */
static void poll_once(struct stress *stress, struct notification_row rows[static NOTIFICATIONS])
{
    size_t limit = PAGE_ROWS + queue_fixture_counts(stress->queue).held;
    if (limit > NOTIFICATIONS)
        limit = NOTIFICATIONS;
    int64_t began_at_ms = clock_monotonic_ms();
    size_t count = list(stress, rows, limit);
    for (int i = 0; i < 20; i++)
        sched_yield();
    const struct offer offer = {
        .rows = rows, .count = count, .full = count >= limit, .began_at_ms = began_at_ms};
    send_queue_offer(stress->queue, &offer);
}

static void start_workers(struct worker *workers, struct stress *stress)
{
    struct error error;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.stress = stress, .random = SEED + i};
        assert_int_equal(thread_start(&workers[i].thread, "worker", work, &workers[i], &error), 0);
    }
}

static void close_and_join(struct stress *stress, struct worker *workers, int64_t grace_ms)
{
    send_queue_close(stress->queue, clock_monotonic_ms() + grace_ms);
    atomic_store(&stress->stopping, true);
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(workers[i].thread);
}

/*
 * Checks what must hold at any end; in_time: the close left time for write-backs. Returns how many
 * were sent or skipped.
 */
static unsigned check_end(struct stress *stress, bool in_time)
{
    unsigned sent = 0;
    for (int i = 0; i < NOTIFICATIONS; i++) {
        unsigned sends = atomic_load(&stress->notifications[i].sends);
        unsigned ends = sends + atomic_load(&stress->notifications[i].skips);
        assert_in_range(ends, 0, 1);
        assert_true(sends == 0 || !is_to_be_skipped(i));
        sent += ends;
    }
    assert_int_equal(atomic_load(&stress->two_of_a_lane), 0);
    assert_int_equal(atomic_load(&stress->sends_after_close), 0);
    assert_int_equal(queue_fixture_counts(stress->queue).running, 0);
    assert_int_equal(atomic_load(&stress->given_back), atomic_load(&stress->taken));
    assert_in_range(atomic_load(&stress->settled), 0, sent);
    if (in_time)
        assert_int_equal(atomic_load(&stress->settled), sent);
    return sent;
}

/* A thread that repeats one thing until the close. */
struct bystander {
    struct stress *stress;
    pthread_t thread;
    atomic_uint turns;
};

static void *change_lanes(void *argument)
{
    struct bystander *bystander = argument;
    while (!atomic_load(&bystander->stress->stopping)) {
        send_queue_use_session_lanes(
            bystander->stress->queue, atomic_fetch_add(&bystander->turns, 1) % 2 == 0);
        sched_yield();
    }
    return NULL;
}

static void must_be_empty(struct send_queue *queue)
{
    EMPTY_PAGE(queue);
    struct send_queue_view counts = queue_fixture_counts(queue);
    assert_int_equal(counts.held, 0);
    assert_int_equal(counts.ready, 0);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(counts.lanes, 0);
}

static void run_to_the_end(enum lane_kind lane_kind, unsigned failures_percent)
{
    static struct stress stress;
    struct worker workers[WORKERS];
    struct notification_row rows[NOTIFICATIONS];
    struct bystander changer = {.stress = &stress};
    struct error error;
    stress_init(&stress, lane_kind, failures_percent);
    start_workers(workers, &stress);
    if (lane_kind == CHANGING_LANES)
        assert_int_equal(
            thread_start(&changer.thread, "changer", change_lanes, &changer, &error), 0);
    while (atomic_load(&stress.settled) < NOTIFICATIONS)
        poll_once(&stress, rows);
    close_and_join(&stress, workers, AN_HOUR_MS);
    if (lane_kind == CHANGING_LANES)
        thread_join(changer.thread);
    assert_int_equal(check_end(&stress, true), NOTIFICATIONS);
    if (failures_percent == 0 && lane_kind != CHANGING_LANES)
        assert_int_equal(atomic_load(&stress.out_of_order), 0);
    must_be_empty(stress.queue);
    send_queue_destroy(stress.queue);
}

static void test_each_is_sent_once_and_in_order_when_all_goes_well(void **state)
{
    (void)state;
    run_to_the_end(AGENT_LANES, 0);
    run_to_the_end(SESSION_LANES, 0);
}

static void test_each_is_sent_once_when_stages_fail(void **state)
{
    (void)state;
    run_to_the_end(AGENT_LANES, 30);
    run_to_the_end(SESSION_LANES, 30);
}

static void test_each_is_sent_once_while_lanes_change(void **state)
{
    (void)state;
    run_to_the_end(CHANGING_LANES, 0);
    run_to_the_end(CHANGING_LANES, 30);
}

/* The close comes at a different point each time; every reply is still written back. */
static void test_close_loses_no_reply(void **state)
{
    enum { ROUNDS = 30 };
    (void)state;
    static struct stress stress;
    struct worker workers[WORKERS];
    struct notification_row rows[NOTIFICATIONS];
    unsigned random = SEED;
    for (int round = 0; round < ROUNDS; round++) {
        stress_init(&stress, round % 2 == 0 ? AGENT_LANES : SESSION_LANES, 20);
        start_workers(workers, &stress);
        for (unsigned polls = next_random(&random) % 12; polls > 0; polls--)
            poll_once(&stress, rows);
        close_and_join(&stress, workers, AN_HOUR_MS);
        check_end(&stress, true);
        poll_once(&stress, rows);
        assert_null(send_queue_take(stress.queue, NULL));
        send_queue_destroy(stress.queue);
    }
}

static void *hold_and_release(void *argument)
{
    struct bystander *bystander = argument;
    while (!atomic_load(&bystander->stress->stopping)) {
        queue_fixture_pause(bystander->stress->queue, true);
        sched_yield();
        queue_fixture_pause(bystander->stress->queue, false);
        atomic_fetch_add(&bystander->turns, 1);
        sched_yield();
    }
    return NULL;
}

static void *poll_on(void *argument)
{
    struct bystander *bystander = argument;
    struct notification_row rows[NOTIFICATIONS];
    while (!atomic_load(&bystander->stress->stopping)) {
        poll_once(bystander->stress, rows);
        atomic_fetch_add(&bystander->turns, 1);
    }
    return NULL;
}

/* A new queue and a close at a random moment, while everything else goes on. */
static void race_once(struct stress *stress, unsigned *random)
{
    struct worker workers[WORKERS];
    struct bystander poller = {.stress = stress};
    struct bystander holder = {.stress = stress};
    struct bystander changer = {.stress = stress};
    struct error error;
    stress_init(stress, CHANGING_LANES, 10);
    start_workers(workers, stress);
    assert_int_equal(thread_start(&poller.thread, "poller", poll_on, &poller, &error), 0);
    assert_int_equal(thread_start(&holder.thread, "holder", hold_and_release, &holder, &error), 0);
    assert_int_equal(thread_start(&changer.thread, "changer", change_lanes, &changer, &error), 0);
    unsigned polls = next_random(random) % 3;
    unsigned settled = next_random(random) % 60;
    while (atomic_load(&poller.turns) < polls || atomic_load(&stress->settled) < settled)
        sched_yield();
    bool in_time = next_random(random) % 4 != 0;
    close_and_join(stress, workers, in_time ? AN_HOUR_MS : 0);
    thread_join(poller.thread);
    thread_join(holder.thread);
    thread_join(changer.thread);
    check_end(stress, in_time);
    assert_null(send_queue_take(stress->queue, NULL));
    send_queue_destroy(stress->queue);
}

/* TEST_SEED in the environment repeats the moments of a run, as far as the scheduler lets it. */
static void test_close_races_with_everything_else(void **state)
{
    enum { ROUNDS = 500 };
    (void)state;
    static struct stress stress;
    unsigned seed = (unsigned)clock_monotonic_us() | 1;
    const char *given = getenv("TEST_SEED");
    if (given != NULL)
        seed = (unsigned)strtoul(given, NULL, 10);
    print_message("TEST_SEED=%u\n", seed);
    unsigned random = seed;
    for (int round = 0; round < ROUNDS; round++)
        race_once(&stress, &random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_sent_once_and_in_order_when_all_goes_well),
        cmocka_unit_test(test_each_is_sent_once_when_stages_fail),
        cmocka_unit_test(test_each_is_sent_once_while_lanes_change),
        cmocka_unit_test(test_close_loses_no_reply),
        cmocka_unit_test(test_close_races_with_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
