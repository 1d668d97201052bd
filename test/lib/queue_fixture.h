/* A send queue, pages for it, and takes that must return a certain entry. */
#ifndef TEST_LIB_QUEUE_FIXTURE_H
#define TEST_LIB_QUEUE_FIXTURE_H

#include "delivery/send_queue.h"

enum { QUEUE_FIXTURE_MAX_WAKES = 2 };
enum { QUEUE_FIXTURE_CAPACITY = 1024, AN_HOUR_MS = 3600 * 1000, TWO_HOURS_MS = 2 * AN_HOUR_MS };

/* cmocka fixtures: *state becomes an empty struct send_queue. */
int queue_fixture_setup(void **state);
int queue_fixture_teardown(void **state);

/* One of QUEUE_FIXTURE_CAPACITY or another; the caller destroys it. Fails the test without memory.
 */
struct send_queue *queue_fixture_create(size_t capacity);

/* One that also hands out entries ahead of their turn, as the runtime's does. */
struct send_queue *queue_fixture_create_ahead(size_t capacity);

/* A row of a page, for ids that are not literals. */
struct notification_row queue_fixture_row(
    const char *id, const char *agent_id, int64_t created_at_ms);

/* Offers a page requested just now; returns what send_queue_offer does. */
bool queue_fixture_page(
    struct send_queue *queue, bool full, const struct notification_row *rows, size_t count);

#define ROWS(...)                                     \
    ((const struct notification_row[]){__VA_ARGS__}), \
        sizeof((const struct notification_row[]){__VA_ARGS__}) / sizeof(struct notification_row)
#define PAGE(queue, ...) queue_fixture_page((queue), false, ROWS(__VA_ARGS__))
#define FULL_PAGE(queue, ...) queue_fixture_page((queue), true, ROWS(__VA_ARGS__))
#define EMPTY_PAGE(queue) queue_fixture_page((queue), false, NULL, 0)

/* Pauses the queue's sends by a policy, or allows them. */
void queue_fixture_pause(struct send_queue *queue, bool paused);

/* Takes an entry; fails the test unless it is the one called id. */
struct entry *queue_fixture_take(struct send_queue *queue, const char *id);

/* Takes the entry called id and settles it. */
void queue_fixture_take_and_settle(struct send_queue *queue, const char *id);

/* How many polls the queues of this fixture have asked for. */
unsigned queue_fixture_polls(void);

/* As send_queue_finish; returns whether it asked for a poll. */
bool queue_fixture_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms);

struct send_queue_view queue_fixture_counts(struct send_queue *queue);

/* Rows of one agent with the ids "PREFIX-0" and on, createdAt from 0 on. Freed with _fini. */
struct many_rows {
    struct notification_row *rows;
    char (*ids)[ID_BYTES];
    size_t count;
};

struct many_rows many_rows_create(const char *prefix, const char *agent_id, size_t count);
void many_rows_fini(struct many_rows *many);

#endif
