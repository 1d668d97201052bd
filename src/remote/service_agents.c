#include "remote/service_agents.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/text.h"

/* In minutes. Next to nothing would wake without end, so that is taken as no number is. */
static const double DEFAULT_INTERVAL = 5;
static const double LEAST_INTERVAL = 0.001;
static const double LONGEST_INTERVAL = 60.0 * 24 * 366;

static void copy_string(char *field, size_t field_bytes, const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    text_copy(field, field_bytes, value != NULL ? value : "");
}

static int64_t read_interval_ms(const json_t *item)
{
    double minutes = json_number_value(json_object_get(item, "heartbeatInterval"));
    if (!(minutes >= LEAST_INTERVAL))
        minutes = DEFAULT_INTERVAL;
    if (minutes > LONGEST_INTERVAL)
        minutes = LONGEST_INTERVAL;
    return (int64_t)(minutes * 60 * 1000);
}

static bool read_agent(const json_t *item, struct agent *agent)
{
    const char *id = json_guard_string(item, "_id");
    if (id == NULL || !id_is_valid(id))
        return false;
    copy_string(agent->id, sizeof agent->id, item, "_id");
    copy_string(agent->slug, sizeof agent->slug, item, "slug");
    copy_string(agent->name, sizeof agent->name, item, "name");
    copy_string(agent->session_key, sizeof agent->session_key, item, "sessionKey");
    agent->heartbeat_interval_ms = read_interval_ms(item);
    return true;
}

enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error)
{
    static const char action[] = "listAgents";
    *list = (struct agent_list){0};
    if (!json_is_array(value)) {
        error_set(error, ERROR_REMOTE, "%s: the answer is no array", action);
        return CONVEX_UNAVAILABLE;
    }
    list->agents = calloc(json_array_size(value) + 1, sizeof *list->agents);
    if (list->agents == NULL) {
        error_set(error, ERROR_NO_MEMORY, "%s: no memory for the agents", action);
        return CONVEX_UNAVAILABLE;
    }
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (read_agent(item, &list->agents[list->count]))
            list->count++;
        else
            list->refused++;
    }
    return CONVEX_SUCCESS;
}

void agent_list_fini(struct agent_list *list)
{
    free(list->agents);
    *list = (struct agent_list){0};
}

enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome =
        convex_call(service, "listAgents", json_object(), CONVEX_LIST, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    outcome = agent_list_read(value, list, error);
    json_decref(value);
    return outcome;
}

enum convex_outcome service_agent_is_online(
    const struct service *service, const char *agent_id, struct error *error)
{
    return service_call_for_effect(service, "updateAgentHeartbeat",
        json_pack("{s:s, s:s}", "agentId", agent_id, "status", "online"), CONVEX_PLAIN, error);
}
