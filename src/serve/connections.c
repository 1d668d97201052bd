#include "connections.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    MOST_CONNECTIONS = 1024,
    LEAST_CONNECTIONS = 16,
    /* Of the descriptors that the process may have; the others are for its work. */
    SHARE_OF_DESCRIPTORS = 4,
    /* With more than the others a new connection makes the oldest go; this is for those on their
     * way out. */
    SHARE_ON_THE_WAY_OUT = 16,
    CONNECTION_LIMIT_MS = 5000,
};

/* A flood of clients must not take the descriptors that work needs. */
static unsigned most_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return LEAST_CONNECTIONS;
    rlim_t share = limit.rlim_cur / SHARE_OF_DESCRIPTORS;
    if (share > MOST_CONNECTIONS)
        return MOST_CONNECTIONS;
    return share > LEAST_CONNECTIONS ? (unsigned)share : LEAST_CONNECTIONS;
}

void connections_init(struct connections *connections)
{
    *connections = (struct connections){.most = most_connections()};
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
    if (connections->listed > connections->most - connections->most / SHARE_ON_THE_WAY_OUT)
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
