/* Parsing of a fault rule of the control API. */
#ifndef SANDBOX_FAULT_RULE_H
#define SANDBOX_FAULT_RULE_H

#include <jansson.h>

#include "faults.h"

/*
 * Parses json into a new rule with one reference, the caller's. ERROR_INVALID names the key that is
 * unknown or has a wrong value.
 */
int fault_rule_read(
    enum fault_side side, const json_t *json, struct fault_rule **rule, struct error *error);

#endif
