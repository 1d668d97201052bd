/*
 * Opens the listening socket before libmicrohttpd starts, so that a busy address is reported with
 * its errno and port 0 can be resolved for the "listening on" line.
 */
#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int bind_and_listen(int descriptor, const struct addrinfo *address)
{
    int yes = 1;
    if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(descriptor, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(descriptor, BACKLOG) != 0)
        return errno;
    return 0;
}

int listener_open(const char *host, const char *port, int *descriptor, struct error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses;
    int result = getaddrinfo(host, port, &hints, &addresses);
    if (result != 0)
        return error_set(error, ERROR_UNREACHABLE, "cannot listen on %s port %s: %s", host, port,
            gai_strerror(result));
    int type = addresses->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int opened = socket(addresses->ai_family, type, addresses->ai_protocol);
    int failure = opened < 0 ? errno : bind_and_listen(opened, addresses);
    freeaddrinfo(addresses);
    if (failure != 0) {
        if (opened >= 0)
            close(opened);
        return error_set_errno(
            error, ERROR_UNREACHABLE, failure, "cannot listen on %s port %s", host, port);
    }
    *descriptor = opened;
    return 0;
}

unsigned listener_port(int descriptor, bool *is_on_all_addresses)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } address = {0};
    socklen_t size = sizeof address;
    *is_on_all_addresses = false;
    if (getsockname(descriptor, &address.any, &size) != 0)
        return 0;
    bool is_ipv6 = address.any.sa_family == AF_INET6;
    *is_on_all_addresses = is_ipv6 ? IN6_IS_ADDR_UNSPECIFIED(&address.ipv6.sin6_addr)
                                   : address.ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
    return ntohs(is_ipv6 ? address.ipv6.sin6_port : address.ipv4.sin_port);
}
