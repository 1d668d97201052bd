/*
 * A Unix socket in a directory of ours, over which an operator's command asks the running process
 * to do something: one line there, one line back.
 */
#ifndef BASE_CONTROL_SOCKET_H
#define BASE_CONTROL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    CONTROL_REQUEST_BYTES = 256, /* with its NUL instead of the line end */
    CONTROL_ANSWER_BYTES = ERROR_TEXT_BYTES,
};

/* How a request ended; the text that goes with it is a sentence for the operator. */
enum control_result { CONTROL_DONE, CONTROL_REFUSED };

/*
 * Handles a request, a line of printable ASCII without its end. answer, one line, is sent back.
 * Called by the socket's thread, one request at a time; may block, but shutdown waits for it.
 */
typedef enum control_result control_handler(
    void *context, const char *request, char answer[static CONTROL_ANSWER_BYTES]);

struct control_socket;

/*
 * Listens in the directory at dir_path, mode 0600, without a thread yet. A socket that an earlier
 * process left behind is replaced, so the caller has to hold the lock of the directory.
 * ERROR_INVALID when something else has that name, ERROR_SYSTEM, ERROR_NO_MEMORY. Closed by
 * control_socket_close.
 */
int control_socket_open(struct control_socket **control, const char *dir_path,
    control_handler *handler, void *context, struct error *error);

/* Starts the thread, mc-control. ERROR_SYSTEM, ERROR_NO_MEMORY. */
int control_socket_start(struct control_socket *control, struct error *error);

/*
 * Ends the thread after the request that it is handling, and removes the socket. Does nothing for
 * NULL. Called by the thread that opened it, while the lock is still held.
 */
void control_socket_close(struct control_socket *control);

/*
 * Sends a request to the process that listens in the open directory; dir_path is its path, used
 * where there is no /proc. Returns 0 with the answer and *result. ERROR_CLOSED when no process
 * listens; ERROR_TIMEOUT after timeout_ms, ERROR_REMOTE for an answer that is none: then it is not
 * known whether the request was carried out. ERROR_SYSTEM: it was not. Blocks up to timeout_ms.
 */
int control_socket_ask(int dir_fd, const char *dir_path, const char *request, int64_t timeout_ms,
    enum control_result *result, char answer[static CONTROL_ANSWER_BYTES], struct error *error);

#endif
