/*
 * Runtime and gateway start at the same moment, in containers that share a directory, and neither
 * may see a part of what the other writes. So the token is written to a file of its own, which is
 * then linked under the name that both read: link(2) fails if the other was faster, and then its
 * token counts. openclaw/settings.mjs does the same on the gateway's side.
 */
#include "config/generated_token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"

enum { TOKEN_RANDOM_BYTES = 32, TOKEN_FILE_BYTES_MAX = 4096 };

static bool write_random_token(int fd)
{
    unsigned char bytes[TOKEN_RANDOM_BYTES];
    char hex[2 * TOKEN_RANDOM_BYTES + 1];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    bool written = write(fd, hex, sizeof hex - 1) == (ssize_t)sizeof hex - 1;
    explicit_bzero(hex, sizeof hex);
    explicit_bzero(bytes, sizeof bytes);
    return written;
}

/* A file that another process made meanwhile is as good. */
static int make_token_file(const char *path, struct error *error)
{
    char draft[PATH_MAX];
    int length = snprintf(draft, sizeof draft, "%s.XXXXXX", path);
    if (length >= (int)sizeof draft)
        return error_set_errno(error, ERROR_INVALID, ENAMETOOLONG, "cannot create %s", path);
    int fd = mkostemp(draft, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, error_code_of_path(errno), errno, "cannot create %s", path);
    bool made = write_random_token(fd) && (link(draft, path) == 0 || errno == EEXIST);
    int reason = errno;
    unlink(draft);
    close(fd);
    return made ? 0 : error_set_errno(error, ERROR_SYSTEM, reason, "cannot create %s", path);
}

static int read_token_file(const char *path, char **token, struct error *error)
{
    struct text content;
    int result = file_read(path, TOKEN_FILE_BYTES_MAX, &content, NULL, error);
    if (result != 0)
        return result;
    size_t length = strcspn(content.data, " \t\r\n");
    if (length == 0)
        result =
            error_set(error, ERROR_INVALID, "%s is empty; remove it to have a token made", path);
    else if ((*token = strndup(content.data, length)) == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "out of memory for the token in %s", path);
    explicit_bzero(content.data, content.length_bytes);
    text_fini(&content);
    return result;
}

int generated_token_load(const char *path, char **token, struct error *error)
{
    int result = 0;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        result = make_token_file(path, error);
    return result == 0 ? read_token_file(path, token, error) : result;
}
