/*
 * Service actions of version 1 on agents: the list for deliveries and heartbeats, which opens each
 * agent's system session, the profiles that a runtime writes into workspaces, and skills. Texts of
 * a profile that an agent does not have are generated from its name and role.
 */
#include <time.h>

#include "account.h"
#include "base/json.h"
#include "memory.h"
#include "rows.h"
#include "service_v1.h"
#include "sessions.h"

/* The account's agents, or none while they are hidden. The caller frees the rows. */
static struct rows listed_agents(struct service_call *call)
{
    struct rows agents = {0};
    if (!call->sandbox->settings.hide_agents)
        rows_add_account(&agents, &call->sandbox->store, TABLE_AGENTS, call->account->id);
    return agents;
}

/* Returns the agent's document with its session and flags, as a new object. */
static json_t *describe_listed_agent(struct store *store, const struct document *agent)
{
    json_t *json = memory_json(json_copy(agent->fields));
    json_object_set_new(
        json, "systemSessionKey", memory_json(json_string(sessions_open(store, agent, NULL))));
    json_object_set_new(json, "effectiveBehaviorFlags", account_flags(store, agent));
    return json;
}

void service_v1_list_agents(struct service_call *call)
{
    json_t *list = memory_json(json_array());
    struct rows agents = listed_agents(call);
    for (size_t i = 0; i < agents.count; i++)
        json_array_append_new(list, describe_listed_agent(&call->sandbox->store, agents.items[i]));
    rows_fini(&agents);
    service_answer(call, list);
}

void service_v1_get_orchestrator(struct service_call *call)
{
    service_answer(call, json_pack("{s:s?}", "orchestratorAgentId",
                             account_orchestrator(&call->sandbox->store, call->account->id)));
}

static const json_t *skill_ids(const struct document *agent)
{
    return json_object_get(document_field(agent, "openclawConfig"), "skillIds");
}

/* The skill with that id, if it is enabled and belongs to the agent's account; else NULL. */
static const struct document *find_usable_skill(
    const struct store *store, const struct document *agent, const char *id)
{
    const struct document *skill = store_get(store, TABLE_SKILLS, id);
    if (skill == NULL || !json_is_true(document_field(skill, "isEnabled")) ||
        !document_is(skill, "accountId", document_string(agent, "accountId")))
        return NULL;
    return skill;
}

static json_t *resolve_skills(const struct store *store, const struct document *agent)
{
    static const char *const keys[] = {"_id", "name", "slug", "description", "contentMarkdown"};
    json_t *list = memory_json(json_array());
    size_t index;
    const json_t *id;
    json_array_foreach (skill_ids(agent), index, id) {
        const struct document *skill = find_usable_skill(store, agent, json_string_value(id));
        if (skill == NULL)
            continue;
        json_t *json = memory_json(json_object());
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (document_field(skill, keys[i]) != NULL)
                json_object_set(json, keys[i], document_field(skill, keys[i]));
        json_array_append_new(list, json);
    }
    return list;
}

/* Sets json[key] to the agent's text, or, if it has none, to one made of its name and role. */
static void set_effective_text(
    json_t *json, const char *key, const char *own, const struct document *agent, const char *title)
{
    const char *role = document_string(agent, "role");
    struct text text = {0};
    if (own != NULL && *own != '\0')
        text_append(&text, own);
    else
        text_printf(&text, "# %s\n\n%s (%s)\n", title, document_string(agent, "name"),
            role == NULL ? "no role" : role);
    json_object_set_new(json, key, memory_json_text(text.data));
    text_fini(&text);
}

static json_t *describe_profile(struct service_call *call, const struct document *agent)
{
    const json_t *settings = document_field(call->account, "settings");
    json_t *json = memory_json(json_pack("{s:s, s:O, s:O, s:O?, s:O*}", "_id", agent->id, "name",
        document_field(agent, "name"), "slug", document_field(agent, "slug"), "role",
        document_field(agent, "role"), "openclawConfig", document_field(agent, "openclawConfig")));
    set_effective_text(
        json, "effectiveSoulContent", document_string(agent, "soulContent"), agent, "Soul");
    set_effective_text(
        json, "effectiveUserMd", json_guard_string(settings, "userMd"), agent, "User");
    set_effective_text(json, "effectiveIdentityContent", document_string(agent, "identityContent"),
        agent, "Identity");
    json_object_set_new(json, "resolvedSkills", resolve_skills(&call->sandbox->store, agent));
    return json;
}

void service_v1_list_profiles(struct service_call *call)
{
    json_t *list = memory_json(json_array());
    struct rows agents = listed_agents(call);
    for (size_t i = 0; i < agents.count; i++)
        json_array_append_new(list, describe_profile(call, agents.items[i]));
    rows_fini(&agents);
    service_answer(call, list);
}

static json_t *describe_skills(const struct document *agent)
{
    char updated[32];
    const char *slug = document_string(agent, "slug");
    time_t created_s = (time_t)(document_number(agent, "createdAt") / 1000);
    struct tm utc;
    gmtime_r(&created_s, &utc);
    strftime(updated, sizeof updated, "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    json_t *ids = json_incref((json_t *)skill_ids(agent));
    if (ids == NULL)
        ids = memory_json(json_array());
    json_int_t count = (json_int_t)json_array_size(ids);
    return memory_json(json_pack("{s:s, s:o, s:I, s:s}", "agentId",
        slug != NULL && *slug != '\0' ? slug : agent->id, "skillIds", ids, "skillCount", count,
        "lastUpdated", updated));
}

/* Finds the agents asked about: one, or all. false means that the call has failed. */
static bool find_queried_agents(struct service_call *call, struct rows *agents)
{
    const struct store *store = &call->sandbox->store;
    const char *id = service_argument(call, "queryAgentId");
    if (id == NULL) {
        rows_add_account(agents, store, TABLE_AGENTS, call->account->id);
        return true;
    }
    struct document *agent = store_get(store, TABLE_AGENTS, id);
    if (agent == NULL)
        service_fail(call, "Not found: Target agent does not exist");
    else if (!service_owns(call, agent))
        service_fail(call, "Forbidden: Target agent belongs to different account");
    else
        rows_add(agents, agent);
    return agents->count > 0;
}

void service_v1_get_skills(struct service_call *call)
{
    const struct document *agent =
        store_get(&call->sandbox->store, TABLE_AGENTS, service_argument(call, "agentId"));
    struct rows agents = {0};
    if (agent == NULL) {
        service_fail(call, "Not found: Requesting agent does not exist");
    } else if (!service_owns(call, agent)) {
        service_fail(call, "Forbidden: Agent belongs to different account");
    } else if (find_queried_agents(call, &agents)) {
        json_t *list = memory_json(json_array());
        for (size_t i = 0; i < agents.count; i++)
            json_array_append_new(list, describe_skills(agents.items[i]));
        service_answer(call, list);
    }
    rows_fini(&agents);
}
