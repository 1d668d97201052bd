/*
 * Sessions of version 1: one row per generation, with the key that the runtime gets to see. A key
 * holds the agent's slug as it was when the session was opened, so renaming an agent does not
 * change the key of an open session. Only archiving a task closes a session; its row stays, and the
 * next delivery opens the following generation.
 */
#include "sessions.h"

#include "base/sync.h"
#include "memory.h"

static struct document *add_session(
    struct store *store, const struct document *agent, const char *task_id, int generation)
{
    const char *account_id = document_string(agent, "accountId");
    const char *slug = document_string(agent, "slug");
    struct text key = {0};
    if (task_id != NULL)
        text_printf(&key, "task:%s:agent:%s:%s:v%d", task_id, slug, account_id, generation);
    else
        text_printf(&key, "system:agent:%s:%s:v%d", slug, account_id, generation);
    json_t *fields = json_pack("{s:s, s:s, s:s*, s:s, s:i, s:f}", "accountId", account_id,
        "agentId", agent->id, "taskId", task_id, "sessionKey", key.data, "generation", generation,
        "openedAt", (double)clock_wall_ms());
    text_fini(&key);
    return store_insert(store, TABLE_SESSIONS, fields, NULL);
}

const char *sessions_open(struct store *store, const struct document *agent, const char *task_id)
{
    const struct document *session = store_latest_session(store, agent->id, task_id);
    if (session == NULL)
        session = add_session(store, agent, task_id, 1);
    else if (document_field(session, "closedAt") != NULL)
        session =
            add_session(store, agent, task_id, (int)document_number(session, "generation") + 1);
    return document_string(session, "sessionKey");
}

void sessions_close_task(struct store *store, const char *task_id)
{
    struct document *session = NULL;
    TAILQ_FOREACH (session, &store->tables[TABLE_SESSIONS], siblings) {
        const char *of = document_string(session, "taskId");
        if (of == NULL || strcmp(of, task_id) != 0 || document_field(session, "closedAt") != NULL)
            continue;
        store_set(store, session, "closedAt", memory_json(json_real((double)clock_wall_ms())));
    }
}
