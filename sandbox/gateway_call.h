/* The gateway's check of a model's call against the tools that a request offers. */
#ifndef SANDBOX_GATEWAY_CALL_H
#define SANDBOX_GATEWAY_CALL_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

/*
 * Whether a call of the model comes out of the run: name is among tools, an array in the flat form
 * or NULL, and the arguments, an object, or a text as the model wrote it, have what its parameters
 * require and, with check_types, the types that they name. Otherwise appends to told what the model
 * is told inside the run. Pure.
 */
bool gateway_call_check(const json_t *tools, const char *name, const json_t *arguments,
    bool check_types, struct text *told);

#endif
