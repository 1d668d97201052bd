#include "base/notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* More often than asked for does no harm. */
enum { LONGEST_WATCHDOG_MS = 24 * 60 * 60 * 1000 };

/* A path, or with '@' in front a name in the abstract namespace. False when it is neither. */
static bool fill_address(struct sockaddr_un *address, socklen_t *length)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address->sun_path)
        return false;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path));
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    return true;
}

void notify_send(const char *state)
{
    struct sockaddr_un address;
    socklen_t length;
    if (!fill_address(&address, &length))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, length);
    (void)sent;
    close(fd);
}

int64_t notify_watchdog_ms(void)
{
    const char *interval_us = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (interval_us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    long long value = strtoll(interval_us, NULL, 10);
    if (value <= 0)
        return 0;
    int64_t half_ms = value / 2000 + (value < 2000);
    return half_ms < LONGEST_WATCHDOG_MS ? half_ms : LONGEST_WATCHDOG_MS;
}
