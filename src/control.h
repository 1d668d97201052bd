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
 * A control_handler whose context is a struct control_parts. Requests: "retry ID", "drop ID",
 * "hold", "release", and "ping", which does nothing. Blocks for the disk.
 */
enum control_result control_handle(
    void *parts, const char *request, char answer[static CONTROL_ANSWER_BYTES]);

#endif
