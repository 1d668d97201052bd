/* A temporary folder for one test. */
#ifndef TEST_LIB_FOLDER_H
#define TEST_LIB_FOLDER_H

enum { FOLDER_BYTES = 256 };

/*
 * Makes an empty folder of mode 0700 in TMPDIR (/tmp when that is not set), which
 * scripts/run-tests.sh removes behind each program, and writes its path. Fails the test when it
 * cannot be made.
 */
void folder_make(char path[static FOLDER_BYTES]);

/*
 * Removes the folder and all that is in it, and follows no links. What cannot be removed stays: for
 * teardowns, which must not hide what the test itself has to say.
 */
void folder_remove(const char *path);

#endif
