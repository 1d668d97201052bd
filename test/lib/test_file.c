#include "test_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum { READ_LIMIT_BYTES = 1024 * 1024 };

void test_file_write(const char *path, const char *text)
{
    test_file_write_bytes(path, text, strlen(text), 0600);
}

void test_file_write_bytes(const char *path, const char *bytes, size_t length_bytes, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length_bytes), length_bytes);
    /* open() applies the umask to its mode. */
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

char *test_file_read(const char *path)
{
    struct text content;
    struct error error;
    if (file_read(path, READ_LIMIT_BYTES, &content, NULL, &error) != 0)
        fail_msg("%s", error.text);
    return content.data;
}

void test_file_expect_row(const char *path, const char *word)
{
    char beginning[128];
    char *text = test_file_read(path);
    snprintf(beginning, sizeof beginning, "\n| `%s` | ", word);
    if (strstr(text, beginning) == NULL)
        fail_msg("%s: no table has a row of `%s`", path, word);
    free(text);
}
