/* The counts of agent runs: their limit, what resets and forgives them, and their file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "base/json.h"
#include "delivery/agent_runs.h"

enum { MAX_RUNS = 4 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    char path[TMP_DIR_BYTES + 32];
    struct agent_runs *runs;
    int64_t now_ms;
    unsigned made; /* notifications so far */
    char id[ID_BYTES];
    struct agent_claim claim; /* the last one's */
};

static void open_runs(struct fixture *fixture)
{
    assert_int_equal(agent_runs_create(&fixture->runs, MAX_RUNS, fixture->dir, NULL), 0);
}

static void reopen_runs(struct fixture *fixture)
{
    agent_runs_destroy(fixture->runs);
    open_runs(fixture);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    snprintf(fixture->path, sizeof fixture->path, "%s/agent-runs.json", fixture->dir);
    /* Pairs that are a day old are not saved, by the real clock. */
    fixture->now_ms = clock_wall_ms();
    open_runs(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    agent_runs_destroy(fixture->runs);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

static enum end_reason claim(struct fixture *fixture, const struct agent_run *run)
{
    return agent_runs_claim(fixture->runs, run, fixture->now_ms, &fixture->claim);
}

/* A new notification of an agent's message. */
static enum end_reason claim_for_agent(
    struct fixture *fixture, const char *root, const char *task_id)
{
    snprintf(fixture->id, sizeof fixture->id, "n%u", fixture->made++);
    const struct agent_run run = {.notification_id = fixture->id,
        .agent_id = "a",
        .root = root,
        .task_id = task_id,
        .by_agent = true};
    return claim(fixture, &run);
}

/* A new notification of a person's message, or without one. */
static enum end_reason claim_for_person(
    struct fixture *fixture, const char *root, const char *task_id, int64_t wrote_ms)
{
    snprintf(fixture->id, sizeof fixture->id, "n%u", fixture->made++);
    const struct agent_run run = {.notification_id = fixture->id,
        .agent_id = "a",
        .root = root,
        .task_id = task_id,
        .person_wrote_ms = wrote_ms};
    return claim(fixture, &run);
}

static void use_up(struct fixture *fixture, const char *root, const char *task_id)
{
    for (int i = 0; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, root, task_id), REASON_REPLIED);
}

static void must_be_over(
    struct fixture *fixture, const char *root, const char *task_id, bool note_due)
{
    assert_int_equal(claim_for_agent(fixture, root, task_id), REASON_TOO_MANY_AGENT_RUNS);
    assert_int_equal(fixture->claim.note_due, note_due);
}

static enum end_reason foresee(struct fixture *fixture, const struct agent_run *run)
{
    return agent_runs_foresee(fixture->runs, run, fixture->now_ms);
}

/* Those before it have to find what is left. */
static void test_what_is_foreseen_is_not_counted(void **state)
{
    struct fixture *fixture = *state;
    const struct agent_run run = {.notification_id = "later",
        .agent_id = "a",
        .message_id = "m",
        .root = "root",
        .task_id = "task",
        .by_agent = true};
    for (int i = 0; i < 2 * MAX_RUNS; i++)
        assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
    use_up(fixture, "root", "task");
}

/* The first that is skipped has to say so, in its turn; then the others need not wait for theirs.
 */
static void test_limit_is_foreseen_once_it_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct agent_run run = {.notification_id = "later",
        .agent_id = "a",
        .root = "root",
        .task_id = "task",
        .by_agent = true};
    use_up(fixture, "root", "task");
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
    must_be_over(fixture, "root", "task", true);
    assert_int_equal(foresee(fixture, &run), REASON_TOO_MANY_AGENT_RUNS);
    agent_runs_end_note(fixture->runs, "root", "task", fixture->id, true);
    assert_int_equal(foresee(fixture, &run), REASON_TOO_MANY_AGENT_RUNS);
    run.notification_id = fixture->id;
    assert_int_equal(foresee(fixture, &run), REASON_TOO_MANY_AGENT_RUNS);
    run.by_agent = false;
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
    run.by_agent = true;
    run.person_wrote_ms = fixture->now_ms;
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
    run.person_wrote_ms = 0;
    fixture->now_ms += AGENT_RUNS_HALF_MS;
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
}

static void test_run_of_another_notification_is_foreseen(void **state)
{
    struct fixture *fixture = *state;
    struct agent_run run = {
        .notification_id = "first", .agent_id = "a", .message_id = "m", .root = "root"};
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
    run.notification_id = "second";
    assert_int_equal(foresee(fixture, &run), REASON_SAME_MESSAGE);
    run.agent_id = "b";
    assert_int_equal(foresee(fixture, &run), REASON_REPLIED);
}

