/* What is made from the table of tools, and a row more, which has to be seen everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "../lib/tool_fixture.h"
#include "agent_tools/arguments.h"
#include "agent_tools/handlers.h"
#include "base/json.h"
#include "base/text.h"
#include "telemetry/metrics.h"

static const struct tool_audience nobody = {0};

/* The names of the tools that an audience is offered, separated by blanks, for the caller to free.
 */
static char *offered_names(const struct tool_audience *audience, bool by_http)
{
    struct board_action actions[TOOLS_MAX];
    struct text names = {0};
    size_t count = tool_actions(&tool_catalog, audience, by_http, actions);
    for (size_t i = 0; i < count; i++)
        text_printf(&names, "%s%s", i > 0 ? " " : "", actions[i].name);
    return text_take(&names);
}

static void expect_offer(const struct tool_audience *audience, bool by_http, const char *expected)
{
    char *names = offered_names(audience, by_http);
    assert_string_equal(names, expected);
    free(names);
}

#define ORCHESTRATORS_TOOLS \
    "task_assign task_message task_list task_get task_thread task_search task_delete task_link_pr"

static void test_who_is_offered_what(void **state)
{
    (void)state;
    /* The flags that agents have by default. */
    struct tool_audience audience = {.flags = {.can_modify_task_status = true,
                                         .can_create_documents = true,
                                         .can_mention_agents = true},
        .has_task = true};
    expect_offer(&audience, false,
        "task_status task_update document_upsert document_list response_request get_agent_skills "
        "task_load task_history");
    expect_offer(&audience, true,
        "task_status task_update document_upsert document_list response_request get_agent_skills "
        "task_load");
    audience.is_orchestrator = true;
    expect_offer(&audience, false,
        "task_status task_update document_upsert document_list response_request get_agent_skills "
        "task_load task_history " ORCHESTRATORS_TOOLS);
    audience = (struct tool_audience){.flags = {.can_create_documents = true}};
    expect_offer(&audience, false, "document_upsert document_list get_agent_skills task_load");
    audience = (struct tool_audience){.flags = {.can_create_tasks = true}};
    expect_offer(&audience, false, "task_create get_agent_skills task_load");
    audience = (struct tool_audience){.has_task = true};
    expect_offer(&audience, false, "document_list get_agent_skills task_load task_history");
    expect_offer(&nobody, false, "get_agent_skills task_load");
}

static void test_seventeen_tools_sixteen_endpoints(void **state)
{
    (void)state;
    size_t paths = 0;
    assert_int_equal(tool_catalog.count, 17);
    for (size_t i = 0; i < tool_catalog.count; i++) {
        const struct tool *tool = &tool_catalog.tools[i];
        assert_ptr_equal(tool_find(&tool_catalog, tool->name), tool);
        if (tool->path == NULL)
            continue;
        paths++;
        assert_ptr_equal(tool_find_path(&tool_catalog, tool->path), tool);
        assert_int_equal(strncmp(tool->path, "/agent/", 7), 0);
    }
    assert_int_equal(paths, 16);
    assert_null(tool_find(&tool_catalog, "task"));
    assert_null(tool_find_path(&tool_catalog, "/agent/task-history"));
    assert_string_equal(tool_find_path(&tool_catalog, "/agent/document")->name, "document_upsert");
}

/* A request with a name that the gateway has itself fails as a whole. */
static void test_names_are_possible(void **state)
{
    (void)state;
    static const char *const taken[] = {"exec", "read", "write", "edit", "apply_patch", "ls",
        "process", "message", "web_search", "web_fetch", "sessions_send", "sessions_list",
        "sessions_spawn", "session_status", "tool_call", "tool_search", "tool_describe", "openclaw",
        "cron", "nodes", "agents_list", "gateway", "automations", "browser", "memory_search",
        "update_plan", "image", "canvas"};
    for (size_t i = 0; i < tool_catalog.count; i++) {
        const char *name = tool_catalog.tools[i].name;
        assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
        assert_in_range(strlen(name), 1, 64);
        for (size_t j = 0; j < sizeof taken / sizeof taken[0]; j++)
            assert_true(strcasecmp(name, taken[j]) != 0);
    }
}

/* The documents and the checks rely on it. */
static void test_rows_are_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < tool_catalog.count; i++) {
        const struct tool *tool = &tool_catalog.tools[i];
        assert_non_null(tool->description);
        assert_non_null(tool->label);
        assert_non_null(tool->offered_to);
        assert_non_null(tool->answer);
        assert_non_null(tool->handle);
        assert_true(tool->is_permitted == NULL || tool->forbidden != NULL);
        for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++) {
            assert_non_null(each->description);
            assert_true(each->type != PARAMETER_WORD || each->words != NULL);
            if (each->type == PARAMETER_LIMIT || each->type == PARAMETER_PRIORITY)
                assert_true(each->max > each->min);
        }
    }
}

