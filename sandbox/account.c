/*
 * Settings of accounts and flags of agents. A flag that is missing in one place is looked up in
 * the next: agent, account, default. What a flag forbids is up to the functions that ask.
 */
#include "account.h"

#include <ctype.h>
#include <strings.h>

#include "base/json.h"
#include "memory.h"

static const struct {
    const char *name;
    bool value;
} default_flags[] = {
    {"canCreateTasks", false},
    {"canModifyTaskStatus", true},
    {"canCreateDocuments", true},
    {"canMentionAgents", true},
    {"canReviewTasks", false},
    {"canMarkDone", false},
};

static const json_t *settings_of(const struct store *store, const char *account_id)
{
    const struct document *account = store_get(store, TABLE_ACCOUNTS, account_id);
    return account == NULL ? NULL : document_field(account, "settings");
}

const char *account_orchestrator(const struct store *store, const char *account_id)
{
    return json_guard_string(settings_of(store, account_id), "orchestratorAgentId");
}

const char *account_chat_task(const struct store *store, const char *account_id)
{
    return json_guard_string(settings_of(store, account_id), "orchestratorChatTaskId");
}

bool account_is_chat(const struct store *store, const struct document *task)
{
    const char *chat = account_chat_task(store, document_string(task, "accountId"));
    return chat != NULL && strcmp(chat, task->id) == 0;
}

bool account_is_orchestrator(const struct store *store, const struct document *agent)
{
    const char *id = account_orchestrator(store, document_string(agent, "accountId"));
    return id != NULL && strcmp(id, agent->id) == 0;
}

void account_set(struct store *store, struct document *account, const char *key, json_t *value)
{
    const json_t *is = document_field(account, "settings");
    json_t *settings = memory_json(is == NULL ? json_object() : json_copy((json_t *)is));
    if (value == NULL)
        json_object_del(settings, key);
    else
        json_object_set_new(settings, key, value);
    store_set(store, account, "settings", settings);
}

json_t *account_default_flags(void)
{
    json_t *flags = memory_json(json_object());
    for (size_t i = 0; i < sizeof default_flags / sizeof *default_flags; i++)
        json_object_set_new(flags, default_flags[i].name, json_boolean(default_flags[i].value));
    return flags;
}

/* Overrides flags by the behaviorFlags in config, if there are any. */
static void overlay_flags(json_t *flags, const json_t *config)
{
    json_t *own = json_object_get(config, "behaviorFlags");
    if (json_is_object(own))
        json_object_update(flags, own);
}

json_t *account_flags(const struct store *store, const struct document *agent)
{
    json_t *flags = account_default_flags();
    if (agent == NULL)
        return flags;
    const json_t *settings = settings_of(store, document_string(agent, "accountId"));
    overlay_flags(flags, json_object_get(settings, "agentDefaults"));
    overlay_flags(flags, document_field(agent, "openclawConfig"));
    return flags;
}

bool account_allows(const struct store *store, const struct document *agent, const char *flag)
{
    json_t *flags = account_flags(store, agent);
    bool allowed = json_is_true(json_object_get(flags, flag));
    json_decref(flags);
    return allowed;
}

static bool is_word_byte(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_';
}

/* Whether text holds word, letter case aside, not followed by a letter, digit or underscore. */
static bool has_ending_word(const char *text, const char *word, bool begins_word)
{
    size_t length = strlen(word);
    for (const char *at = strcasestr(text, word); at != NULL; at = strcasestr(at + 1, word))
        if (!is_word_byte(at[length]) && !(begins_word && at > text && is_word_byte(at[-1])))
            return true;
    return false;
}

/* The backend lets "quality" end any word, so that an "equality officer" passes as well. */
bool account_is_qa(const struct document *agent)
{
    const char *role = document_string(agent, "role");
    if (document_is(agent, "slug", "qa"))
        return true;
    return role != NULL &&
           (has_ending_word(role, "qa", true) || strcasestr(role, "quality assurance") != NULL ||
               has_ending_word(role, "quality", false));
}

const struct document *account_find_qa(const struct store *store, const char *account_id)
{
    const struct document *agent = NULL;
    TAILQ_FOREACH (agent, &store->tables[TABLE_AGENTS], siblings) {
        if (document_is(agent, "accountId", account_id) && account_is_qa(agent))
            return agent;
    }
    return NULL;
}
