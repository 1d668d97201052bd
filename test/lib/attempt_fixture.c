#include "attempt_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "queue_fixture.h"

struct attempt_fixture *attempt_fixture_create(const char *task_id)
{
    struct attempt_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    assert_int_equal(spool_open(&fixture->spool, fixture->dir, "account1", NULL), 0);
    stats_init(&fixture->stats);
    struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    struct notification_row row = queue_fixture_row("n1", "a1", 1);
    text_copy(row.task_id, sizeof row.task_id, task_id);
    queue_fixture_page(queue, false, &row, 1);
    fixture->entry = queue_fixture_take(queue, "n1");
    fixture->delivery = (struct delivery){.config = &fixture->config,
        .queue = queue,
        .stats = &fixture->stats,
        .journal = {.spool = fixture->spool, .stats = &fixture->stats}};
    fixture->attempt = (struct attempt){.delivery = &fixture->delivery, .entry = fixture->entry};
    return fixture;
}

int attempt_fixture_teardown(void **state)
{
    struct attempt_fixture *fixture = *state;
    queue_fixture_finish(fixture->delivery.queue, fixture->entry, STAGE_SETTLED, 0);
    send_queue_destroy(fixture->delivery.queue);
    spool_close(fixture->spool);
    stats_fini(&fixture->stats);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}
