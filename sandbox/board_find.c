/*
 * Documents for people and tests: they are found by any name a person would use, and created with
 * defaults for every field that a request leaves out, so that a test states only what it is about.
 */
#include "board_find.h"

#include "account.h"
#include "base/json.h"
#include "board.h"
#include "control.h"
#include "memory.h"
#include "seed_v1.h"
#include "service.h"

static const double HEARTBEAT_MINUTES = 15;
static const double DEFAULT_PRIORITY = 3;
static const double DEFAULT_TEMPERATURE = 0.7;

struct document *board_find(const struct store *store, enum table table, const char *name)
{
    static const char *const keys[] = {"slug", "name", "title"};
    if (name == NULL)
        return NULL;
    struct document *document = store_get(store, table, name);
    if (document != NULL)
        return document;
    TAILQ_FOREACH (document, &store->tables[table], siblings) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            const char *value = document_string(document, keys[i]);
            if (value != NULL && strcmp(value, name) == 0)
                return document;
        }
    }
    return NULL;
}

struct document *board_author(struct sandbox *sandbox, const char *name)
{
    if (name == NULL)
        return sandbox_user(sandbox);
    struct document *user = board_find(&sandbox->store, TABLE_USERS, name);
    return user != NULL ? user : board_find(&sandbox->store, TABLE_AGENTS, name);
}

/* Returns the id of the account that json names, by default the first. */
static const char *account_id_for(struct sandbox *sandbox, const json_t *json)
{
    const struct document *account =
        board_find(&sandbox->store, TABLE_ACCOUNTS, json_guard_string(json, "account"));
    if (account == NULL)
        account = sandbox_account(sandbox);
    return account == NULL ? sandbox->options.account_id : account->id;
}

bool board_accepts(const json_t *is, const json_t *value)
{
    return is == NULL || json_typeof(is) == json_typeof(value) ||
           (json_is_boolean(is) && json_is_boolean(value));
}

/* Overrides the defaults with every member of json that has the same type. */
static struct document *insert_with_defaults(
    struct sandbox *sandbox, enum table table, json_t *defaults, const json_t *json)
{
    json_t *given = json_copy((json_t *)json);
    json_object_del(given, "account");
    json_object_del(given, "assign");
    json_object_del(given, "notify");
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach (given, key, value) {
        if (board_accepts(json_object_get(defaults, key), value))
            json_object_set(defaults, key, value);
    }
    json_decref(given);
    return store_insert(&sandbox->store, table, defaults, NULL);
}

/* The configuration that the board gives new agents in version 1, with all flags of its own. */
static json_t *default_agent_config(void)
{
    return memory_json(json_pack("{s:s, s:f, s:[], s:o}", "model", "minimax-m2.5", "temperature",
        DEFAULT_TEMPERATURE, "skillIds", "behaviorFlags", account_default_flags()));
}

struct document *board_make_agent(struct sandbox *sandbox, const json_t *json)
{
    const char *account_id = account_id_for(sandbox, json);
    const char *slug = json_guard_string(json, "slug");
    struct text made_slug = {0};
    struct text session = {0};
    text_printf(&made_slug, "agent%zu", sandbox->store.counts[TABLE_AGENTS] + 1);
    if (slug == NULL)
        slug = made_slug.data;
    text_printf(&session, "agent:%s:%s", slug, account_id);
    bool is_v1 = sandbox->store.version == BACKEND_V1;
    json_t *defaults =
        json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s, s:f, s:o}", "accountId", account_id, "name",
            slug, "slug", slug, "role", "Helper", "sessionKey", is_v1 ? NULL : session.data,
            "status", "offline", "heartbeatInterval", HEARTBEAT_MINUTES, "createdAt", board_now());
    if (is_v1)
        json_object_set_new(defaults, "openclawConfig", default_agent_config());
    struct document *agent = insert_with_defaults(sandbox, TABLE_AGENTS, defaults, json);
    text_fini(&made_slug);
    text_fini(&session);
    return agent;
}

static void subscribe_assigned(struct store *store, const struct document *task)
{
    size_t index;
    const json_t *id;
    json_array_foreach (document_field(task, "assignedAgentIds"), index, id) {
        const struct document *agent = store_get(store, TABLE_AGENTS, json_string_value(id));
        if (agent != NULL)
            board_follow_assigned(store, task, agent);
    }
}

