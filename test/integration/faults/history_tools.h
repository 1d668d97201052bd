/* What has to hold for the tool calls of a history (history.h). */
#ifndef TEST_INTEGRATION_FAULTS_HISTORY_TOOLS_H
#define TEST_INTEGRATION_FAULTS_HISTORY_TOOLS_H

#include "history.h"

/*
 * Returns the gateway's runs with those that brought results of tool calls folded into the run that
 * made the calls: one run with the number and the outcome of its last request, "acting" if that was
 * answered with calls. A new array.
 */
json_t *history_fold_rounds(const json_t *runs);

/*
 * Whether no call changed the board twice, and what agents were told of their calls is true. If
 * not, the first violation is in reason. Changes are told apart by their texts, so people must not
 * ask for the same text twice, and the sandbox's setting gateway_numbers must be on.
 */
bool history_tools_hold(const struct history *history, char *reason, size_t reason_bytes);

#endif
