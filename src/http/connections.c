#include "http/connections.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_CONNECTIONS = 1024,
    MIN_CONNECTIONS = 16,
    /* Of the descriptors that the process may have; the others are for its work. */
    SHARE_OF_DESCRIPTORS = 4,
    /* With more than the others a new connection makes the oldest go; this is for those on their
     * way out. */
    SHARE_ON_THE_WAY_OUT = 16,
    CONNECTION_LIMIT_MS = 5000,
};

/* A flood of clients must not take the descriptors that work needs. */
static unsigned max_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return MIN_CONNECTIONS;
    rlim_t share = limit.rlim_cur / SHARE_OF_DESCRIPTORS;
    if (share > MAX_CONNECTIONS)
        return MAX_CONNECTIONS;
    return share > MIN_CONNECTIONS ? (unsigned)share : MIN_CONNECTIONS;
}

void connections_init(struct connections *connections)
{
    *connections = (struct connections){.max = max_connections()};
}

static void enlist(struct connections *connections, struct connection *connection)
{
    connection->older = connections->newest;
    if (connections->newest != NULL)
        connections->newest->newer = connection;
    else
        connections->oldest = connection;
    connections->newest = connection;
    connections->listed++;
}

static void delist(struct connections *connections, struct connection *connection)
{
    if (connection->older != NULL)
        connection->older->newer = connection->newer;
    else
        connections->oldest = connection->newer;
    if (connection->newer != NULL)
        connection->newer->older = connection->older;
    else
        connections->newest = connection->older;
    connections->listed--;
}

static void expire(struct connections *connections, struct connection *connection)
{
    delist(connections, connection);
    connection->expired = true;
    shutdown(connection->fd, SHUT_RDWR);
}

struct connection *connections_add(struct connections *connections, int fd, int64_t now_ms)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    connection->fd = fd;
    connection->deadline_ms = now_ms + CONNECTION_LIMIT_MS;
    enlist(connections, connection);
    if (connections->listed > connections->max - connections->max / SHARE_ON_THE_WAY_OUT)
        expire(connections, connections->oldest);
    return connection;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (connection != NULL && !connection->expired)
        delist(connections, connection);
    free(connection);
}

/*
 * The library's own limit is about inactivity: a client that sends a byte now and then would hold
 * its connection for ever.
 */
void connections_expire_old(struct connections *connections, int64_t now_ms)
{
    while (connections->oldest != NULL && connections->oldest->deadline_ms <= now_ms)
        expire(connections, connections->oldest);
}

int64_t connections_due_ms(const struct connections *connections)
{
    return connections->oldest != NULL ? connections->oldest->deadline_ms : INT64_MAX;
}

enum { SERVICE_BYTES = sizeof "65535" };

/* localhost is the loopback addresses whether or not a resolver knows it (RFC 6761). */
static int look_up(const char *host, unsigned port, struct addrinfo **addresses)
{
    bool loopback = strcasecmp(host, "localhost") == 0;
    char service[SERVICE_BYTES];
    snprintf(service, sizeof service, "%u", port & 0xFFFF);
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    return getaddrinfo(loopback ? NULL : host, service, &hints, addresses);
}

/* Returns the socket, or a negative errno value. */
static int try_address(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Else a restart would have to wait for the old connections' TIME_WAIT. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
        int reason = errno;
        close(fd);
        return -reason;
    }
    return fd;
}

/*
 * A name like localhost stands for ::1 and 127.0.0.1. Clients that know the name try both, those
 * that have an address written down mostly have the IPv4 one.
 */
static int try_all(const struct addrinfo *addresses)
{
    int result = -EADDRNOTAVAIL;
    bool tried = false;
    for (int ipv4 = 1; ipv4 >= 0; ipv4--) {
        for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
            if ((a->ai_family == AF_INET) != (ipv4 == 1))
                continue;
            int fd = try_address(a);
            if (fd >= 0)
                return fd;
            if (!tried)
                result = fd;
            tried = true;
        }
    }
    return result;
}

/* An address or a resolver that is not there may come yet, as that of a tunnel after a boot. */
static enum error_code code_of(int reason)
{
    switch (reason) {
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case EACCES:
        return ERROR_UNREACHABLE;
    default:
        return ERROR_SYSTEM;
    }
}

/* Whether a resolver may know it one day: names have letters in their last part (RFC 1123, 2.1). */
static bool may_be_name(const char *host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *dot = strrchr(host, '.');
    const char *last = dot != NULL ? dot + 1 : host;
    return host[strspn(host, allowed)] == '\0' && host[0] != '.' && strstr(host, "..") == NULL &&
           strpbrk(last, letters) != NULL;
}

static enum error_code code_of_look_up(int failure, const char *host)
{
    if (failure == EAI_MEMORY)
        return ERROR_NO_MEMORY;
    bool may_come = failure == EAI_AGAIN && may_be_name(host);
    bool lacks_interface =
        failure == EAI_NONAME && strncasecmp(host, "fe80:", 5) == 0 && strchr(host, '%') != NULL;
    return may_come || lacks_interface ? ERROR_UNREACHABLE : ERROR_INVALID;
}

static unsigned port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t length = sizeof address;
    int result = getsockname(fd, &address.any, &length);
    assert(result == 0);
    (void)result;
    return ntohs(
        address.any.sa_family == AF_INET6 ? address.ipv6.sin6_port : address.ipv4.sin_port);
}

int listener_open(
    const char *host, unsigned port, int *fd, unsigned *bound_port, struct error *error)
{
    assert(port <= 65535);
    struct addrinfo *addresses = NULL;
    int failure = look_up(host, port, &addresses);
    if (failure == EAI_SYSTEM)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u", host, port);
    if (failure != 0)
        return error_set(error, code_of_look_up(failure, host),
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u: %s", host, port,
            gai_strerror(failure));
    int opened = try_all(addresses);
    freeaddrinfo(addresses);
    if (opened < 0)
        return error_set_errno(error, code_of(-opened), -opened,
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u", host, port);
    *fd = opened;
    *bound_port = port_of(opened);
    return 0;
}
