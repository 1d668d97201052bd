/*
 * Control routes with which people, or the page, make, change and remove agents of version 1: what
 * the board's own forms do. Unlike /sandbox/seed and /sandbox/set, which take anything so that
 * tests can build odd boards, they refuse what the board would refuse, and name the member.
 *
 * A request is checked as a whole before it changes anything. Texts keep the names that people
 * know: "soul" and "identity" are the agent's, "user" is the account's, so it is in the profiles of
 * all agents.
 */
#include "account.h"
#include "answer.h"
#include "base/json.h"
#include "board.h"
#include "board_find.h"
#include "control.h"
#include "memory.h"

enum { SLUG_LIMIT_BYTES = 64 };

static const double LONGEST_INTERVAL_MINUTES = 1e6;

/* What a member of a request has to be, and in which field of the agent it is kept. */
enum kind { KIND_TEXT, KIND_NAME, KIND_MINUTES, KIND_FLAGS, KIND_SKILLS, KIND_SWITCH };

static const char *const kind_words[] = {
    [KIND_TEXT] = "a string, or null for none",
    [KIND_NAME] = "a string that is not empty",
    [KIND_MINUTES] = "a number of minutes from 0 to 1000000",
    [KIND_FLAGS] = "an object of booleans",
    [KIND_SKILLS] = "an array of names of skills, or of objects with a slug",
    [KIND_SWITCH] = "true or false",
};

static const struct agent_member {
    const char *key;
    enum kind kind;
    const char *field; /* NULL: it is kept elsewhere */
} members[] = {
    {"slug", KIND_NAME, "slug"},
    {"name", KIND_NAME, "name"},
    {"role", KIND_NAME, "role"},
    {"icon", KIND_TEXT, "icon"},
    {"soul", KIND_TEXT, "soulContent"},
    {"identity", KIND_TEXT, "identityContent"},
    {"user", KIND_TEXT, NULL},
    {"model", KIND_NAME, NULL},
    {"heartbeatInterval", KIND_MINUTES, "heartbeatInterval"},
    {"flags", KIND_FLAGS, NULL},
    {"skills", KIND_SKILLS, NULL},
    {"orchestrator", KIND_SWITCH, NULL},
};

static bool are_flags(json_t *value)
{
    const char *name;
    json_t *flag;
    json_object_foreach (value, name, flag) {
        if (!json_is_boolean(flag))
            return false;
    }
    return json_is_object(value);
}

/* A skill is named, and then has to exist, or described, and is then made or changed. */
static bool is_skill(const struct store *store, const json_t *value)
{
    if (json_is_string(value))
        return board_find(store, TABLE_SKILLS, json_string_value(value)) != NULL;
    const char *slug = json_guard_string(value, "slug");
    return slug != NULL && *slug != '\0';
}

static bool are_skills(const struct store *store, const json_t *list)
{
    size_t index;
    const json_t *value;
    json_array_foreach (list, index, value) {
        if (!is_skill(store, value))
            return false;
    }
    return json_is_array(list);
}

static bool fits_member(const struct store *store, enum kind kind, json_t *value)
{
    double number;
    switch (kind) {
    case KIND_TEXT:
        return json_is_string(value) || json_is_null(value);
    case KIND_NAME:
        return json_is_string(value) && json_string_length(value) > 0;
    case KIND_MINUTES:
        return json_guard_number(value, 0, LONGEST_INTERVAL_MINUTES, &number);
    case KIND_FLAGS:
        return are_flags(value);
    case KIND_SKILLS:
        return are_skills(store, value);
    case KIND_SWITCH:
        return json_is_boolean(value);
    }
    return false;
}

static const struct agent_member *find_member(const char *key)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (strcmp(members[i].key, key) == 0)
            return &members[i];
    return NULL;
}

/* Whether slug is well formed and no agent's but that of agent (NULL: of nobody). */
static bool check_slug(const struct store *store, struct exchange *exchange, const char *slug,
    const struct document *agent)
{
    static const char allowed[] = TEXT_LETTERS TEXT_DIGITS "-_";
    size_t length = strlen(slug);
    if (length > SLUG_LIMIT_BYTES || strspn(slug, allowed) != length) {
        answer_refusal(exchange, 400, "BadValue",
            "slug must be 1 to %d letters, digits, - and _, not \"%s\"", SLUG_LIMIT_BYTES, slug);
        return false;
    }
    const struct document *other = NULL;
    TAILQ_FOREACH (other, &store->tables[TABLE_AGENTS], siblings) {
        if (other != agent && document_is(other, "slug", slug)) {
            answer_refusal(exchange, 400, "BadValue",
                "there is an agent with the slug %s already; choose another", slug);
            return false;
        }
    }
    return true;
}

/* Whether all members can be applied to agent (NULL: a new one); if not, exchange is answered. */
static bool check_members(struct sandbox *sandbox, struct exchange *exchange, const json_t *body,
    const struct document *agent)
{
    const struct store *store = &sandbox->store;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)body, key, value) {
        if (agent != NULL && strcmp(key, "agent") == 0)
            continue;
        const struct agent_member *member = find_member(key);
        if (member == NULL) {
            answer_refusal(exchange, 400, "BadValue", "agents have no member %s", key);
            return false;
        }
        if (!fits_member(store, member->kind, value)) {
            answer_refusal(
                exchange, 400, "BadValue", "%s must be %s", key, kind_words[member->kind]);
            return false;
        }
    }
    const char *slug = json_guard_string(body, "slug");
    if (slug != NULL)
        return check_slug(store, exchange, slug, agent);
    if (agent == NULL)
        answer_refusal(exchange, 400, "BadValue", "slug is missing: the name that mentions use");
    return agent != NULL;
}

