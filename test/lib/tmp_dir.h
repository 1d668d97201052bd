/* A temporary directory for one test. */
#ifndef TEST_LIB_TMP_DIR_H
#define TEST_LIB_TMP_DIR_H

enum { TMP_DIR_BYTES = 256 };

/*
 * Makes an empty directory of mode 0700 in TMPDIR (/tmp when that is not set), which
 * scripts/run-tests.sh removes behind each program, and writes its path. Fails the test when it
 * cannot be made.
 */
void tmp_dir_create(char path[static TMP_DIR_BYTES]);

/*
 * Removes the directory and all that is in it, and follows no links. What cannot be removed stays:
 * for teardowns, which must not hide what the test itself has to say.
 */
void tmp_dir_remove(const char *path);

#endif
