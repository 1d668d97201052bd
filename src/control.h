/* What operators' commands may ask of a running runtime (base/control_socket.h). */
#ifndef CONTROL_H
#define CONTROL_H

#include "base/control_socket.h"
#include "delivery/breaker_control.h"
#include "delivery/dead_letter.h"

/* Borrowed by control_handle; constant while the control socket is open. */
struct control_parts {
    struct dead_letter_parts letters;
    const struct breaker_control *breaker;
};

/*
 * Opens the control socket in the state directory, whose lock is held. One that cannot be had is
 * logged, and *socket stays NULL: operators can do without it, by stopping the runtime first.
 * Returns 0 or ERROR_NO_MEMORY.
 */
int control_open(struct control_socket **socket, const char *state_dir, struct control_parts *parts,
    struct error *error);

/*
 * A control_handler whose context is a struct control_parts. Requests: "retry ID", "drop ID",
 * "hold", "release", and "ping", which does nothing. Blocks for the disk.
 */
enum control_result control_handle(
    void *parts, const char *request, char answer[static CONTROL_ANSWER_BYTES]);

#endif