/* Returns the skill that value names, made or changed as value describes it. */
static const struct document *apply_skill(struct sandbox *sandbox, json_t *value)
{
    struct store *store = &sandbox->store;
    if (json_is_string(value))
        return board_find(store, TABLE_SKILLS, json_string_value(value));
    struct document *skill = board_find(store, TABLE_SKILLS, json_guard_string(value, "slug"));
    if (skill == NULL)
        return board_make_skill(sandbox, value);
    static const char *const keys[] = {"name", "description", "contentMarkdown", "isEnabled"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *given = json_object_get(value, keys[i]);
        if (given != NULL && board_accepts(document_field(skill, keys[i]), given))
            store_set(store, skill, keys[i], json_incref(given));
    }
    return skill;
}

static json_t *apply_skills(struct sandbox *sandbox, const json_t *list)
{
    json_t *ids = memory_json(json_array());
    size_t index;
    json_t *value;
    json_array_foreach (list, index, value) {
        json_array_append_new(ids, memory_json(json_string(apply_skill(sandbox, value)->id)));
    }
    return ids;
}

/* Applies what is kept in the agent's configuration: model, flags and skills. */
static void apply_configuration(struct sandbox *sandbox, struct document *agent, const json_t *body)
{
    json_t *config = memory_json(json_deep_copy(document_field(agent, "openclawConfig")));
    json_t *model = json_object_get(body, "model");
    json_t *flags = json_object_get(body, "flags");
    const json_t *skills = json_object_get(body, "skills");
    if (model != NULL)
        json_object_set(config, "model", model);
    if (flags != NULL)
        json_object_update(json_object_get(config, "behaviorFlags"), flags);
    if (skills != NULL)
        json_object_set_new(config, "skillIds", apply_skills(sandbox, skills));
    store_set(&sandbox->store, agent, "openclawConfig", config);
}

/* Applies what is kept in the account's settings: the users' text, and who is the orchestrator. */
static void apply_settings(struct store *store, const struct document *agent, const json_t *body)
{
    struct document *account =
        store_get(store, TABLE_ACCOUNTS, document_string(agent, "accountId"));
    json_t *user = json_object_get(body, "user");
    const json_t *orchestrator = json_object_get(body, "orchestrator");
    if (user != NULL)
        account_set(store, account, "userMd", json_is_null(user) ? NULL : json_incref(user));
    if (json_is_true(orchestrator))
        account_set(store, account, "orchestratorAgentId", memory_json(json_string(agent->id)));
    else if (orchestrator != NULL && account_is_orchestrator(store, agent))
        account_set(store, account, "orchestratorAgentId", NULL);
}

static void apply_members(struct sandbox *sandbox, struct document *agent, const json_t *body)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_t *value = json_object_get(body, members[i].key);
        if (value != NULL && members[i].field != NULL)
            store_set(&sandbox->store, agent, members[i].field,
                json_is_null(value) ? NULL : json_incref(value));
    }
    apply_configuration(sandbox, agent, body);
    apply_settings(&sandbox->store, agent, body);
}

static void answer_agent(struct exchange *exchange, const struct document *agent)
{
    answer_json(exchange, 200,
        json_pack("{s:s, s:O, s:O}", "id", agent->id, "slug", document_field(agent, "slug"),
            "skillIds", json_object_get(document_field(agent, "openclawConfig"), "skillIds")));
}

void control_make_agent(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    if (!control_require_v1(sandbox, exchange) || !check_members(sandbox, exchange, body, NULL))
        return;
    json_t *named = memory_json(json_pack("{s:O}", "slug", json_object_get(body, "slug")));
    struct document *agent = board_make_agent(sandbox, named);
    json_decref(named);
    apply_members(sandbox, agent, body);
    answer_agent(exchange, agent);
}

/* The agent that body names; NULL with exchange answered if there is none, or on version 0. */
static struct document *find_agent_or_refuse(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    if (!control_require_v1(sandbox, exchange))
        return NULL;
    struct document *agent =
        board_find(&sandbox->store, TABLE_AGENTS, json_guard_string(body, "agent"));
    if (agent == NULL)
        answer_refusal(exchange, 404, "NotFound", "agent matches nothing in agents");
    return agent;
}

void control_change_agent(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *agent = find_agent_or_refuse(sandbox, exchange, body);
    if (agent == NULL || !check_members(sandbox, exchange, body, agent))
        return;
    apply_members(sandbox, agent, body);
    answer_agent(exchange, agent);
}

void control_remove_agent(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct store *store = &sandbox->store;
    struct document *agent = find_agent_or_refuse(sandbox, exchange, body);
    if (agent == NULL)
        return;
    if (account_is_orchestrator(store, agent))
        account_set(store, store_get(store, TABLE_ACCOUNTS, document_string(agent, "accountId")),
            "orchestratorAgentId", NULL);
    answer_json(
        exchange, 200, json_pack("{s:I}", "deleted", (json_int_t)board_remove(store, agent)));
}