struct document *board_make_task(struct sandbox *sandbox, const json_t *json)
{
    const struct document *user = sandbox_user(sandbox);
    struct text title = {0};
    text_printf(&title, "Task %zu", sandbox->store.counts[TABLE_TASKS] + 1);
    json_t *defaults = json_pack("{s:s, s:s, s:s, s:f, s:[], s:[], s:[], s:s, s:o, s:o}",
        "accountId", account_id_for(sandbox, json), "title", title.data, "status", "inbox",
        "priority", DEFAULT_PRIORITY, "assignedUserIds", "assignedAgentIds", "labels", "createdBy",
        user == NULL ? "system" : user->id, "createdAt", board_now(), "updatedAt", board_now());
    text_fini(&title);
    struct document *task = insert_with_defaults(sandbox, TABLE_TASKS, defaults, json);
    if (sandbox->store.version == BACKEND_V1)
        subscribe_assigned(&sandbox->store, task);
    return task;
}

struct document *board_make_document(struct sandbox *sandbox, const json_t *json)
{
    const struct document *user = sandbox_user(sandbox);
    json_t *defaults = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:o, s:o}", "accountId",
        account_id_for(sandbox, json), "title", "Untitled", "content", "", "type", "note",
        "authorType", "user", "authorId", user == NULL ? "system" : user->id, "version", 1.0,
        "createdAt", board_now(), "updatedAt", board_now());
    return insert_with_defaults(sandbox, TABLE_DOCUMENTS, defaults, json);
}

struct document *board_make_skill(struct sandbox *sandbox, const json_t *json)
{
    const char *slug = control_string(json, "slug", "skill");
    json_t *defaults =
        json_pack("{s:s, s:s, s:s, s:b, s:o}", "accountId", account_id_for(sandbox, json), "name",
            slug, "slug", slug, "isEnabled", 1, "createdAt", board_now());
    return insert_with_defaults(sandbox, TABLE_SKILLS, defaults, json);
}

struct document *board_make_user(struct sandbox *sandbox, const json_t *json)
{
    json_t *defaults = json_pack("{s:s, s:s, s:s, s:o}", "accountId", account_id_for(sandbox, json),
        "name", "Ada", "email", "ada@example.com", "createdAt", board_now());
    return insert_with_defaults(sandbox, TABLE_USERS, defaults, json);
}

struct document *board_make_account(
    struct sandbox *sandbox, const char *id, const char *name, const char *secret)
{
    char hash[SERVICE_HASH_BYTES];
    if (secret != NULL)
        service_hash(secret, hash);
    json_t *fields = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s*}", "name", name, "slug", "sandbox",
        "plan", "free", "runtimeStatus", "offline", "createdAt", board_now(), "serviceTokenHash",
        secret == NULL ? NULL : hash);
    if (sandbox->store.version == BACKEND_V1)
        json_object_set_new(memory_json(fields), "settings", memory_json(json_object()));
    return store_insert(&sandbox->store, TABLE_ACCOUNTS, fields, id);
}

static struct document *make_demo_agent(
    struct sandbox *sandbox, const char *slug, const char *name, const char *role)
{
    json_t *json =
        memory_json(json_pack("{s:s, s:s, s:s}", "slug", slug, "name", name, "role", role));
    struct document *agent = board_make_agent(sandbox, json);
    json_decref(json);
    return agent;
}

static void make_demo_task(struct sandbox *sandbox, const char *title, const char *description,
    const struct document *agent)
{
    json_t *json = memory_json(json_pack("{s:s, s:s, s:s, s:[s]}", "title", title, "description",
        description, "status", "in_progress", "assignedAgentIds", agent->id));
    board_make_task(sandbox, json);
    json_decref(json);
}

static void make_demo(struct sandbox *sandbox)
{
    const struct document *jarvis =
        make_demo_agent(sandbox, "jarvis", "Jarvis", "Squad lead: plans and hands out work");
    const struct document *friday =
        make_demo_agent(sandbox, "friday", "Friday", "Developer: writes and reviews code");
    make_demo_agent(sandbox, "vision", "Vision", "Analyst: reads, measures, reports");
    make_demo_task(sandbox, "Plan the launch",
        "Collect what is still open before the launch, and say who does what by when.", jarvis);
    make_demo_task(sandbox, "Make the start page faster",
        "It takes four seconds on a phone. Find out why, and halve it.", friday);
}

void board_make_default(struct sandbox *sandbox)
{
    board_make_account(sandbox, sandbox->options.account_id, "Sandbox",
        options_token_secret(sandbox->options.service_token));
    json_t *nothing = memory_json(json_object());
    board_make_user(sandbox, nothing);
    json_decref(nothing);
    if (sandbox->options.demo && sandbox->store.version == BACKEND_V1)
        seed_v1_demo(sandbox);
    else if (sandbox->options.demo)
        make_demo(sandbox);
}
