/* The command doctor: looks for what keeps a runtime with these settings from working. */
#ifndef COMMAND_DOCTOR_H
#define COMMAND_DOCTOR_H

#include <stdbool.h>

#include "config/config.h"

/*
 * Checks state folder, network, backend, gateway and clock, and says on standard output what it
 * found and how to mend it, a line each or, with json, as one object. Runs no agent and changes
 * nothing, so it may be used beside a running runtime. Returns the exit status: 0 when nothing
 * failed, else 1, or 71 when the answer cannot be written. Blocks up to a minute: at most five
 * requests with a limit of 10 seconds each.
 */
int command_doctor(const struct config *config, bool json);

#endif
