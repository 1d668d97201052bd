/*
 * Control routes that fill the board: /sandbox/seed creates documents one by one as a request
 * lists them, /sandbox/load creates notifications by the thousand, spread evenly over agents and
 * tasks.
 *
 * Loaded notifications have creation times of their own, strictly increasing over all loads: the
 * backend lists by createdAt, and the tests of fairness and order depend on it. They end at the
 * current time unless an earlier load reached further.
 */
#include "answer.h"
#include "base/json.h"
#include "base/sync.h"
#include "board.h"
#include "board_find.h"
#include "control.h"
#include "memory.h"
#include "seed_v1.h"

enum { LOAD_LIMIT = 200000, AGENT_LIMIT = 5000 };

/* Appends a new document's id, account and the field key, which is what tests need. */
static void append_summary(json_t *list, const struct document *document, const char *key)
{
    json_array_append_new(list,
        memory_json(json_pack("{s:s, s:s, s:O*}", "id", document->id, "account",
            document_string(document, "accountId") == NULL ? document->id
                                                           : document_string(document, "accountId"),
            key, document_field(document, key))));
}

static json_t *seed_accounts(struct sandbox *sandbox, const json_t *seeds)
{
    json_t *made = memory_json(json_array());
    size_t index;
    const json_t *seed;
    json_array_foreach (seeds, index, seed) {
        const char *name = json_guard_string(seed, "name");
        append_summary(made,
            board_make_account(sandbox, json_guard_string(seed, "id"),
                name == NULL ? "Another" : name, json_guard_string(seed, "secret")),
            "name");
    }
    return made;
}

static json_t *seed_each(struct sandbox *sandbox, const json_t *seeds, const char *key,
    struct document *(*make)(struct sandbox *sandbox, const json_t *json))
{
    json_t *made = memory_json(json_array());
    size_t index;
    const json_t *seed;
    json_array_foreach (seeds, index, seed) {
        append_summary(made, make(sandbox, seed), key);
    }
    return made;
}

static struct document *make_assigned_task(struct sandbox *sandbox, const json_t *seed)
{
    bool is_v1 = sandbox->store.version == BACKEND_V1;
    struct document *task = is_v1 ? seed_v1_task(sandbox, seed) : board_make_task(sandbox, seed);
    size_t index;
    const json_t *name;
    json_array_foreach (json_object_get(seed, "assign"), index, name) {
        struct document *agent = board_find(&sandbox->store, TABLE_AGENTS, json_string_value(name));
        if (agent != NULL)
            board_assign(&sandbox->store, task, agent, sandbox_user(sandbox));
    }
    return task;
}

void control_seed(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    json_t *accounts = seed_accounts(sandbox, json_object_get(body, "accounts"));
    json_t *users = seed_each(sandbox, json_object_get(body, "users"), "name", board_make_user);
    bool is_v1 = sandbox->store.version == BACKEND_V1;
    json_t *skills = NULL;
    json_t *documents = NULL;
    if (is_v1)
        skills = seed_each(sandbox, json_object_get(body, "skills"), "slug", board_make_skill);
    json_t *agents = seed_each(
        sandbox, json_object_get(body, "agents"), "slug", is_v1 ? seed_v1_agent : board_make_agent);
    json_t *tasks = seed_each(sandbox, json_object_get(body, "tasks"), "title", make_assigned_task);
    if (is_v1)
        documents =
            seed_each(sandbox, json_object_get(body, "documents"), "title", seed_v1_document);
    answer_json(exchange, 200,
        json_pack("{s:o, s:o, s:o, s:o, s:o*, s:o*}", "accounts", accounts, "users", users,
            "agents", agents, "tasks", tasks, "skills", skills, "documents", documents));
}

/*
 * Returns the first count agents of the first account, creating missing ones. The caller frees it.
 */
