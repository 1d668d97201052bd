/*
 * The listening socket is opened with errors that separate what an operator must correct
 * (ERROR_INVALID) from what may resolve itself (ERROR_UNREACHABLE), such as a port in use or an
 * address of an interface that is not up yet; callers retry the latter.
 *
 * Accepted connections are bounded in number and in age, since the health server may be exposed and
 * must not take descriptors from deliveries. At most a quarter of the descriptors may be
 * connections. Each lives for CONNECTION_LIMIT_MS at most, whatever its client sends meanwhile:
 * libmicrohttpd's own timeout only limits inactivity. When nearly all are in use a new connection
 * evicts the oldest, so clients that only hold connections cannot lock out others.
 *
 * A request that does work on other threads may take longer. Its connection is held: it has no
 * deadline here, is never evicted, and is one of at most half of the connections.
 *
 * The list is in order of acceptance, and hence of deadlines. An expired connection is shut down
 * and leaves the list, but its memory belongs to libmicrohttpd's connection until that is closed,
 * when the server calls connections_remove.
 */
#include "http/connections.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "base/watch.h"

enum {
    MAX_CONNECTIONS = 1024,
    MIN_CONNECTIONS = 16,
    /* One in this many of the descriptors that the process may open. */
    DESCRIPTOR_SHARE = 4,
    /* One in this many is headroom for connections being closed; beyond it the oldest is evicted.
     */
    CLOSING_SHARE = 16,
    CONNECTION_LIMIT_MS = 5000,
    SERVICE_BYTES = sizeof "65535",
};

/* localhost means the loopback addresses even if the resolver does not know it (RFC 6761). */
static int listener_resolve(const char *host, unsigned port, struct addrinfo **addresses)
{
    bool loopback = strcasecmp(host, "localhost") == 0;
    char service[SERVICE_BYTES];
    snprintf(service, sizeof service, "%u", port & 0xFFFF);
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    watch_pause();
    int failure = getaddrinfo(loopback ? NULL : host, service, &hints, addresses);
    watch_resume();
    return failure;
}

/*
 * Returns the socket, or a negative errno value. With SO_REUSEADDR a socket that is only bound does
 * not keep others from listening.
 */
static int listener_try(const struct addrinfo *address, bool only_bind)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Otherwise a restart would have to wait for connections of the old process in TIME_WAIT. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 ||
        (!only_bind && listen(fd, SOMAXCONN) < 0)) {
        int reason = errno;
        close(fd);
        return -reason;
    }
    return fd;
}

/*
 * IPv4 first: clients that know a name like localhost try both of its addresses, but configured
 * literals are mostly 127.0.0.1. Returns the socket, or a negative errno value of the first
 * failure.
 */
static int listener_try_all(const struct addrinfo *addresses, bool only_bind)
{
    int result = -EADDRNOTAVAIL;
    bool tried = false;
    for (int ipv4 = 1; ipv4 >= 0; ipv4--) {
        for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
            if ((a->ai_family == AF_INET) != (ipv4 == 1))
                continue;
            int fd = listener_try(a, only_bind);
            if (fd >= 0)
                return fd;
            if (!tried)
                result = fd;
            tried = true;
        }
    }
    return result;
}

/* The address of a tunnel, for example, may only appear some time after boot. */
static enum error_code listener_error_code(int reason)
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

/* Whether the name could resolve later: its last label contains letters (RFC 1123, 2.1). */
static bool listener_may_be_name(const char *host)
{
    const char *dot = strrchr(host, '.');
    const char *last = dot != NULL ? dot + 1 : host;
    return host[strspn(host, TEXT_LETTERS TEXT_DIGITS "-_.")] == '\0' && host[0] != '.' &&
           strstr(host, "..") == NULL && strpbrk(last, TEXT_LETTERS) != NULL;
}

/* failure is of getaddrinfo. A link-local address may lack its interface until that is up. */
static enum error_code listener_resolve_error_code(int failure, const char *host)
{
    if (failure == EAI_MEMORY)
        return ERROR_NO_MEMORY;
    bool may_resolve_later = failure == EAI_AGAIN && listener_may_be_name(host);
    bool lacks_interface =
        failure == EAI_NONAME && strncasecmp(host, "fe80:", 5) == 0 && strchr(host, '%') != NULL;
    return may_resolve_later || lacks_interface ? ERROR_UNREACHABLE : ERROR_INVALID;
}

