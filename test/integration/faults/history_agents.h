/* The part of the history's rules that is about agents that cause runs of each other. */
#ifndef TEST_INTEGRATION_FAULTS_HISTORY_AGENTS_H
#define TEST_INTEGRATION_FAULTS_HISTORY_AGENTS_H

#include "history.h"

/* Lookups in a history; all values are borrowed from it. */
struct history_index {
    json_t *notifications; /* object: by id */
    json_t *messages;      /* object: by id */
    json_t *asked;         /* object: (message, agent) -> the notification for which it was asked */
};

/* Freed by history_index_fini. */
void history_index_init(struct history_index *index, const struct history *history);
void history_index_fini(struct history_index *index);

/* Whether an agent's message caused the notification, not a person. */
bool history_is_by_agent(const struct history_index *index, const json_t *notification);

/* Whether the same message ran the same agent for another notification. */
bool history_has_twin(const struct history_index *index, const json_t *notification);

/* Whether the message is the runtime's note that agents have reached their limit of runs. */
bool history_is_limit_note(const json_t *message);

/* As history_holds, for the rules among agents. */
bool history_agents_hold(const struct history *history, const struct history_index *index,
    const struct history_rules *rules, char *reason, size_t reason_bytes);

#endif
