/*
 * Agents name each other by slugs, in any case and often with the "@" of a mention. The backend's
 * functions want ids, so slugs are looked up among the account's agents (listAgents), which reads
 * only. One unknown slug makes the whole call fail before anything is changed, and is named.
 */
#include "agent_tools/slugs.h"

#include <string.h>
#include <strings.h>

#include "agent_tools/handlers.h"
#include "base/text.h"

enum { UNPROCESSABLE = 422 };

static struct text_span clean_slug(const char *bytes, size_t length_bytes)
{
    struct text_span slug = text_trim(bytes, length_bytes);
    if (slug.length_bytes > 0 && slug.bytes[0] == '@')
        slug = text_trim(slug.bytes + 1, slug.length_bytes - 1);
    return slug;
}

json_t *slugs_clean(const json_t *slugs)
{
    json_t *cleaned = json_array();
    size_t index;
    const json_t *item;
    json_array_foreach (slugs, index, item) {
        struct text_span slug = clean_slug(json_string_value(item), json_string_length(item));
        if (slug.length_bytes == 0 ||
            json_array_append_new(cleaned, json_stringn(slug.bytes, slug.length_bytes)) == 0)
            continue;
        json_decref(cleaned);
        return NULL;
    }
    return cleaned;
}

/* Ids are taken as well, as some answers of the board have nothing else. */
static const char *find_agent_id(const struct agent_list *list, const char *slug)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcasecmp(list->agents[i].slug, slug) == 0)
            return list->agents[i].id;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->agents[i].id, slug) == 0)
            return list->agents[i].id;
    return NULL;
}

static bool has_text(const json_t *texts, const char *text)
{
    size_t index;
    const json_t *item;
    json_array_foreach (texts, index, item) {
        if (strcmp(json_string_value(item), text) == 0)
            return true;
    }
    return false;
}

/* Adds the ids of the slugs, or names the unknown ones. Returns whether memory sufficed. */
static bool look_up_slugs(const struct agent_list *list, const json_t *slugs, const char *except,
    json_t *ids, struct text *unknown)
{
    size_t index;
    const json_t *item;
    json_array_foreach (slugs, index, item) {
        const char *id = find_agent_id(list, json_string_value(item));
        if (id == NULL)
            text_printf(
                unknown, "%s%s", unknown->length_bytes > 0 ? ", " : "", json_string_value(item));
        else if (!has_text(ids, id) && (except == NULL || strcmp(id, except) != 0) &&
                 json_array_append_new(ids, json_string(id)) != 0)
            return false;
    }
    return ids != NULL && !unknown->failed;
}

/* Takes the reference to slugs; label is what unknown ones are called. */
static json_t *resolve_cleaned(const struct tool_call *call, json_t *slugs, const char *except,
    const char *label, struct tool_result *result)
{
    static const struct backend_action list_agents = {
        .name = "listAgents", .hint = "the account's agents cannot be listed"};
    json_t *value;
    if (!tool_invoke(call, &list_agents, json_object(), &value, result)) {
        json_decref(slugs);
        return NULL;
    }
    struct agent_list list = {0};
    struct error error;
    struct text unknown = {0};
    json_t *ids = json_array();
    bool is_listed = slugs != NULL && agent_list_read(value, &list, &error) == CONVEX_SUCCESS &&
                     look_up_slugs(&list, slugs, except, ids, &unknown);
    json_decref(value);
    json_decref(slugs);
    agent_list_fini(&list);
    bool is_known = is_listed && unknown.length_bytes == 0;
    if (!is_listed)
        tool_fail_unavailable(call, TOOL_UNAVAILABLE, result);
    else if (!is_known)
        tool_fail(result, TOOL_REFUSED, UNPROCESSABLE, "%s: %s", label, unknown.data);
    text_fini(&unknown);
    if (is_known)
        return ids;
    json_decref(ids);
    return NULL;
}

json_t *slugs_resolve(const struct tool_call *call, const json_t *slugs, const char *except,
    struct tool_result *result)
{
    return resolve_cleaned(call, slugs_clean(slugs), except, "Unknown assignee slugs", result);
}

json_t *slug_resolve(
    const struct tool_call *call, const char *slug, const char *label, struct tool_result *result)
{
    json_t *slugs = json_pack("[s]", slug);
    json_t *cleaned = slugs_clean(slugs);
    json_decref(slugs);
    json_t *ids = resolve_cleaned(call, cleaned, NULL, label, result);
    if (ids == NULL)
        return NULL;
    json_t *id = json_incref(json_array_get(ids, 0));
    json_decref(ids);
    if (id == NULL)
        tool_fail(result, TOOL_REFUSED, UNPROCESSABLE, "%s: %s", label, slug);
    return id;
}
