/*
 * What the settings of an account and the configuration of its agents say: behaviour flags, the
 * orchestrator and its chat, quality assurance. Version 1 only.
 */
#ifndef SANDBOX_ACCOUNT_H
#define SANDBOX_ACCOUNT_H

#include "store.h"

/* Label of the task that is the orchestrator's chat. */
#define CHAT_LABEL "system:orchestrator-chat"

/* The id of the account's orchestrator, and of its chat task; NULL for none. */
const char *account_orchestrator(const struct store *store, const char *account_id);
const char *account_chat_task(const struct store *store, const char *account_id);

/* Whether the task is the orchestrator's chat of its account. */
bool account_is_chat(const struct store *store, const struct document *task);

/* Whether the agent is the orchestrator of its account. */
bool account_is_orchestrator(const struct store *store, const struct document *agent);

/* Sets one of the account's settings; takes value. NULL removes it. */
void account_set(struct store *store, struct document *account, const char *key, json_t *value);

/* The defaults of all flags, as a new object. */
json_t *account_default_flags(void);

/*
 * The flags that apply to the agent, as a new object: the defaults, overridden one by one by those
 * of its account and then by its own. NULL: the defaults.
 */
json_t *account_flags(const struct store *store, const struct document *agent);

/* Whether a flag of the agent is set. */
bool account_allows(const struct store *store, const struct document *agent, const char *flag);

/* Whether an agent is responsible for quality assurance, by its slug or its role. */
bool account_is_qa(const struct document *agent);

/* The account's first such agent, or NULL. */
const struct document *account_find_qa(const struct store *store, const char *account_id);

#endif
