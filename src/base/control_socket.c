/*
 * Both ends of the control socket. A request is one line of at most 255 bytes of printable ASCII,
 * and a connection carries one request; the answer is "done TEXT" or "refused TEXT", one line, and
 * the end of the connection. Whoever sends anything else is told so and cut.
 *
 * One thread serves one connection after the other: requests are rare, take milliseconds, and must
 * not run at the same time anyway. So that a client which says nothing holds up the others only for
 * a moment, its whole line has to be there within READ_LIMIT_MS; a command sends it at once. Others
 * wait in the backlog meanwhile, and a full backlog makes their connect() fail.
 *
 * Who may connect is settled three times: by the directory, which is the runtime's alone, by the
 * socket's mode, and by the peer's user id, which the kernel vouches for (SO_PEERCRED): the
 * runtime's own user or root.
 *
 * An address of a Unix socket has room for 107 bytes, less than a path may have. So the socket is
 * addressed through /proc/self/fd and the open directory, which also serves a command of root that
 * has become the directory's owner and could not walk the path any more. A process may follow its
 * own links there even when its memory is protected from others (src/protect.c).
 */
#include "base/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"

static const char component[] = "Control";
static const char socket_name[] = "control";

enum {
    BACKLOG = 8,
    READ_LIMIT_MS = 1000,
    WRITE_LIMIT_MS = 1000,
    CONNECT_RETRY_MS = 20,
    PRINTABLE_END = 0x7F
};

static const char done_word[] = "done ";
static const char refused_word[] = "refused ";

struct control_socket {
    /* Immutable. */
    int dir_fd;
    int listen_fd;
    int stop_fd; /* an eventfd, readable once the thread has to end */
    control_handler *handler;
    void *context;

    /* Used only by the thread that opens and closes it. */
    pthread_t thread;
    bool started;
};

/* The socket's address. False if it is too long, which only happens without /proc. */
static bool make_address(int dir_fd, const char *dir_path, struct sockaddr_un *address)
{
    size_t room = sizeof address->sun_path;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    bool has_proc = access("/proc/self/fd", X_OK) == 0;
    int length = has_proc
                     ? snprintf(address->sun_path, room, "/proc/self/fd/%d/%s", dir_fd, socket_name)
                     : snprintf(address->sun_path, room, "%s/%s", dir_path, socket_name);
    return length > 0 && (size_t)length < room;
}

static int make_socket(int *fd, struct error *error)
{
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot create a Unix socket");
    return 0;
}

