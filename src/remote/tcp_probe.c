#include "remote/tcp_probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_WAIT_MS = 20,
    LONGEST_WAIT_MS = 1000,
    TRY_LIMIT_MS = 1000,
    HOST_BYTES = sizeof "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
    SERVICE_BYTES = sizeof "65535"
};

int tcp_probe_init(struct tcp_probe *probe, const struct url *url, struct error *error)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    bool is_local = url_host_is(url, "localhost");
    char host[HOST_BYTES] = "";
    char service[SERVICE_BYTES];
    *probe = (struct tcp_probe){.fd = -1, .wait_ms = FIRST_WAIT_MS};
    if (url->host.length_bytes < sizeof host)
        memcpy(host, url->host.bytes, url->host.length_bytes);
    snprintf(service, sizeof service, "%u", url->port & 0xFFFF);
    int failure = getaddrinfo(is_local ? NULL : host, service, &hints, &probe->addresses);
    if (failure != 0)
        return error_set(error, failure == EAI_MEMORY ? ERROR_NO_MEMORY : ERROR_INVALID,
            "no address of the gateway: %s", gai_strerror(failure));
    probe->next = probe->addresses;
    return 0;
}

static void close_try(struct tcp_probe *probe)
{
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
}

void tcp_probe_fini(struct tcp_probe *probe)
{
    close_try(probe);
    freeaddrinfo(probe->addresses);
    *probe = (struct tcp_probe){.fd = -1};
}

void tcp_probe_restart(struct tcp_probe *probe)
{
    close_try(probe);
    probe->next = probe->addresses;
    probe->due_ms = 0;
    probe->wait_ms = FIRST_WAIT_MS;
}

/* The addresses of localhost take turns; between two rounds there is a wait. */
static void put_off(struct tcp_probe *probe, int64_t now_ms)
{
    close_try(probe);
    probe->due_ms = now_ms;
    probe->next = probe->next->ai_next;
    if (probe->next != NULL)
        return;
    probe->next = probe->addresses;
    probe->due_ms = now_ms + probe->wait_ms;
    if (probe->wait_ms < LONGEST_WAIT_MS)
        probe->wait_ms *= 2;
}

static bool begin_try(struct tcp_probe *probe, int64_t now_ms)
{
    const struct addrinfo *address = probe->next;
    probe->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd >= 0 && connect(probe->fd, address->ai_addr, address->ai_addrlen) == 0) {
        close_try(probe);
        return true;
    }
    if (probe->fd >= 0 && errno == EINPROGRESS)
        probe->due_ms = now_ms + TRY_LIMIT_MS;
    else
        put_off(probe, now_ms);
    return false;
}

static bool go_on_with_try(struct tcp_probe *probe, int64_t now_ms)
{
    struct pollfd ready = {.fd = probe->fd, .events = POLLOUT};
    int reason = 0;
    socklen_t length = sizeof reason;
    bool ended = poll(&ready, 1, 0) == 1;
    if (ended && getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &reason, &length) == 0 &&
        reason == 0) {
        close_try(probe);
        return true;
    }
    if (ended || now_ms >= probe->due_ms)
        put_off(probe, now_ms);
    return false;
}

bool tcp_probe_step(struct tcp_probe *probe, int64_t now_ms)
{
    if (probe->fd >= 0)
        return go_on_with_try(probe, now_ms);
    return now_ms >= probe->due_ms && begin_try(probe, now_ms);
}