static void test_root_has_a_limit(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", NULL);
    must_be_over(fixture, "r", NULL, false); /* without a task there is no thread */
    assert_int_equal(claim_for_agent(fixture, "other", NULL), REASON_REPLIED);
}

static void test_task_has_a_limit_for_all_its_roots(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < MAX_RUNS; i++) {
        char root[ID_BYTES];
        snprintf(root, sizeof root, "r%d", i);
        assert_int_equal(claim_for_agent(fixture, root, "t"), REASON_REPLIED);
    }
    must_be_over(fixture, "r9", "t", true);
    assert_int_equal(claim_for_agent(fixture, "r0", "other"), REASON_REPLIED);
}

static void test_person_is_never_over_the_limit(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 3 * MAX_RUNS; i++)
        assert_int_equal(claim_for_person(fixture, "m", "t", 1), REASON_REPLIED);
    must_be_over(fixture, "m", "t", true);
    assert_int_equal(claim_for_person(fixture, "assignment", "t", 0), REASON_REPLIED);
}

/* Once for root and task; the notification that has the note may ask again, as after a failure. */
static void test_note_is_due_once(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", "t");
    must_be_over(fixture, "r", "t", true);
    const struct agent_run again = {
        .notification_id = "n4", .agent_id = "a", .root = "r", .task_id = "t", .by_agent = true};
    assert_string_equal(fixture->id, "n4");
    must_be_over(fixture, "r", "t", false);
    must_be_over(fixture, "other", "t", false);
    assert_int_equal(claim(fixture, &again), REASON_TOO_MANY_AGENT_RUNS);
    assert_true(fixture->claim.note_due);
    agent_runs_end_note(fixture->runs, "r", "t", "n5", false); /* which does not have it */
    must_be_over(fixture, "r", "t", false);
    agent_runs_end_note(fixture->runs, "r", "t", "n4", false);
    must_be_over(fixture, "r", "t", true);
}

/* Also not to the notification that posted it, which may come again with a newer message. */
static void test_posted_note_is_due_to_nobody(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", "t");
    must_be_over(fixture, "r", "t", true);
    const struct agent_run again = {
        .notification_id = "n4", .agent_id = "a", .root = "r", .task_id = "t", .by_agent = true};
    assert_string_equal(fixture->id, "n4");
    agent_runs_end_note(fixture->runs, "r", "t", "n4", true);
    assert_int_equal(claim(fixture, &again), REASON_TOO_MANY_AGENT_RUNS);
    assert_false(fixture->claim.note_due);
    must_be_over(fixture, "r", "t", false);
    assert_int_equal(claim_for_person(fixture, "m2", "t", 1), REASON_REPLIED);
    for (int i = 1; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "m2", "t"), REASON_REPLIED);
    must_be_over(fixture, "m2", "t", true);
}

/* Only a message that was not seen before; a late notification of an old one changes nothing. */
static void test_person_who_writes_resets_the_task(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(claim_for_person(fixture, "m1", "t", 10), REASON_REPLIED);
    for (int i = 1; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "m1", "t"), REASON_REPLIED);
    must_be_over(fixture, "m1", "t", true);
    assert_int_equal(claim_for_person(fixture, "m1", "t", 10), REASON_REPLIED);
    must_be_over(fixture, "m1", "t", false);
    assert_int_equal(claim_for_person(fixture, "m2", "t", 11), REASON_REPLIED);
    must_be_over(fixture, "m1", "t", false); /* the old root stays where it is */
    for (int i = 1; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "m2", "t"), REASON_REPLIED);
    must_be_over(fixture, "m2", "t", true);
}

static void test_run_that_did_not_take_place_is_taken_back(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", "t");
    agent_runs_take_back(fixture->runs, "r", "t", 0);
    assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
    must_be_over(fixture, "r", "t", true);
    agent_runs_take_back(fixture->runs, "unknown", "", 0);
}

/* What a person's message has forgiven is not forgiven twice, or the task would get a run more. */
static void test_run_from_before_a_persons_message_is_not_taken_back(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
    int64_t before_ms = fixture->claim.person_ms;
    assert_int_equal(claim_for_person(fixture, "m", "t", 10), REASON_REPLIED);
    assert_int_equal(fixture->claim.person_ms, 10);
    for (int i = 1; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "m", "t"), REASON_REPLIED);
    agent_runs_take_back(fixture->runs, "r", "t", before_ms);
    must_be_over(fixture, "other", "t", true);
    for (int i = 0; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "r", "another"), REASON_REPLIED);
}

static void test_half_is_forgiven_each_day(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", "t");
    fixture->now_ms += AGENT_RUNS_HALF_MS - 1;
    must_be_over(fixture, "r", "t", true);
    fixture->now_ms += 1;
    for (int i = 0; i < MAX_RUNS / 2; i++)
        assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
    must_be_over(fixture, "r", "t", false);
    fixture->now_ms += 40 * AGENT_RUNS_HALF_MS;
    use_up(fixture, "r", "t");
    must_be_over(fixture, "r", "t", false);
}