static struct document **load_agents(struct sandbox *sandbox, size_t count, const json_t *body)
{
    struct document **agents = memory_new(count, sizeof(struct document *));
    size_t found = 0;
    struct document *agent = NULL;
    TAILQ_FOREACH (agent, &sandbox->store.tables[TABLE_AGENTS], siblings) {
        if (found < count && document_is(agent, "accountId", sandbox->options.account_id))
            agents[found++] = agent;
    }
    double minutes = 15;
    json_guard_number(json_object_get(body, "heartbeatInterval"), 0, 1e6, &minutes);
    while (found < count) {
        struct text slug = {0};
        text_printf(&slug, "worker%zu", found + 1);
        json_t *json =
            memory_json(json_pack("{s:s, s:f}", "slug", slug.data, "heartbeatInterval", minutes));
        agents[found++] = board_make_agent(sandbox, json);
        json_decref(json);
        text_fini(&slug);
    }
    return agents;
}

static struct document **load_tasks(struct sandbox *sandbox, size_t count)
{
    struct document **tasks = memory_new(count, sizeof(struct document *));
    json_t *nothing = memory_json(json_object());
    for (size_t i = 0; i < count; i++)
        tasks[i] = board_make_task(sandbox, nothing);
    json_decref(nothing);
    return tasks;
}

/* Stores a message by the user for a mention to refer to. It creates no notification by itself. */
static struct document *load_message(
    struct sandbox *sandbox, const struct document *task, size_t number)
{
    const struct document *user = sandbox_user(sandbox);
    struct text content = {0};
    text_printf(&content, "Message %zu: please look at this.", number);
    json_t *fields = json_pack("{s:O, s:s, s:s, s:s, s:s, s:[], s:f}", "accountId",
        document_field(task, "accountId"), "taskId", task->id, "authorType", "user", "authorId",
        user == NULL ? "system" : user->id, "content", content.data, "mentions", "createdAt",
        (double)clock_wall_ms());
    text_fini(&content);
    return store_insert(&sandbox->store, TABLE_MESSAGES, fields, NULL);
}

static struct document *load_notification(struct sandbox *sandbox, struct document *agent,
    struct document *task, const char *type, size_t number, double created_ms)
{
    struct document *message =
        strcmp(type, "assignment") == 0 ? NULL : load_message(sandbox, task, number);
    return board_notify(&sandbox->store, &(struct new_notification){.type = type,
                                             .recipient = agent,
                                             .task = task,
                                             .message = message,
                                             .title = "Ada wants something",
                                             .body = "There is something to do in the task.",
                                             .created_ms = created_ms});
}

void control_load(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    double count;
    double agent_count = 1;
    if (!json_guard_number(json_object_get(body, "notifications"), 1, LOAD_LIMIT, &count)) {
        answer_refusal(exchange, 400, "BadValue", "notifications must be 1 to %d", LOAD_LIMIT);
        return;
    }
    json_guard_number(json_object_get(body, "agents"), 1, AGENT_LIMIT, &agent_count);
    double task_count = agent_count;
    json_guard_number(json_object_get(body, "tasks"), 1, AGENT_LIMIT, &task_count);
    const char *type = json_guard_string(body, "type");
    struct document **agents = load_agents(sandbox, (size_t)agent_count, body);
    struct document **tasks = load_tasks(sandbox, (size_t)task_count);
    json_t *made = memory_json(json_array());
    double first_ms = (double)clock_wall_ms() - count;
    if (first_ms <= sandbox->last_load_ms)
        first_ms = sandbox->last_load_ms + 1;
    /* With no more tasks than agents, all notifications of an agent are of one task. */
    size_t turn = task_count > agent_count ? (size_t)count : (size_t)agent_count;
    for (size_t i = 0; i < (size_t)count; i++) {
        struct document *agent = agents[i % (size_t)agent_count];
        struct document *task = tasks[i % turn % (size_t)task_count];
        const struct document *notification = load_notification(
            sandbox, agent, task, type == NULL ? "assignment" : type, i + 1, first_ms + (double)i);
        json_array_append_new(
            made, memory_json(json_pack("{s:s, s:s, s:O, s:s}", "id", notification->id, "agent",
                      agent->id, "slug", document_field(agent, "slug"), "task", task->id)));
    }
    sandbox->last_load_ms = first_ms + count;
    free((void *)agents);
    free((void *)tasks);
    answer_json(exchange, 200, json_pack("{s:o}", "notifications", made));
}
