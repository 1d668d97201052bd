/*
 * Temporary directories. Removal is best effort and follows no symlinks.
 */
#include "tmp_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum { DESCRIPTORS = 8 };

void tmp_dir_create(char path[static TMP_DIR_BYTES])
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(path, TMP_DIR_BYTES, "%s/test-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_in_range(length, 1, TMP_DIR_BYTES - 1);
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    remove(path);
    return 0;
}

void tmp_dir_remove(const char *path)
{
    nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}
