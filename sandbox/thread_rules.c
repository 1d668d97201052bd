/*
 * Who is notified of a message in version 1. Agents get far fewer thread updates than in version
 * 0: none of a message that mentions an agent, none on tasks that are done or blocked, none if the
 * author asked for that, and never a second one while the first is undelivered: that one is patched
 * to the newer message. In the orchestrator's chat only the orchestrator gets any. Users get theirs
 * always.
 */
#include "thread_rules.h"

#include "account.h"
#include "base/json.h"
#include "memory.h"
#include "mentions.h"

static bool is_agent(const struct document *actor)
{
    return actor->table == TABLE_AGENTS;
}

static bool is_agent_mention(const json_t *mention)
{
    return strcmp(json_guard_string(mention, "type"), "agent") == 0;
}

static void remove_agents(json_t *mentions)
{
    for (size_t i = json_array_size(mentions); i-- > 0;)
        if (is_agent_mention(json_array_get(mentions, i)))
            json_array_remove(mentions, i);
}

json_t *thread_rules_mentions(struct store *store, const struct new_message *from)
{
    if (is_agent(from->author) && account_is_chat(store, from->task))
        return memory_json(json_array());
    json_t *mentions = mentions_parse_v1(store, document_string(from->task, "accountId"),
        from->author->id, json_string_value(from->content));
    if (is_agent(from->author) && !account_allows(store, from->author, "canMentionAgents"))
        remove_agents(mentions);
    return mentions;
}

bool thread_rules_allow_mention(const struct new_message *from, const struct document *recipient)
{
    return !is_agent(recipient) || !from->suppress_agents;
}

static bool mentions_agents(const json_t *mentions)
{
    size_t index;
    const json_t *mention;
    json_array_foreach (mentions, index, mention) {
        if (is_agent_mention(mention))
            return true;
    }
    return false;
}

bool thread_rules_allow_update(const struct store *store, const struct new_message *from,
    const json_t *mentions, const struct document *recipient)
{
    const char *status = document_string(from->task, "status");
    if (!is_agent(recipient))
        return true;
    if (from->suppress_agents || strcmp(status, "done") == 0 || strcmp(status, "blocked") == 0)
        return false;
    if (account_is_chat(store, from->task))
        return account_is_orchestrator(store, recipient);
    return !mentions_agents(mentions);
}

static struct document *find_undelivered_update(
    struct store *store, const struct new_notification *notification)
{
    const char *account_id = document_string(notification->recipient, "accountId");
    struct document *row = NULL;
    TAILQ_FOREACH (row, store_undelivered(store, account_id), link) {
        if (document_is(row, "type", "thread_update") &&
            document_is(row, "recipientId", notification->recipient->id) &&
            document_is(row, "taskId", notification->task->id))
            return row;
    }
    return NULL;
}

struct document *thread_rules_coalesce(
    struct store *store, const struct new_notification *notification)
{
    struct document *row =
        is_agent(notification->recipient) ? find_undelivered_update(store, notification) : NULL;
    if (row == NULL)
        return NULL;
    store_set(store, row, "messageId", memory_json(json_string(notification->message->id)));
    store_set(store, row, "title", memory_json_text(notification->title));
    store_set(store, row, "body", memory_json_text(notification->body));
    json_t *now = board_now();
    store_set_created(store, row, json_number_value(now));
    json_decref(now);
    return row;
}
