/*
 * Selects the agent and the session of a responses request as OpenClaw 2026.9.6 does
 * (docs/protocol.md, "Sessions and agents"): the agent by header, else by model; the session by
 * its key header, else by user, else a new one. A key of the form agent:ID:... overrides the
 * agent. Some mistakes are refused with a 400 before the run; others only make the run fail with a
 * 500, which the runtime must count as a failed run.
 */
#include "gateway_session.h"

#include <ctype.h>
#include <stdint.h>

#include "base/sync.h"
#include "memory.h"

json_t *gateway_session_agents(struct sandbox *sandbox)
{
    if (sandbox->settings.gateway_agents != NULL)
        return json_incref(sandbox->settings.gateway_agents);
    json_t *agents = memory_json(json_pack("[s]", "main"));
    const struct document *agent = NULL;
    TAILQ_FOREACH (agent, &sandbox->store.tables[TABLE_AGENTS], siblings) {
        json_array_append(agents, document_field(agent, "slug"));
    }
    return agents;
}

/* Walks the board rather than building a list of it: this is called for every request. */
static bool gateway_knows_agent(struct sandbox *sandbox, const char *agent)
{
    size_t index;
    const json_t *id;
    json_array_foreach (sandbox->settings.gateway_agents, index, id) {
        if (strcmp(json_string_value(id), agent) == 0)
            return true;
    }
    if (sandbox->settings.gateway_agents != NULL)
        return false;
    const struct document *document = NULL;
    TAILQ_FOREACH (document, &sandbox->store.tables[TABLE_AGENTS], siblings) {
        if (document_is(document, "slug", agent))
            return true;
    }
    return strcmp(agent, "main") == 0;
}

static size_t count_agents(const struct sandbox *sandbox)
{
    if (sandbox->settings.gateway_agents != NULL)
        return json_array_size(sandbox->settings.gateway_agents);
    return sandbox->store.counts[TABLE_AGENTS] + 1;
}

static char *copy_lower_case(const char *text)
{
    char *copy = memory_copy(text);
    for (char *at = copy; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    return copy;
}

/*
 * Returns the agent that a model string names: "" for none, NULL when it is not an OpenClaw model.
 */
static const char *agent_of_model(const char *model)
{
    static const char *const prefixes[] = {"openclaw:", "openclaw/", "agent:"};
    if (*model == '\0' || strcmp(model, "openclaw") == 0 || strcmp(model, "openclaw/default") == 0)
        return "";
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(model, prefixes[i], strlen(prefixes[i])) == 0)
            return model + strlen(prefixes[i]);
    return NULL;
}

static bool is_reserved(const char *key)
{
    static const char *const reserved[] = {"subagent:", "cron:", "acp:"};
    if (strncmp(key, "agent:", 6) == 0) {
        const char *rest = strchr(key + 6, ':');
        key = rest == NULL ? key : rest + 1;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strncmp(key, reserved[i], strlen(reserved[i])) == 0)
            return true;
    return false;
}

static void refuse_choice(struct session_choice *choice, const char *text)
{
    choice->status = 400;
    text_append(&choice->text, text);
}

/* Chooses the agent by header and model; false when the request is refused. */
static bool choose_agent(
    struct sandbox *sandbox, const struct session_request *request, struct session_choice *choice)
{
    const char *by_model = agent_of_model(request->model);
    if (by_model == NULL) {
        refuse_choice(choice, "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
        return false;
    }
    bool by_header = request->agent != NULL && *request->agent != '\0';
    choice->agent = copy_lower_case(by_header ? request->agent : by_model);
    if (*choice->agent == '\0' && count_agents(sandbox) > 1) {
        refuse_choice(choice,
            "Multiple agents are configured, but this operation has no explicit owner. "
            "Select an agent explicitly; pass an agent id or an agent-scoped model.");
        return false;
    }
    if (*choice->agent == '\0') {
        json_t *agents = gateway_session_agents(sandbox);
        free(choice->agent);
        choice->agent = memory_copy(json_string_value(json_array_get(agents, 0)));
        json_decref(agents);
    }
    if (gateway_knows_agent(sandbox, choice->agent))
        return true;
    struct text text = {0};
    text_printf(&text, "Unknown agent '%s'.", choice->agent);
    refuse_choice(choice, text.data);
    text_fini(&text);
    return false;
}

/* An agent-scoped key selects the agent; any other key requires a gateway with a single agent. */
static void choose_by_key(struct sandbox *sandbox, struct session_choice *choice)
{
    const char *colon =
        strncmp(choice->key, "agent:", 6) == 0 ? strchr(choice->key + 6, ':') : NULL;
    if (colon != NULL) {
        free(choice->agent);
        choice->agent = memory_copy_bytes(choice->key + 6, (size_t)(colon - (choice->key + 6)));
        if (!gateway_knows_agent(sandbox, choice->agent))
            choice->status = 500;
        return;
    }
    if (count_agents(sandbox) > 1) {
        choice->status = 500;
        return;
    }
    struct text key = {0};
    text_printf(&key, "agent:%s:%s", choice->agent, choice->key);
    free(choice->key);
    choice->key = text_take(&key);
}

void gateway_session_choose(
    struct sandbox *sandbox, const struct session_request *request, struct session_choice *choice)
{
    *choice = (struct session_choice){0};
    bool has_key = request->key != NULL && *request->key != '\0';
    choice->key = copy_lower_case(has_key ? request->key : "");
    if (has_key && is_reserved(choice->key)) {
        refuse_choice(
            choice, "`x-openclaw-session-key` cannot use reserved internal session namespaces.");
        return;
    }
    if (!choose_agent(sandbox, request, choice))
        return;
    if (has_key) {
        choose_by_key(sandbox, choice);
        return;
    }
    struct text key = {0};
    if (request->user != NULL && *request->user != '\0')
        text_printf(&key, "agent:%s:openresponses-user:%s", choice->agent, request->user);
    else
        text_printf(
            &key, "agent:%s:openresponses:%jx", choice->agent, (uintmax_t)clock_monotonic_us());
    free(choice->key);
    choice->key = text_take(&key);
}
