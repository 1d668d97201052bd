/* A spool of account1 in a temporary directory, and access to the files in it. */
#ifndef TEST_LIB_SPOOL_FIXTURE_H
#define TEST_LIB_SPOOL_FIXTURE_H

#include <stdbool.h>

#include "spool/spool.h"
#include "tmp_dir.h"

enum { SPOOL_FIXTURE_PATH_BYTES = TMP_DIR_BYTES + 64 };

struct spool_fixture {
    char dir[TMP_DIR_BYTES];
    struct spool *spool;
};

/* cmocka fixtures: *state becomes a struct spool_fixture whose spool is empty. */
int spool_fixture_setup(void **state);
int spool_fixture_teardown(void **state);

#define WITH_SPOOL(test) \
    cmocka_unit_test_setup_teardown(test, spool_fixture_setup, spool_fixture_teardown)

/* Returns a record with two runs and reply, which is borrowed and may be NULL. */
struct spool_record spool_fixture_record(const char *id, char *reply);

/* name is relative to the directory, such as "spool/n1.json". */
void spool_fixture_path(const struct spool_fixture *fixture, const char *name,
    char path[static SPOOL_FIXTURE_PATH_BYTES]);
void spool_fixture_write(
    const struct spool_fixture *fixture, const char *name, const char *content);
bool spool_fixture_exists(const struct spool_fixture *fixture, const char *name);

/* Number of records of each kind in a listing. */
struct spool_fixture_counts {
    int intact;
    int corrupt;
};

/* A spool_found callback that counts in its context, a struct spool_fixture_counts. */
void spool_fixture_count(void *context, struct spool_record *record, const struct error *why);

#endif