static void test_clock_that_is_set_back_forgives_nothing(void **state)
{
    struct fixture *fixture = *state;
    use_up(fixture, "r", "t");
    fixture->now_ms -= 10 * AGENT_RUNS_HALF_MS;
    must_be_over(fixture, "r", "t", true);
    fixture->now_ms += AGENT_RUNS_HALF_MS;
    assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
}

static void test_message_runs_an_agent_once(void **state)
{
    struct fixture *fixture = *state;
    struct agent_run run = {
        .notification_id = "n1", .agent_id = "a", .message_id = "m", .root = "m", .task_id = "t"};
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    assert_int_equal(claim(fixture, &run), REASON_REPLIED); /* a retry */
    run.notification_id = "n2";
    assert_int_equal(claim(fixture, &run), REASON_SAME_MESSAGE);
    run.agent_id = "b";
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    run.notification_id = "n3";
    run.message_id = "m3";
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
}

/* A run that is not allowed does not take the message from another notification. */
static void test_skipped_notification_claims_no_message(void **state)
{
    struct fixture *fixture = *state;
    struct agent_run run = {.notification_id = "x1",
        .agent_id = "a",
        .message_id = "m",
        .root = "r",
        .task_id = "t",
        .by_agent = true};
    use_up(fixture, "r", "t");
    assert_int_equal(claim(fixture, &run), REASON_TOO_MANY_AGENT_RUNS);
    run.notification_id = "x2";
    assert_int_equal(claim(fixture, &run), REASON_TOO_MANY_AGENT_RUNS);
}

static void test_least_recently_used_count_is_dropped(void **state)
{
    struct fixture *fixture = *state;
    char root[ID_BYTES];
    use_up(fixture, "first", NULL);
    use_up(fixture, "second", NULL);
    must_be_over(fixture, "first", NULL, false);
    for (int i = 0; i < AGENT_RUNS_REMEMBERED - 1; i++) {
        snprintf(root, sizeof root, "r%d", i);
        assert_int_equal(claim_for_agent(fixture, root, NULL), REASON_REPLIED);
    }
    must_be_over(fixture, "first", NULL, false);
    assert_int_equal(claim_for_agent(fixture, "second", NULL), REASON_REPLIED);
}

struct burst {
    struct fixture *fixture;
    atomic_int allowed;
    atomic_int number;
};

static void *claim_many(void *argument)
{
    struct burst *burst = argument;
    for (int i = 0; i < 200; i++) {
        char id[ID_BYTES];
        struct agent_claim claim;
        snprintf(id, sizeof id, "b%d", atomic_fetch_add(&burst->number, 1));
        const struct agent_run run = {
            .notification_id = id, .agent_id = "a", .root = "r", .task_id = "t", .by_agent = true};
        if (agent_runs_claim(burst->fixture->runs, &run, burst->fixture->now_ms, &claim) ==
            REASON_REPLIED)
            atomic_fetch_add(&burst->allowed, 1);
    }
    return NULL;
}

static void test_burst_stays_within_the_limit(void **state)
{
    enum { THREADS = 4 };
    struct burst burst = {.fixture = *state};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, claim_many, &burst), 0);
    for (int i = 0; i < 100; i++)
        agent_runs_save(burst.fixture->runs, 0, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&burst.allowed), MAX_RUNS);
}

static void test_counts_outlive_the_process(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    struct agent_run run = {
        .notification_id = "x1", .agent_id = "a", .message_id = "m", .root = "m", .task_id = "t"};
    run.person_wrote_ms = 10;
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    for (int i = 1; i < MAX_RUNS; i++)
        assert_int_equal(claim_for_agent(fixture, "m", "t"), REASON_REPLIED);
    must_be_over(fixture, "m", "t", true);
    reopen_runs(fixture);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    must_be_over(fixture, "m", "t", false);
    assert_int_equal(claim(fixture, &run), REASON_REPLIED); /* writes nothing new */
    must_be_over(fixture, "m", "t", false);
    run.notification_id = "x2";
    assert_int_equal(claim(fixture, &run), REASON_SAME_MESSAGE);
}

/* What is forgiven, and messages of more than a day ago, need no room. */
static void test_old_rows_are_not_saved(void **state)
{
    struct fixture *fixture = *state;
    fixture->now_ms -= 2 * AGENT_RUNS_HALF_MS;
    const struct agent_run run = {
        .notification_id = "x1", .agent_id = "a", .message_id = "m", .root = "m", .task_id = "t"};
    assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    agent_runs_take_back(fixture->runs, "m", "t", 0);
    agent_runs_save(fixture->runs, 0, true);
    char *text = test_file_read(fixture->path);
    assert_string_equal(text, "{\"version\":1,\n\"runs\":[],\n\"messages\":[]}\n");
    free(text);
}