static const json_t *find_schema(const json_t *schemas, const char *name)
{
    size_t index;
    const json_t *schema;
    json_array_foreach (schemas, index, schema) {
        if (strcmp(json_guard_string(schema, "name"), name) == 0)
            return schema;
    }
    fail_msg("no schema of %s", name);
    return NULL;
}

static const json_t *find_property(const json_t *schema, const char *name)
{
    const json_t *parameters = json_object_get(schema, "parameters");
    return json_object_get(json_object_get(parameters, "properties"), name);
}

/* The tools that the audience is offered, as a new array. */
static json_t *offered_schemas(
    const struct tool_catalog *catalog, const struct tool_audience *audience)
{
    struct tool_menu menu;
    struct error error;
    const char *offered[TOOLS_MAX + 1];
    json_t *schemas = json_array();
    assert_int_equal(tool_menu_init(&menu, catalog, &error), 0);
    tool_menu_list(&menu, audience, offered);
    for (size_t i = 0; offered[i] != NULL; i++)
        assert_int_equal(json_array_append_new(schemas, json_loads(offered[i], 0, NULL)), 0);
    tool_menu_fini(&menu);
    return schemas;
}

/* The gateway refuses a tool with any other key. */
static void test_schemas_are_flat(void **state)
{
    (void)state;
    json_t *schemas = offered_schemas(&tool_catalog, &tool_fixture_orchestrator);
    assert_int_equal(json_array_size(schemas), 17);
    size_t index;
    json_t *schema;
    json_array_foreach (schemas, index, schema) {
        assert_int_equal(json_object_size(schema), 4);
        assert_string_equal(json_guard_string(schema, "type"), "function");
        assert_non_null(json_guard_string(schema, "name"));
        assert_non_null(json_guard_string(schema, "description"));
        assert_true(json_guard_is(json_object_get(schema, "parameters"), "type", "object", ""));
    }
    const json_t *create = find_schema(schemas, "task_create");
    tool_value_must_be(
        json_object_get(json_object_get(create, "parameters"), "required"), "['title']");
    tool_value_must_be(json_object_get(find_property(create, "status"), "enum"),
        "['inbox','assigned','in_progress','review','done','blocked','archived']");
    tool_value_must_be(
        json_object_get(find_property(create, "labels"), "items"), "{'type':'string'}");
    assert_true(json_guard_is(find_property(create, "dueDate"), "type", "number", ""));
    assert_true(json_guard_is(find_property(create, "priority"), "type", "number", ""));
    json_decref(schemas);
}

static void test_done_is_offered_to_those_who_may(void **state)
{
    (void)state;
    struct tool_audience audience = tool_fixture_worker;
    for (int i = 0; i < 2; i++) {
        audience.may_mark_done = i == 1;
        json_t *schemas = offered_schemas(&tool_catalog, &audience);
        const char *words = audience.may_mark_done ? "['in_progress','review','done','blocked']"
                                                   : "['in_progress','review','blocked']";
        static const char *const names[] = {"task_status", "task_update"};
        for (size_t j = 0; j < 2; j++)
            tool_value_must_be(
                json_object_get(find_property(find_schema(schemas, names[j]), "status"), "enum"),
                words);
        json_decref(schemas);
    }
}

static void test_list_may_be_empty(void **state)
{
    static const struct tool_catalog empty_catalog = {0};
    (void)state;
    json_t *schemas = offered_schemas(&empty_catalog, &nobody);
    assert_int_equal(json_array_size(schemas), 0);
    json_decref(schemas);
}

static void test_menu_without_memory(void **state)
{
    (void)state;
    struct tool_menu menu;
    struct error error;
    bool fired = true;
    for (unsigned nth = 1; fired; nth += 7) {
        alloc_fault_arm(nth);
        int result = tool_menu_init(&menu, &tool_catalog, &error);
        fired = alloc_fault_fired();
        alloc_fault_disarm();
        assert_int_equal(result, fired ? ERROR_NO_MEMORY : 0);
        tool_menu_fini(&menu);
    }
}

/* People copy the examples of the documents. */
static void test_examples_are_right(void **state)
{
    (void)state;
    const struct tool_call call = {
        .task_id = "", .audience = tool_fixture_orchestrator, .by_http = true};
    for (size_t i = 0; i < tool_catalog.count; i++) {
        const struct tool *tool = &tool_catalog.tools[i];
        struct argument_problem problem;
        json_t *checked = NULL;
        json_t *given = json_loads(tool->example, 0, NULL);
        assert_non_null(given);
        if (!arguments_check(tool, &call, given, &checked, &problem))
            fail_msg("%s: %s", tool->example, problem.text.data);
        json_t *ignored = arguments_ignored(tool, given);
        assert_null(ignored);
        text_fini(&problem.text);
        json_decref(checked);
        json_decref(given);
    }
}

/* A tool of the test's own: one row and one handler. */

