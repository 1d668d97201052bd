/*
 * The requests of operators' commands, one line each. The commands have checked what they send, but
 * whoever can connect can send anything, so everything is checked here again; an id is checked by
 * dead_letter_change. Each change is logged, since whoever reads the log later sees no commands.
 */
#include "control.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

static const char component[] = "Control";

static enum control_result change_dead_letter(const struct control_parts *parts,
    enum dead_letter_change change, const char *id, char answer[static CONTROL_ANSWER_BYTES])
{
    int result = dead_letter_change(&parts->letters, change, id, answer);
    if (result == 0)
        log_info(component, "by an operator: %s", answer);
    return result == 0 ? CONTROL_DONE : CONTROL_REFUSED;
}

/* Asking twice is no mistake, but whoever does should know that nothing has changed. */
static enum control_result change_hold(
    const struct control_parts *parts, bool held, char answer[static CONTROL_ANSWER_BYTES])
{
    bool changed = breaker_control_hold(parts->breaker, held, held ? "hold" : "release");
    snprintf(answer, CONTROL_ANSWER_BYTES, "%s%s", changed ? "" : "nothing to do: ",
        held ? "sends are paused; agents are not asked until release" : "sends are not paused");
    return CONTROL_DONE;
}

enum control_result control_handle(
    void *parts, const char *request, char answer[static CONTROL_ANSWER_BYTES])
{
    const struct control_parts *own = parts;
    char quoted[CONTROL_REQUEST_BYTES];
    answer[0] = '\0';
    if (strncmp(request, "retry ", 6) == 0)
        return change_dead_letter(own, DEAD_LETTER_RETRY, request + 6, answer);
    if (strncmp(request, "drop ", 5) == 0)
        return change_dead_letter(own, DEAD_LETTER_DROP, request + 5, answer);
    if (strcmp(request, "hold") == 0 || strcmp(request, "release") == 0)
        return change_hold(own, request[0] == 'h', answer);
    if (strcmp(request, "ping") == 0)
        return CONTROL_DONE;
    text_quote(quoted, sizeof quoted, request, strlen(request));
    snprintf(answer, CONTROL_ANSWER_BYTES,
        "unknown request \"%s\"; the runtime and the command are of different releases", quoted);
    return CONTROL_REFUSED;
}

int control_open(struct control_socket **socket, const char *state_dir, struct control_parts *parts,
    struct error *error)
{
    int result = control_socket_open(socket, state_dir, control_handle, parts, error);
    if (result == 0 || result == ERROR_NO_MEMORY)
        return result;
    log_warn(component,
        "%s; so the commands hold and release do not work, and spool retry and drop only while the "
        "runtime is stopped",
        error->text);
    return 0;
}