/* At most one write a second, and none without a change. */
static void test_file_is_written_seldom(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
    agent_runs_save(fixture->runs, 1000, false);
    assert_int_equal(unlink(fixture->path), 0);
    agent_runs_save(fixture->runs, 5000, false);
    assert_int_not_equal(access(fixture->path, F_OK), 0);
    assert_int_equal(claim_for_agent(fixture, "r", "t"), REASON_REPLIED);
    agent_runs_save(fixture->runs, 1999, false);
    assert_int_not_equal(access(fixture->path, F_OK), 0);
    agent_runs_save(fixture->runs, 2100, false);
    assert_int_equal(access(fixture->path, F_OK), 0);
}

/* A full or damaged disk costs nothing but the memory of it. */
static void test_file_that_cannot_be_written_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    use_up(fixture, "r", "t");
    agent_runs_save(fixture->runs, 1000, true);
    assert_int_equal(rmdir(fixture->path), 0);
    reopen_runs(fixture);
    must_be_over(fixture, "r", "t", true);
}

static void test_file_that_is_not_ours_is_ignored(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {
        "",
        "nonsense",
        "[]",
        "{\"version\":2,\"runs\":[],\"messages\":[]}",
        "{\"version\":1,\"runs\":[]}",
        "{\"version\":1,\"runs\":[[\"r\",4,1,0,\"\"],[\"t\",4]],\"messages\":[]}",
        "{\"version\":1,\"runs\":[[\"r\",4,1,0,\"../x\"]],\"messages\":[]}",
        "{\"version\":1,\"runs\":[[\"r\",-4,1,0,\"\"]],\"messages\":[]}",
        "{\"version\":1,\"runs\":[[\"r\",4,1e300,0,\"\"]],\"messages\":[]}",
        "{\"version\":1,\"runs\":[[\"r\",4,1,0,\"\"]],\"messages\":[[\"k\",\"\",1]]}",
        "{\"version\":1,\"runs\":[[\"r\",4,1,0,\"\"]],\"messages\":[7]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        agent_runs_destroy(fixture->runs);
        test_file_write(fixture->path, texts[i]);
        open_runs(fixture);
        assert_int_equal(fixture->runs->counts.used, 0);
        use_up(fixture, "r", NULL);
        must_be_over(fixture, "r", NULL, false);
    }
}

/* As full as it can get, with the longest ids, it is read back as a whole. */
static void test_full_file_is_read(void **state)
{
    struct fixture *fixture = *state;
    char ids[3][ID_BYTES];
    for (int i = 0; i < AGENT_RUNS_REMEMBERED; i++) {
        snprintf(ids[0], ID_BYTES, "%064d", i);
        snprintf(ids[1], ID_BYTES, "m%063d", i);
        snprintf(ids[2], ID_BYTES, "n%063d", i);
        const struct agent_run run = {
            .notification_id = ids[2], .agent_id = "a", .message_id = ids[1], .root = ids[0]};
        assert_int_equal(claim(fixture, &run), REASON_REPLIED);
    }
    reopen_runs(fixture);
    assert_int_equal(fixture->runs->counts.used, AGENT_RUNS_REMEMBERED);
    assert_int_equal(fixture->runs->pairs.used, AGENT_RUNS_REMEMBERED);
}

int main(void)
{
    json_guard_start();
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_root_has_a_limit),
        TEST(test_what_is_foreseen_is_not_counted),
        TEST(test_limit_is_foreseen_once_it_is_told),
        TEST(test_run_of_another_notification_is_foreseen),
        TEST(test_task_has_a_limit_for_all_its_roots),
        TEST(test_person_is_never_over_the_limit),
        TEST(test_note_is_due_once),
        TEST(test_posted_note_is_due_to_nobody),
        TEST(test_person_who_writes_resets_the_task),
        TEST(test_run_that_did_not_take_place_is_taken_back),
        TEST(test_run_from_before_a_persons_message_is_not_taken_back),
        TEST(test_half_is_forgiven_each_day),
        TEST(test_clock_that_is_set_back_forgives_nothing),
        TEST(test_message_runs_an_agent_once),
        TEST(test_skipped_notification_claims_no_message),
        TEST(test_least_recently_used_count_is_dropped),
        TEST(test_burst_stays_within_the_limit),
        TEST(test_counts_outlive_the_process),
        TEST(test_old_rows_are_not_saved),
        TEST(test_file_is_written_seldom),
        TEST(test_file_that_cannot_be_written_is_tried_again),
        TEST(test_file_that_is_not_ours_is_ignored),
        TEST(test_full_file_is_read),
    };
    return cmocka_run_group_tests_name("agent_runs", tests, NULL, NULL);
}
