/*
 * A context lists agents twice, those of the account and those of the task, as objects with id,
 * slug, name and role. Nothing in them can be relied on: an item of another type is passed over,
 * and a missing field is empty.
 */
#include "prompt/people.h"

#include <string.h>

#include "base/json.h"
#include "prompt/framing.h"

static bool has_id(const json_t *agent, const char *id)
{
    const char *found = json_guard_string(agent, "id");
    return found != NULL && strcmp(found, id) == 0;
}

const json_t *people_find(const json_t *agents, const char *id)
{
    size_t index;
    const json_t *agent;
    json_array_foreach (agents, index, agent)
        if (has_id(agent, id))
            return agent;
    return NULL;
}

bool people_share_task(const struct delivery_context *context, const char *agent_id)
{
    return json_array_size(context->assigned_agents) >= 2 &&
           people_find(context->assigned_agents, agent_id) != NULL;
}

void people_append_mention(struct text *text, const json_t *agent)
{
    const char *slug = json_guard_string(agent, "slug");
    if (slug != NULL && slug[0] != '\0') {
        text_append(text, "@");
        framing_append_field(text, agent, "slug");
    } else {
        text_append(text, "@\"");
        framing_append_field(text, agent, "name");
        text_append(text, "\"");
    }
}

size_t people_append_others(struct text *text, const json_t *agents, const char *but_id)
{
    size_t count = 0;
    size_t index;
    const json_t *agent;
    json_array_foreach (agents, index, agent) {
        if (!json_is_object(agent) || has_id(agent, but_id))
            continue;
        if (count++ > 0)
            text_append(text, ", ");
        people_append_mention(text, agent);
    }
    return count;
}
