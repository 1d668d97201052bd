/* Files that tests write and read. Each function fails the test when it cannot. */
#ifndef TEST_LIB_TEST_FILE_H
#define TEST_LIB_TEST_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Creates or truncates a file with text in it and mode 0600. */
void test_file_write(const char *path, const char *text);

/* Creates or truncates a file with length_bytes of bytes in it and the given mode. */
void test_file_write_bytes(const char *path, const char *bytes, size_t length_bytes, mode_t mode);

/*
 * Returns the content of a file, NUL-terminated, for the caller to free. Test programs run in the
 * top directory of the repository, so its files can be named by their relative paths.
 */
char *test_file_read(const char *path);

/* Fails unless a table of that document has a row that begins with `word`. */
void test_file_expect_row(const char *path, const char *word);

#endif
