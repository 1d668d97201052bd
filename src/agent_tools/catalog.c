/*
 * What is made from the table of tools: look-ups, the schemas that go to the gateway, and the list
 * of capabilities for the prompt. The rows are in catalog_table.c.
 *
 * A schema is flat, {type, name, description, parameters}, as the gateway accepts no other key. It
 * promises no more than is certain to be checked elsewhere: the checks that count are those of
 * arguments.c, because the gateway looks at types only in some of its modes. Ranges of row counts
 * are left out for that reason: such a number is clamped, and a gateway that knew the range would
 * refuse it. A priority is offered as a number alone, since not every provider of models takes a
 * parameter of two types; its words are understood all the same.
 *
 * Everything here is pure, apart from allocating, and may be called by any thread.
 */
#include "agent_tools/catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

const struct tool *tool_find(const struct tool_catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->count; i++)
        if (strcmp(catalog->tools[i].name, name) == 0)
            return &catalog->tools[i];
    return NULL;
}

const struct tool *tool_find_path(const struct tool_catalog *catalog, const char *path)
{
    for (size_t i = 0; i < catalog->count; i++)
        if (catalog->tools[i].path != NULL && strcmp(catalog->tools[i].path, path) == 0)
            return &catalog->tools[i];
    return NULL;
}

/* Appends the words that the audience may use. Returns whether all of them were appended. */
static bool append_words(
    json_t *words, const struct tool_parameter *parameter, const struct tool_audience *audience)
{
    for (const char *const *word = parameter->words; *word != NULL; word++) {
        bool needs_right = parameter->done_needs_right && strcmp(*word, "done") == 0;
        if ((!needs_right || audience->may_mark_done) &&
            json_array_append_new(words, json_string(*word)) != 0)
            return false;
    }
    return true;
}

/* NULL without memory. */
static json_t *make_words_schema(
    const struct tool_parameter *parameter, const struct tool_audience *audience)
{
    json_t *words = json_array();
    if (words != NULL && append_words(words, parameter, audience))
        return json_pack("{s:s, s:o}", "type", "string", "enum", words);
    json_decref(words);
    return NULL;
}

static json_t *make_type_schema(
    const struct tool_parameter *parameter, const struct tool_audience *audience)
{
    switch (parameter->type) {
    case PARAMETER_WORD:
        return make_words_schema(parameter, audience);
    case PARAMETER_NUMBER:
    case PARAMETER_LIMIT:
        return json_pack("{s:s}", "type", "number");
    case PARAMETER_PRIORITY:
        return json_pack("{s:s, s:i, s:i}", "type", "number", "minimum", 1, "maximum", 5);
    case PARAMETER_TEXTS:
        return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    case PARAMETER_TEXT:
    case PARAMETER_ID:
        break;
    }
    return json_pack("{s:s}", "type", "string");
}

/* Adds a parameter to the properties and, if it is required, to the list of those. */
static bool add_parameter_schema(const struct tool_parameter *parameter,
    const struct tool_audience *audience, json_t *properties, json_t *required)
{
    json_t *schema = make_type_schema(parameter, audience);
    if (json_object_set_new(schema, "description", json_string(parameter->description)) != 0) {
        json_decref(schema);
        return false;
    }
    return json_object_set_new(properties, parameter->name, schema) == 0 &&
           (!parameter->required ||
               json_array_append_new(required, json_string(parameter->name)) == 0);
}

static json_t *make_tool_schema(const struct tool *tool, const struct tool_audience *audience)
{
    json_t *properties = json_object();
    json_t *required = json_array();
    bool complete = properties != NULL && required != NULL;
    for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++)
        complete = complete && add_parameter_schema(each, audience, properties, required);
    if (complete)
        return json_pack("{s:s, s:s, s:s, s:{s:s, s:o, s:o}}", "type", "function", "name",
            tool->name, "description", tool->description, "parameters", "type", "object",
            "properties", properties, "required", required);
    json_decref(properties);
    json_decref(required);
    return NULL;
}

/* The same as text; NULL without memory. */
static char *write_tool_schema(const struct tool *tool, bool may_mark_done)
{
    json_t *schema =
        make_tool_schema(tool, &(struct tool_audience){.may_mark_done = may_mark_done});
    char *written = schema != NULL ? json_write(schema) : NULL;
    json_decref(schema);
    return written;
}

int tool_menu_init(struct tool_menu *menu, const struct tool_catalog *catalog, struct error *error)
{
    assert(catalog->count <= TOOLS_MAX);
    *menu = (struct tool_menu){.catalog = catalog};
    for (size_t i = 0; i < catalog->count; i++) {
        for (int may_mark_done = 0; may_mark_done < 2; may_mark_done++) {
            char *schema = write_tool_schema(&catalog->tools[i], may_mark_done == 1);
            menu->schemas[i][may_mark_done] = schema;
            if (schema == NULL)
                return error_set(error, ERROR_NO_MEMORY, "no memory for the agents' tools");
        }
    }
    return 0;
}

void tool_menu_fini(struct tool_menu *menu)
{
    for (size_t i = 0; i < TOOLS_MAX; i++) {
        free(menu->schemas[i][0]);
        free(menu->schemas[i][1]);
    }
    *menu = (struct tool_menu){0};
}

void tool_menu_list(const struct tool_menu *menu, const struct tool_audience *audience,
    const char *schemas[static TOOLS_MAX + 1])
{
    size_t count = 0;
    for (size_t i = 0; i < menu->catalog->count; i++)
        if (menu->catalog->tools[i].is_offered(audience))
            schemas[count++] = menu->schemas[i][audience->may_mark_done ? 1 : 0];
    schemas[count] = NULL;
}

size_t tool_actions(const struct tool_catalog *catalog, const struct tool_audience *audience,
    bool by_http, struct board_action *actions)
{
    assert(catalog->count <= TOOLS_MAX);
    size_t count = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct tool *tool = &catalog->tools[i];
        if (!tool->is_offered(audience) || (by_http && tool->path == NULL))
            continue;
        actions[count++] =
            (struct board_action){.name = tool->name, .label = tool->label, .path = tool->path};
    }
    return count;
}
