/*
 * Activities of version 1. A row copies the names of its actor and target, so that it can be read
 * when those are gone.
 */
#include "activity.h"

#include "board.h"
#include "memory.h"

/* Name of a target's kind; the table names are plural. */
static const char *target_kind(enum table table)
{
    switch (table) {
    case TABLE_TASKS:
        return "task";
    case TABLE_AGENTS:
        return "agent";
    case TABLE_ACCOUNTS:
        return "account";
    case TABLE_DOCUMENTS:
        return "document";
    default:
        return table_name(table);
    }
}

static const char *target_name(const struct document *target)
{
    const char *title = document_string(target, "title");
    return title != NULL ? title : document_string(target, "name");
}

void activity_record(struct store *store, const char *type, const struct document *actor,
    const struct document *target, json_t *meta)
{
    const char *account_id =
        target->table == TABLE_ACCOUNTS ? target->id : document_string(target, "accountId");
    store_insert(store, TABLE_ACTIVITIES,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*, s:o*, s:o}", "accountId", account_id,
            "type", type, "actorType", actor == NULL ? "system" : board_actor_kind(actor),
            "actorId", actor == NULL ? "system" : actor->id, "actorName",
            actor == NULL ? "System" : document_string(actor, "name"), "targetType",
            target_kind(target->table), "targetId", target->id, "targetName", target_name(target),
            "meta", meta, "createdAt", board_now()),
        NULL);
}

/* The fields of an activity that are returned. */
static json_t *describe_activity(const struct document *activity)
{
    static const char *const keys[] = {"type", "actorType", "actorId", "actorName", "targetType",
        "targetId", "targetName", "meta", "createdAt"};
    json_t *json = memory_json(json_object());
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = document_field(activity, keys[i]);
        if (value != NULL)
            json_object_set(json, keys[i], value);
    }
    return json;
}

json_t *activity_history(const struct store *store, const char *task_id, size_t limit)
{
    json_t *history = memory_json(json_array());
    const struct document *activity = NULL;
    TAILQ_FOREACH_REVERSE(activity, &store->tables[TABLE_ACTIVITIES], document_list, siblings)
    {
        if (json_array_size(history) >= limit)
            break;
        if (document_is(activity, "targetId", task_id))
            json_array_append_new(history, describe_activity(activity));
    }
    return history;
}
