/*
 * Loopback sockets, bound to port 0 so that tests can run in parallel.
 */
#include "loopback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

struct sockaddr_in loopback_address(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static int bind_free_port(unsigned *port)
{
    struct sockaddr_in address = loopback_address(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

int loopback_listen(int backlog, unsigned *port)
{
    int fd = bind_free_port(port);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

int loopback_reserve(unsigned *port)
{
    int yes = 1;
    int fd = bind_free_port(port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    return fd;
}

int loopback_connect(unsigned port)
{
    struct sockaddr_in address = loopback_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

unsigned loopback_free_port(void)
{
    unsigned port;
    close(bind_free_port(&port));
    return port;
}
