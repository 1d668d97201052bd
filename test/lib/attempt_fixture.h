/* An attempt of a worker that has taken the notification n1, with a queue and a spool. */
#ifndef TEST_LIB_ATTEMPT_FIXTURE_H
#define TEST_LIB_ATTEMPT_FIXTURE_H

#include "delivery/attempt.h"
#include "tmp_dir.h"

/* Tests set what they need of the configuration, the rest of which is zero. */
struct attempt_fixture {
    char dir[TMP_DIR_BYTES]; /* of the spool */
    struct config config;
    struct stats stats;
    struct delivery delivery;
    struct spool *spool;
    struct entry *entry; /* n1, taken; a test that returns it takes it again */
    struct attempt attempt;
};

/* Never NULL: fails the test instead. task_id: that of n1. */
struct attempt_fixture *attempt_fixture_create(const char *task_id);

/* Settles the entry and frees everything; a cmocka teardown, with the fixture as *state. */
int attempt_fixture_teardown(void **state);

#endif
