/*
 * Any bytes on the control socket: they reach the handler only as one line of printable ASCII, and
 * whatever they are, the answer is one line or none.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/control_socket.h"

static enum control_result take_request(
    void *context, const char *request, char answer[static CONTROL_ANSWER_BYTES])
{
    (void)context;
    size_t length = strlen(request);
    assert(length > 0 && length < CONTROL_REQUEST_BYTES);
    for (size_t i = 0; i < length; i++)
        assert(request[i] >= ' ' && request[i] < 0x7F);
    snprintf(answer, CONTROL_ANSWER_BYTES, "%s", request);
    return length % 2 == 0 ? CONTROL_DONE : CONTROL_REFUSED;
}

static struct control_socket *control;
static char directory[] = "/tmp/control-fuzz-XXXXXX";

static void remove_directory(void)
{
    control_socket_close(control);
    rmdir(directory);
}

/* One socket for all inputs, as in a runtime. */
static int open_directory(void)
{
    assert(mkdtemp(directory) != NULL);
    assert(control_socket_open(&control, directory, take_request, NULL, NULL) == 0);
    assert(control_socket_start(control, NULL) == 0);
    atexit(remove_directory);
    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int connect_to(int dir_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", dir_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void check_answer(const char *answer, size_t length)
{
    if (length == 0)
        return;
    assert(strncmp(answer, "done ", 5) == 0 || strncmp(answer, "refused ", 8) == 0);
    assert(memchr(answer, '\n', length) == answer + length - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int dir_fd = -1;
    char answer[2 * CONTROL_ANSWER_BYTES];
    size_t used = 0;
    if (dir_fd < 0)
        dir_fd = open_directory();
    int fd = connect_to(dir_fd);
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    (void)sent; /* the other side may have had enough */
    shutdown(fd, SHUT_WR);
    for (ssize_t got; used < sizeof answer; used += (size_t)got) {
        got = recv(fd, answer + used, sizeof answer - used, 0);
        if (got <= 0)
            break;
    }
    check_answer(answer, used);
    close(fd);
    return 0;
}
