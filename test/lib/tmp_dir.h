/* A temporary directory for one test. */
#ifndef TEST_LIB_TMP_DIR_H
#define TEST_LIB_TMP_DIR_H

enum { TMP_DIR_BYTES = 256 };

/*
 * Creates an empty directory with mode 0700 in TMPDIR (default /tmp), which scripts/run-tests.sh
 * removes after each program, and writes its path. Fails the test when it cannot.
 */
void tmp_dir_create(char path[static TMP_DIR_BYTES]);

/*
 * Removes the directory with its content without following symlinks. Errors are ignored: it is for
 * teardowns, which must not hide the failure of the test itself.
 */
void tmp_dir_remove(const char *path);

#endif