union listener_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static void listener_read_address(int fd, union listener_address *address)
{
    memset(address, 0, sizeof *address);
    socklen_t length = sizeof *address;
    int result = getsockname(fd, &address->any, &length);
    assert(result == 0);
    (void)result;
}

static unsigned listener_port(int fd)
{
    union listener_address address;
    listener_read_address(fd, &address);
    return ntohs(
        address.any.sa_family == AF_INET6 ? address.ipv6.sin6_port : address.ipv4.sin_port);
}

bool listener_is_on_all_addresses(int fd)
{
    union listener_address address;
    listener_read_address(fd, &address);
    return address.any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&address.ipv6.sin6_addr)
                                             : address.ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
}

/* Returns a socket that listens, or is only bound; or an error. */
static int listener_bind(const char *host, unsigned port, bool only_bind, struct error *error)
{
    assert(port <= 65535);
    struct addrinfo *addresses = NULL;
    int failure = listener_resolve(host, port, &addresses);
    if (failure == EAI_SYSTEM)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u", host, port);
    if (failure != 0)
        return error_set(error, listener_resolve_error_code(failure, host),
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u: %s", host, port,
            gai_strerror(failure));
    int opened = listener_try_all(addresses, only_bind);
    freeaddrinfo(addresses);
    if (opened < 0)
        return error_set_errno(error, listener_error_code(-opened), -opened,
            "cannot listen on HEALTH_HOST %s, HEALTH_PORT %u", host, port);
    return opened;
}

int listener_open(
    const char *host, unsigned port, int *fd, unsigned *bound_port, struct error *error)
{
    int opened = listener_bind(host, port, false, error);
    if (opened < 0)
        return opened;
    *fd = opened;
    *bound_port = listener_port(opened);
    return 0;
}

int listener_check(const char *host, unsigned port, struct error *error)
{
    int bound = listener_bind(host, port, true, error);
    if (bound < 0)
        return bound;
    close(bound);
    return 0;
}

static unsigned connections_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return MIN_CONNECTIONS;
    rlim_t share = limit.rlim_cur / DESCRIPTOR_SHARE;
    if (share > MAX_CONNECTIONS)
        return MAX_CONNECTIONS;
    return share > MIN_CONNECTIONS ? (unsigned)share : MIN_CONNECTIONS;
}

void connections_init(struct connections *connections)
{
    *connections = (struct connections){.max = connections_max()};
    TAILQ_INIT(&connections->oldest_first);
}

static void connections_unlist(struct connections *connections, struct connection *connection)
{
    TAILQ_REMOVE(&connections->oldest_first, connection, by_age);
    connections->listed--;
}

/* Shutting down wakes libmicrohttpd, which then closes the connection and reports it. */
static void connections_expire(struct connections *connections, struct connection *connection)
{
    connections_unlist(connections, connection);
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
    TAILQ_INSERT_TAIL(&connections->oldest_first, connection, by_age);
    connections->listed++;
    if (connections->listed + connections->held >
        connections->max - connections->max / CLOSING_SHARE)
        connections_expire(connections, TAILQ_FIRST(&connections->oldest_first));
    return connection;
}

bool connections_hold(struct connections *connections, struct connection *connection)
{
    if (connection->expired || connections->held >= connections->max / 2)
        return false;
    connections_unlist(connections, connection);
    connections->held++;
    connection->is_held = true;
    return true;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (connection != NULL && connection->is_held)
        connections->held--;
    else if (connection != NULL && !connection->expired)
        connections_unlist(connections, connection);
    free(connection);
}

void connections_expire_old(struct connections *connections, int64_t now_ms)
{
    while (connections_due_ms(connections) <= now_ms)
        connections_expire(connections, TAILQ_FIRST(&connections->oldest_first));
}

int64_t connections_due_ms(const struct connections *connections)
{
    const struct connection *oldest = TAILQ_FIRST(&connections->oldest_first);
    return oldest != NULL ? oldest->deadline_ms : INT64_MAX;
}
