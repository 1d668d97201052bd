/*
 * A spool in a temporary directory, and the files in it by their relative names.
 */
#include "spool_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test_file.h"

int spool_fixture_setup(void **state)
{
    struct spool_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    assert_int_equal(spool_open(&fixture->spool, fixture->dir, "account1", NULL), 0);
    *state = fixture;
    return 0;
}

int spool_fixture_teardown(void **state)
{
    struct spool_fixture *fixture = *state;
    spool_close(fixture->spool);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

struct spool_record spool_fixture_record(const char *id, char *reply)
{
    struct spool_record record = {.created_at_ms = 1700000000123, .runs = 2, .reply = reply};
    snprintf(record.id, sizeof record.id, "%s", id);
    snprintf(record.agent_id, sizeof record.agent_id, "agent7");
    snprintf(record.agent_slug, sizeof record.agent_slug, "jarvis");
    snprintf(record.task_id, sizeof record.task_id, "task9");
    return record;
}

void spool_fixture_path(const struct spool_fixture *fixture, const char *name,
    char path[static SPOOL_FIXTURE_PATH_BYTES])
{
    snprintf(path, SPOOL_FIXTURE_PATH_BYTES, "%s/%s", fixture->dir, name);
}

void spool_fixture_write(const struct spool_fixture *fixture, const char *name, const char *content)
{
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, name, path);
    test_file_write(path, content);
}

bool spool_fixture_exists(const struct spool_fixture *fixture, const char *name)
{
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, name, path);
    return access(path, F_OK) == 0;
}

void spool_fixture_count(void *context, struct spool_record *record, const struct error *why)
{
    struct spool_fixture_counts *counts = context;
    counts->intact += why == NULL ? 1 : 0;
    counts->corrupt += why != NULL ? 1 : 0;
    free(record->reply);
}