static bool offer_wave(const struct tool_audience *audience)
{
    return audience->flags.can_mention_agents;
}

static void handle_wave(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    (void)call;
    tool_succeed_with_data(result, "waved", json_incref(json_object_get(arguments, "times")));
}

static const struct tool_parameter wave_parameters[] = {{.name = "times",
                                                            .description = "How often",
                                                            .type = PARAMETER_NUMBER,
                                                            .required = true,
                                                            .min = 1,
                                                            .max = 3},
    {.name = NULL}};

static const struct tool wave_row = {.name = "wave",
    .description = "Wave at everybody.",
    .label = "wave",
    .path = "/agent/wave",
    .parameters = wave_parameters,
    .is_offered = offer_wave,
    .offered_to = "everyone",
    .answer = "data.waved:number",
    .handle = handle_wave};

static const struct tool_catalog wave_catalog = {.tools = &wave_row, .count = 1};

static void test_new_row_is_offered(void **state)
{
    (void)state;
    struct board_action actions[TOOLS_MAX];
    json_t *schemas = offered_schemas(&wave_catalog, &tool_fixture_worker);
    tool_value_must_be(schemas,
        "[{'type':'function','name':'wave','description':'Wave at everybody.','parameters':{"
        "'type':'object','properties':{'times':{'type':'number','description':'How often'}},"
        "'required':['times']}}]");
    json_decref(schemas);
    assert_int_equal(tool_actions(&wave_catalog, &nobody, false, actions), 0);
    assert_int_equal(tool_actions(&wave_catalog, &tool_fixture_worker, true, actions), 1);
    assert_string_equal(actions[0].name, "wave");
    assert_string_equal(actions[0].label, "wave");
    assert_string_equal(actions[0].path, "/agent/wave");
}

static void test_new_row_is_called(void **state)
{
    (void)state;
    struct tool_call call = {.task_id = "", .audience = tool_fixture_worker};
    struct tool_result result;
    tool_run(&wave_catalog, &call, "wave", "{\"times\":2}", &result);
    tool_value_must_be(result.value, "{'success':true,'data':{'waved':2}}");
    json_decref(result.value);
    tool_run(&wave_catalog, &call, "wave", "{\"times\":4}", &result);
    tool_value_must_be(result.value,
        "{'success':false,'error':'Invalid times: must be a whole number from 1 to 3'}");
    json_decref(result.value);
    call.by_http = true;
    const struct tool *found = tool_find_path(&wave_catalog, "/agent/wave");
    tool_run_request(found, &call, "{}", 2, &result);
    assert_int_equal(result.status, 400);
    tool_value_must_be(result.value, "{'success':false,'error':'times is required'}");
    json_decref(result.value);
}

static bool metric_has(enum metric metric, size_t label, const char *value)
{
    const struct metric_label *labels = metric_families[metric].labels;
    for (size_t i = 0; i < labels[label].count; i++)
        if (strcmp(labels[label].values[i], value) == 0)
            return true;
    return false;
}

/* The metrics cannot see the table, so they have the words themselves; others count together. */
static void test_metrics_have_a_label_for_each_row(void **state)
{
    (void)state;
    size_t endpoints = 0;
    for (size_t i = 0; i < tool_catalog.count; i++) {
        const struct tool *tool = &tool_catalog.tools[i];
        if (!metric_has(METRIC_TOOL_CALLS, 0, tool->name))
            fail_msg("no label value for the tool %s", tool->name);
        endpoints += tool->path != NULL;
        if (tool->path != NULL &&
            !metric_has(METRIC_AGENT_API_REQUESTS, 0, tool->path + strlen("/agent/")))
            fail_msg("no label value for the endpoint %s", tool->path);
    }
    /* And one for all others. */
    assert_int_equal(metric_families[METRIC_TOOL_CALLS].labels[0].count, tool_catalog.count + 1);
    assert_int_equal(metric_families[METRIC_AGENT_API_REQUESTS].labels[0].count, endpoints + 1);
    for (int end = TOOL_SUCCEEDED; end <= TOOL_ABORTED; end++)
        assert_true(metric_has(METRIC_TOOL_CALLS, 1, tool_end_words[end]));
}

int main(void)
{
    json_guard_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_offered_what),
        cmocka_unit_test(test_seventeen_tools_sixteen_endpoints),
        cmocka_unit_test(test_names_are_possible),
        cmocka_unit_test(test_rows_are_complete),
        cmocka_unit_test(test_schemas_are_flat),
        cmocka_unit_test(test_done_is_offered_to_those_who_may),
        cmocka_unit_test(test_menu_without_memory),
        cmocka_unit_test(test_list_may_be_empty),
        cmocka_unit_test(test_examples_are_right),
        cmocka_unit_test(test_new_row_is_offered),
        cmocka_unit_test(test_new_row_is_called),
        cmocka_unit_test(test_metrics_have_a_label_for_each_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
