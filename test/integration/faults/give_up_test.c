/* What cannot be delivered ends where a person can see it: as a note, or as a reply that is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/id.h"
#include "fault_world.h"

/* A notification and its agent, of a new board with nothing else. */
struct one {
    char id[ID_BYTES];
    char agent[ID_BYTES];
};

static struct one load_one(struct fault_world *faults)
{
    struct one one;
    json_t *rows = board_load(faults->world, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    snprintf(one.id, sizeof one.id, "%s", board_string(row, "id"));
    snprintf(one.agent, sizeof one.agent, "%s", board_string(row, "agent"));
    json_decref(rows);
    return one;
}

static void expect_kept_reply(struct fault_world *faults, const char *id)
{
    char path[512];
    snprintf(path, sizeof path, "%s/dead/%s.json", faults->state_dir, id);
    json_t *record = json_load_file(path, 0, NULL);
    if (record == NULL)
        fail_msg("there is no %s", path);
    assert_non_null(strstr(board_string(record, "reply"), "Run 1"));
    json_decref(record);
    assert_int_equal(world_stat(faults->world, NULL, "replies"), 0);
}

static void test_reply_for_an_agent_that_is_gone_is_kept(void **state)
{
    struct fault_world *faults = *state;
    struct one one = load_one(faults);
    board_gateway_fault(faults->world, json_pack("{s:s, s:s}", "action", "hold", "name", "agent"));
    fault_world_start(faults, NULL);
    world_wait(faults->world, "held=1");
    json_decref(world_post(faults->world, "/sandbox/delete", json_pack("{s:s}", "id", one.agent)));
    board_release(faults->world, "agent");
    world_wait(faults->world, "undelivered=0");
    world_stop_runtime(faults->world);
    assert_int_equal(board_requests_for(faults->world, one.id), 1);
    expect_kept_reply(faults, one.id);
}

static void test_reply_that_is_refused_for_too_long_is_kept(void **state)
{
    struct fault_world *faults = *state;
    struct one one = load_one(faults);
    board_backend_fault(faults->world,
        json_pack("{s:s, s:s}", "action", "createMessageFromAgent", "behaviour", "function_error"));
    fault_world_start(faults, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=1000", NULL});
    world_wait(faults->world, "undelivered=0");
    world_stop_runtime(faults->world);
    assert_int_equal(board_requests_for(faults->world, one.id), 1);
    expect_kept_reply(faults, one.id);
}

static void test_agent_that_is_refused_for_too_long_ends_in_a_note(void **state)
{
    struct fault_world *faults = *state;
    struct one one = load_one(faults);
    board_gateway_fault(
        faults->world, json_pack("{s:{s:s}, s:s, s:b, s:i, s:{s:{s:s}}}", "match", "agent",
                           "worker1", "action", "status", "before_checks", 1, "status", 500,
                           "body_json", "error", "message", "made to fail"));
    fault_world_start(faults, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=1000", NULL});
    fault_world_settle(faults, &(struct history_rules){.most_runs = 0, .notes = true});
    assert_int_equal(board_requests_for(faults->world, one.id), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FAULT_WORLD(test_reply_for_an_agent_that_is_gone_is_kept),
        IN_FAULT_WORLD(test_reply_that_is_refused_for_too_long_is_kept),
        IN_FAULT_WORLD(test_agent_that_is_refused_for_too_long_ends_in_a_note),
    };
    return cmocka_run_group_tests_name("give_up", tests, NULL, NULL);
}
