/*
 * Seeds of version 1. The members of a seed that are not fields are taken out of a copy, which then
 * goes to the same functions as version 0's, and applied to the document or its account.
 */
#include "seed_v1.h"

#include "account.h"
#include "base/json.h"
#include "board.h"
#include "board_find.h"
#include "memory.h"

/* The account of a document that was just made. */
static struct document *account_of(struct sandbox *sandbox, const struct document *document)
{
    return store_get(&sandbox->store, TABLE_ACCOUNTS, document_string(document, "accountId"));
}

static json_t *find_skill_ids(const struct store *store, const json_t *names)
{
    json_t *ids = memory_json(json_array());
    size_t index;
    const json_t *name;
    json_array_foreach (names, index, name) {
        const struct document *skill = board_find(store, TABLE_SKILLS, json_string_value(name));
        if (skill != NULL)
            json_array_append_new(ids, memory_json(json_string(skill->id)));
    }
    return ids;
}

/* Applies a seed's flags and skills to the configuration of its agent. */
static void configure_agent(struct store *store, struct document *agent, const json_t *seed)
{
    json_t *config = memory_json(json_deep_copy(document_field(agent, "openclawConfig")));
    json_t *flags = json_object_get(seed, "flags");
    const json_t *skills = json_object_get(seed, "skills");
    if (json_is_object(flags))
        json_object_update(json_object_get(config, "behaviorFlags"), flags);
    if (json_is_array(skills))
        json_object_set_new(config, "skillIds", find_skill_ids(store, skills));
    store_set(store, agent, "openclawConfig", config);
}

struct document *seed_v1_agent(struct sandbox *sandbox, const json_t *seed)
{
    json_t *fields = memory_json(json_copy((json_t *)seed));
    json_object_del(fields, "flags");
    json_object_del(fields, "skills");
    json_object_del(fields, "orchestrator");
    struct document *agent = board_make_agent(sandbox, fields);
    json_decref(fields);
    configure_agent(&sandbox->store, agent, seed);
    if (json_is_true(json_object_get(seed, "orchestrator")))
        account_set(&sandbox->store, account_of(sandbox, agent), "orchestratorAgentId",
            memory_json(json_string(agent->id)));
    return agent;
}

/* Makes the task the orchestrator's chat, which the orchestrator follows. */
static void make_chat(struct sandbox *sandbox, struct document *task)
{
    struct store *store = &sandbox->store;
    json_t *labels = memory_json(json_copy(document_field(task, "labels")));
    json_array_append_new(labels, memory_json(json_string(CHAT_LABEL)));
    store_set(store, task, "labels", labels);
    account_set(store, account_of(sandbox, task), "orchestratorChatTaskId",
        memory_json(json_string(task->id)));
    const struct document *orchestrator = store_get(
        store, TABLE_AGENTS, account_orchestrator(store, document_string(task, "accountId")));
    if (orchestrator != NULL)
        board_subscribe(store, task, orchestrator);
}

struct document *seed_v1_task(struct sandbox *sandbox, const json_t *seed)
{
    json_t *fields = memory_json(json_copy((json_t *)seed));
    json_object_del(fields, "orchestratorChat");
    struct document *task = board_make_task(sandbox, fields);
    json_decref(fields);
    if (json_is_true(json_object_get(seed, "orchestratorChat")))
        make_chat(sandbox, task);
    return task;
}

struct document *seed_v1_document(struct sandbox *sandbox, const json_t *seed)
{
    json_t *fields = memory_json(json_copy((json_t *)seed));
    const struct document *task =
        board_find(&sandbox->store, TABLE_TASKS, json_guard_string(seed, "task"));
    json_object_del(fields, "task");
    if (task != NULL)
        json_object_set_new(fields, "taskId", memory_json(json_string(task->id)));
    struct document *document = board_make_document(sandbox, fields);
    json_decref(fields);
    return document;
}

/* A row of the demo. */
struct demo_agent {
    const char *slug;
    const char *name;
    const char *role;
    bool is_orchestrator;
};

struct demo_task {
    const char *title;
    const char *description;
    const char *status;
    const char *agent; /* assigned, or NULL */
    bool is_chat;
};

static const struct demo_agent demo_agents[] = {
    {"jarvis", "Jarvis", "Squad lead: plans and hands out work", true},
    {"friday", "Friday", "Developer: writes and reviews code", false},
    {"vision", "Vision", "Analyst: reads, measures, reports", false},
    {"edith", "Edith", "QA: tests and approves", false},
};

static const struct demo_task demo_tasks[] = {
    {"Orchestrator chat", "Talk to the squad lead about everything.", "in_progress", NULL, true},
    {"Plan the launch",
        "Collect what is still open before the launch, and say who does what by when.",
        "in_progress", "jarvis", false},
    {"Make the start page faster", "It takes four seconds on a phone. Find out why, and halve it.",
        "assigned", "friday", false},
    {"Compare three hosting offers", "Price, support, and where the data is kept.", "review",
        "vision", false},
    {"Answer the letter of the tax office", "It needs a person's signature.", "blocked", "vision",
        false},
    {"Write the notes of the last release", "", "done", "friday", false},
    {"Tidy up the old pages", "Nobody has looked at them yet.", "inbox", NULL, false},
};

static void make_demo_agent_v1(struct sandbox *sandbox, const struct demo_agent *row)
{
    json_t *seed =
        memory_json(json_pack("{s:s, s:s, s:s, s:b, s:{s:b, s:b, s:b}}", "slug", row->slug, "name",
            row->name, "role", row->role, "orchestrator", (int)row->is_orchestrator, "flags",
            "canCreateTasks", (int)row->is_orchestrator, "canReviewTasks", 1, "canMarkDone", 1));
    seed_v1_agent(sandbox, seed);
    json_decref(seed);
}

static void make_demo_task_v1(struct sandbox *sandbox, const struct demo_task *row)
{
    const struct document *agent = board_find(&sandbox->store, TABLE_AGENTS, row->agent);
    json_t *assigned = memory_json(json_array());
    if (agent != NULL)
        json_array_append_new(assigned, memory_json(json_string(agent->id)));
    bool blocked = strcmp(row->status, "blocked") == 0;
    json_t *seed = memory_json(json_pack("{s:s, s:s, s:s, s:o, s:b, s:s*}", "title", row->title,
        "description", row->description, "status", row->status, "assignedAgentIds", assigned,
        "orchestratorChat", (int)row->is_chat, "blockedReason",
        blocked ? "Waiting for a signature" : NULL));
    seed_v1_task(sandbox, seed);
    json_decref(seed);
}

static void make_demo_document(struct sandbox *sandbox)
{
    json_t *seed = memory_json(json_pack("{s:s, s:s, s:s}", "title", "Repository — Primary", "type",
        "reference", "content", "The sandbox has no repository."));
    seed_v1_document(sandbox, seed);
    json_decref(seed);
}

void seed_v1_demo(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sizeof demo_agents / sizeof *demo_agents; i++)
        make_demo_agent_v1(sandbox, &demo_agents[i]);
    for (size_t i = 0; i < sizeof demo_tasks / sizeof *demo_tasks; i++)
        make_demo_task_v1(sandbox, &demo_tasks[i]);
    make_demo_document(sandbox);
}