/* Removes what an earlier process left; anything but a socket is not ours to remove. */
static int remove_stale_socket(int dir_fd, const char *dir_path, struct error *error)
{
    struct stat status;
    if (fstatat(dir_fd, socket_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_INVALID, "%s/%s is not a socket", dir_path, socket_name);
    if (unlinkat(dir_fd, socket_name, 0) != 0)
        return error_set_errno(
            error, ERROR_SYSTEM, errno, "cannot remove %s/%s", dir_path, socket_name);
    return 0;
}

static int start_listening(
    const struct control_socket *control, const char *dir_path, struct error *error)
{
    struct sockaddr_un address;
    int result = remove_stale_socket(control->dir_fd, dir_path, error);
    if (result != 0)
        return result;
    if (!make_address(control->dir_fd, dir_path, &address))
        return error_set(error, ERROR_INVALID, "%s is too long for a socket in it", dir_path);
    /* The mode of the descriptor becomes that of the name, so it is never more open. */
    if (fchmod(control->listen_fd, 0600) != 0 ||
        bind(control->listen_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(control->listen_fd, BACKLOG) != 0)
        return error_set_errno(
            error, ERROR_SYSTEM, errno, "cannot listen on %s/%s", dir_path, socket_name);
    return 0;
}

int control_socket_open(struct control_socket **control, const char *dir_path,
    control_handler *handler, void *context, struct error *error)
{
    struct control_socket *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the control socket");
    *created = (struct control_socket){.listen_fd = -1, .handler = handler, .context = context};
    created->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    created->dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = 0;
    if (created->stop_fd < 0 || created->dir_fd < 0)
        result = error_set_errno(error, ERROR_SYSTEM, errno, "cannot open %s", dir_path);
    if (result == 0)
        result = make_socket(&created->listen_fd, error);
    if (result == 0)
        result = start_listening(created, dir_path, error);
    if (result != 0) {
        control_socket_close(created);
        return result;
    }
    *control = created;
    return 0;
}

/* Whether the peer is this process's user, or root. */
static bool peer_is_trusted(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

/* Waits for events at fd or for the stop. False at the deadline and when stopping. */
static bool wait_for_peer(int fd, short events, int stop_fd, int64_t deadline_ms)
{
    struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
    return fd_wait(fds, 2, deadline_ms) > 0 && fds[1].revents == 0;
}

/*
 * Reads up to a line end, the end of the connection, size - 1 bytes or the deadline; stop_fd may be
 * -1. Returns the number of bytes, which are NUL-terminated.
 */
static size_t read_line(int fd, int stop_fd, char *line, size_t size, int64_t deadline_ms)
{
    size_t used = 0;
    line[0] = '\0';
    while (used < size - 1 && wait_for_peer(fd, POLLIN, stop_fd, deadline_ms)) {
        ssize_t got = recv(fd, line + used, size - 1 - used, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
        line[used] = '\0';
        if (memchr(line + used - got, '\n', (size_t)got) != NULL)
            break;
    }
    return used;
}

static bool write_line(int fd, const char *line, size_t length, int64_t deadline_ms)
{
    while (length > 0) {
        ssize_t sent = send(fd, line, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN && wait_for_peer(fd, POLLOUT, -1, deadline_ms))
            continue;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        line += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Cuts the line end off. False unless that is the only one, at the end, and the rest printable. */
static bool take_line(char *line, size_t length)
{
    if (length == 0 || line[length - 1] != '\n')
        return false;
    line[length - 1] = '\0';
    for (const char *at = line; at < line + length - 1; at++)
        if (*at < ' ' || *at >= PRINTABLE_END)
            return false;
    return length > 1;
}

static void answer_peer(int fd, enum control_result result, const char *answer)
{
    char line[CONTROL_ANSWER_BYTES + 16];
    int length = snprintf(
        line, sizeof line, "%s%s\n", result == CONTROL_DONE ? done_word : refused_word, answer);
    write_line(fd, line, (size_t)length, clock_monotonic_ms() + WRITE_LIMIT_MS);
}

static void serve_peer(const struct control_socket *control, int fd)
{
    char request[CONTROL_REQUEST_BYTES];
    char answer[CONTROL_ANSWER_BYTES];
    if (!peer_is_trusted(fd)) {
        log_warn(component, "refused a connection of another user");
        return;
    }
    size_t length = read_line(
        fd, control->stop_fd, request, sizeof request, clock_monotonic_ms() + READ_LIMIT_MS);
    if (length == 0)
        return;
    if (!take_line(request, length)) {
        answer_peer(fd, CONTROL_REFUSED, "not a request: expected one line of printable ASCII");
        return;
    }
    enum control_result result = control->handler(control->context, request, answer);
    answer_peer(fd, result, answer);
}

static void *control_thread(void *argument)
{
    const struct control_socket *control = argument;
    while (wait_for_peer(control->listen_fd, POLLIN, control->stop_fd, SYNC_NO_DEADLINE)) {
        int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            serve_peer(control, fd);
            close(fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* The connection stays in the backlog: without a pause this would spin. */
            fd_wait_readable(control->stop_fd, READ_LIMIT_MS);
        }
    }
    return NULL;
}

int control_socket_start(struct control_socket *control, struct error *error)
{
    int result = thread_start(&control->thread, "mc-control", control_thread, control, error);
    control->started = result == 0;
    return result;
}

void control_socket_close(struct control_socket *control)
{
    if (control == NULL)
        return;
    if (control->started) {
        eventfd_write(control->stop_fd, 1);
        thread_join(control->thread);
    }
    if (control->listen_fd >= 0) {
        struct sockaddr_un bound;
        socklen_t size = sizeof bound;
        /* Not the file of somebody else that kept ours from being made. */
        bool is_bound = getsockname(control->listen_fd, (struct sockaddr *)&bound, &size) == 0 &&
                        size > sizeof bound.sun_family;
        if (is_bound)
            unlinkat(control->dir_fd, socket_name, 0);
        close(control->listen_fd);
    }
    if (control->dir_fd >= 0)
        close(control->dir_fd);
    if (control->stop_fd >= 0)
        close(control->stop_fd);
    free(control);
}

/* The client. */

static int connect_to_process(
    int fd, int dir_fd, const char *dir_path, int64_t deadline_ms, struct error *error)
{
    struct sockaddr_un address;
    if (!make_address(dir_fd, dir_path, &address))
        return error_set(error, ERROR_INVALID, "%s is too long for a socket in it", dir_path);
    int connected;
    /* EAGAIN: the backlog is full, and nothing announces that it has room again. */
    while ((connected = connect(fd, (const struct sockaddr *)&address, sizeof address)) != 0 &&
           errno == EAGAIN && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, CONNECT_RETRY_MS);
    if (connected == 0)
        return 0;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTSOCK)
        return error_set(error, ERROR_CLOSED,
            "no runtime listens on %s/%s; is it running, with this STATE_DIR?", dir_path,
            socket_name);
    return error_set_errno(
        error, ERROR_SYSTEM, errno, "cannot connect to %s/%s", dir_path, socket_name);
}

/* Whether line begins with word, the rest of which becomes the answer. */
static bool take_answer(
    const char *line, const char *word, char answer[static CONTROL_ANSWER_BYTES])
{
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0)
        return false;
    text_quote(answer, CONTROL_ANSWER_BYTES, line + length, strcspn(line + length, "\n"));
    return true;
}

static int exchange(int fd, const char *request, int64_t deadline_ms, enum control_result *result,
    char answer[static CONTROL_ANSWER_BYTES], struct error *error)
{
    char line[CONTROL_ANSWER_BYTES + 16];
    int length = snprintf(line, CONTROL_REQUEST_BYTES, "%s\n", request);
    if (length >= CONTROL_REQUEST_BYTES)
        return error_set(error, ERROR_INVALID, "the request is too long");
    if (!write_line(fd, line, (size_t)length, deadline_ms))
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot ask the runtime");
    size_t got = read_line(fd, -1, line, sizeof line, deadline_ms);
    *result = CONTROL_DONE;
    if (got > 0 && line[got - 1] == '\n' && take_answer(line, done_word, answer))
        return 0;
    *result = CONTROL_REFUSED;
    if (got > 0 && line[got - 1] == '\n' && take_answer(line, refused_word, answer))
        return 0;
    if (got == 0 && clock_monotonic_ms() >= deadline_ms)
        return error_set(error, ERROR_TIMEOUT, "the runtime did not answer in time");
    return error_set(error, ERROR_REMOTE, "the runtime closed the connection without an answer");
}

int control_socket_ask(int dir_fd, const char *dir_path, const char *request, int64_t timeout_ms,
    enum control_result *result, char answer[static CONTROL_ANSWER_BYTES], struct error *error)
{
    int fd;
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    int code = make_socket(&fd, error);
    if (code != 0)
        return code;
    code = connect_to_process(fd, dir_fd, dir_path, deadline_ms, error);
    if (code == 0)
        code = exchange(fd, request, deadline_ms, result, answer, error);
    close(fd);
    return code;
}
