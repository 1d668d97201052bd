/*
 * The table of options, .env.example, docs/configuration.md and --help agree. The documents
 * contain tables that the program renders; a test that fails prints the text that the file must
 * contain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/test_file.h"
#include "base/io.h"
#include "config/config.h"
#include "config/env_file.h"
#include "config/options.h"
#include "config/usage.h"
#include "config/values.h"

/* Returns where part is in whole; fails the test, printing part, if it is not. */
static const char *find_or_fail(const char *whole, const char *part, const char *path)
{
    const char *found = strstr(whole, part);
    if (found == NULL)
        fail_msg("%s must contain:\n%s", path, part);
    return found;
}

/* Names, kinds, bounds and defaults a second time, so that no change to them is accidental. */
static const struct {
    const char *name;
    unsigned kind;
    const char *fallback;
    int64_t min, max;
} expected[] = {
    {"ACCOUNT_ID", OPTION_TEXT, NULL, 0, 0},
    {"CONVEX_URL", OPTION_URL, NULL, 0, 0},
    {"SERVICE_TOKEN", OPTION_TEXT, NULL, 0, 0},
    {"CA_FILE", OPTION_PATH, NULL, 0, 0},
    {"ALLOW_PLAIN_HTTP", OPTION_BOOLEAN, "false", 0, 0},
    {"BACKEND_VERSION", OPTION_CHOICE, "auto", 0, 0},
    {"OPENCLAW_GATEWAY_URL", OPTION_URL, "http://127.0.0.1:18789", 0, 0},
    {"OPENCLAW_GATEWAY_TOKEN", OPTION_TEXT, NULL, 0, 0},
    {"OPENCLAW_GENERATED_TOKEN_FILE", OPTION_PATH, NULL, 0, 0},
    {"OPENCLAW_GATEWAY_COMMAND", OPTION_TEXT, NULL, 0, 0},
    {"OPENCLAW_REQUEST_TIMEOUT_MS", OPTION_DURATION, "60000", 100, 3600000},
    {"OPENCLAW_VERSION", OPTION_TEXT, NULL, 0, 0},
    {"OPENCLAW_FALLBACK_AGENT", OPTION_TEXT, NULL, 0, 0},
    {"OPENCLAW_CLIENT_TOOLS_ENABLED", OPTION_BOOLEAN, "true", 0, 0},
    {"OPENCLAW_PROFILE_SYNC", OPTION_BOOLEAN, "false", 0, 0},
    {"OPENCLAW_WORKSPACE_ROOT", OPTION_PATH, "/root/clawd/agents", 0, 0},
    {"OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY", OPTION_PATH, NULL, 0, 0},
    {"OPENCLAW_AGENTS_FILE", OPTION_PATH, NULL, 0, 0},
    {"DELIVERY_INTERVAL", OPTION_DURATION, "5000", 10, 86400000},
    {"DELIVERY_INTERVAL_ACTIVE", OPTION_DURATION, NULL, 10, 86400000},
    {"DELIVERY_INTERVAL_IDLE", OPTION_DURATION, NULL, 10, 86400000},
    {"DELIVERY_MAX_CONCURRENT_SESSIONS", OPTION_NUMBER, "10", 1, 256},
    {"DELIVERY_LANES", OPTION_CHOICE, "auto", 0, 0},
    {"DELIVERY_STREAM_TIMEOUT_MS", OPTION_DURATION, NULL, 5000, 3600000},
    {"DELIVERY_MAX_TOOL_ROUNDS", OPTION_NUMBER, "12", 1, 100},
    {"DELIVERY_LIST_LIMIT", OPTION_NUMBER, "50", 1, 500},
    {"DELIVERY_CONTEXT_FETCH_BATCH_SIZE", OPTION_NUMBER, "15", 1, 50},
    {"DELIVERY_QUEUE_CAPACITY", OPTION_NUMBER, "1024", 16, 65536},
    {"DELIVERY_MAX_RUNS", OPTION_NUMBER, "4", 1, 100},
    {"DELIVERY_GIVE_UP_AFTER_MS", OPTION_DURATION, "86400000", 100, 2592000000},
    {"DELIVERY_LOOP_GUARD", OPTION_CHOICE, "on", 0, 0},
    {"DELIVERY_MAX_HOPS", OPTION_NUMBER, "16", 1, 1000},
    {"DELIVERY_MAX_AGENT_RUNS", OPTION_NUMBER, "32", 1, 10000},
    {"DELIVERY_BACKOFF_BASE_MS", OPTION_DURATION, "5000", 1, 86400000},
    {"DELIVERY_BACKOFF_MAX_MS", OPTION_DURATION, "300000", 1, 86400000},
    {"AGENT_SYNC_INTERVAL", OPTION_DURATION, "60000", 10, 86400000},
    {"HEALTH_CHECK_INTERVAL", OPTION_DURATION, "60000", 10, 86400000},
    {"UPGRADE_MODE", OPTION_TEXT, "exit", 0, 0},
    {"UPGRADE_FOLLOW", OPTION_CHOICE, "board", 0, 0},
    {"RUNTIME_VERSION", OPTION_TEXT, NULL, 0, 0},
    {"HEALTH_HOST", OPTION_TEXT, "127.0.0.1", 0, 0},
    {"HEALTH_PORT", OPTION_NUMBER, "3001", 0, 65535},
    {"TASK_STATUS_BASE_URL", OPTION_URL, NULL, 0, 0},
    {"HEALTH_ALLOWED_HOSTS", OPTION_TEXT, NULL, 0, 0},
    {"AGENT_API_TAGS", OPTION_CHOICE, "on", 0, 0},
    {"BOARD_URL", OPTION_URL, NULL, 0, 0},
    {"STATE_DIR", OPTION_PATH, NULL, 0, 0},
    {"SHUTDOWN_GRACE_MS", OPTION_DURATION, NULL, 100, 7200000},
    {"LOG_LEVEL", OPTION_CHOICE, "info", 0, 0},
    {"LOG_FORMAT", OPTION_CHOICE, "text", 0, 0},
    {"DROPLET_ID", OPTION_TEXT, "unknown", 0, 0},
    {"DROPLET_IP", OPTION_TEXT, "unknown", 0, 0},
    {"DROPLET_REGION", OPTION_TEXT, "unknown", 0, 0},
};

static void test_rows_match_a_second_list(void **state)
{
    (void)state;
    assert_int_equal(sizeof expected / sizeof expected[0], CONFIG_OPTIONS);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = option_find(expected[i].name);
        assert_non_null(option);
        assert_ptr_equal(option, &config_options[i]);
        assert_int_equal(option->kind, expected[i].kind);
        assert_int_equal(option->min, expected[i].min);
        assert_int_equal(option->max, expected[i].max);
        if (expected[i].fallback == NULL)
            assert_null(option->fallback);
        else
            assert_string_equal(option->fallback, expected[i].fallback);
    }
    assert_null(option_find("DELIVERY"));
}

static void test_every_row_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = &config_options[i];
        bool is_required = (option->flags & OPTION_REQUIRED) != 0;
        assert_non_null(option->help);
        assert_true(strlen(option->help) < 90);
        assert_null(strpbrk(option->help, "|\n"));
        /* Exactly one source for the value of an option that is not set. */
        assert_int_equal(is_required + (option->fallback != NULL) + (option->computed != NULL), 1);
        assert_true(!is_required || option->example != NULL);
        assert_int_equal(option->kind == OPTION_CHOICE, option->choices != NULL);
    }
}

static void test_every_default_and_example_is_valid(void **state)
{
    (void)state;
    struct config config = {0};
    struct problems problems = {0};
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = &config_options[i];
        if (option->fallback != NULL)
            assert_int_equal(option_store(option, option->fallback, &config, &problems), 0);
        if (option->example != NULL)
            assert_int_equal(option_store(option, option->example, &config, &problems), 0);
    }
    assert_int_equal(problems.count, 0);
    config_fini(&config);
}

static void test_docs_contain_the_tables(void **state)
{
    (void)state;
    static const char path[] = "docs/configuration.md";
    char *docs = test_file_read(path);
    for (unsigned section = 0; section < OPTION_SECTIONS; section++) {
        struct text table = {0};
        text_printf(&table, "### %s\n\n", option_section_title(section));
        option_append_markdown(section, &table);
        const char *found = find_or_fail(docs, table.data, path);
        /* The documented table has no further row. */
        assert_int_equal(found[table.length_bytes], '\n');
        text_fini(&table);
    }
    free(docs);
}

static void test_docs_table_has_all_columns(void **state)
{
    (void)state;
    struct text table = {0};
    option_append_markdown(SECTION_HEALTH, &table);
    find_or_fail(table.data,
        "| `HEALTH_PORT` | `3001` | 0..65535 | Port the HTTP server listens on; 0 picks a free "
        "port |\n",
        "the rendered table");
    text_clear(&table);
    option_append_markdown(SECTION_BACKEND, &table);
    find_or_fail(table.data, "| `SERVICE_TOKEN`, `SERVICE_TOKEN_FILE` | required | secret | ",
        "the rendered table");
    text_fini(&table);
}

static void test_env_example_lists_every_option(void **state)
{
    (void)state;
    char *example = test_file_read(".env.example");
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        struct text entry = {0};
        text_append(&entry, "\n");
        option_append_env_example(&config_options[i], &entry);
        find_or_fail(example, entry.data, ".env.example");
        text_fini(&entry);
    }
    free(example);
}

static bool is_read_by_others(const char *name)
{
    static const char *const names[] = {"ANTHROPIC_API_KEY", "OPENAI_API_KEY",
        "VERCEL_AI_GATEWAY_API_KEY", "AI_GATEWAY_API_KEY", "SERVICE_TOKEN_FILE", "COMPOSE_PROFILES",
        "SERVICE_TOKEN_HOST_FILE", "OPENCLAW_GATEWAY_TOKEN_HOST_FILE", "STOP_GRACE_PERIOD",
        "OPENCLAW_AGENTS", "OPENCLAW_MODEL", "OPENCLAW_MAX_CONCURRENT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Every NAME= in the file, commented out or not, is read by the runtime or by a script. */
static void test_env_example_lists_nothing_else(void **state)
{
    (void)state;
    size_t names = 0;
    char *example = test_file_read(".env.example");
    char *rest = example;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *name = line + (strncmp(line, "# ", 2) == 0 ? 2 : 0);
        size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        if (length == 0 || name[length] != '=')
            continue;
        name[length] = '\0';
        names++;
        if (option_find(name) == NULL && !is_read_by_others(name))
            fail_msg(".env.example has %s, which no program reads", name);
    }
    assert_int_equal(names, CONFIG_OPTIONS + 12);
    free(example);
}

static void test_env_example_sets_required_and_common_options(void **state)
{
    (void)state;
    static const char *const given[][2] = {{"ACCOUNT_ID", ""}, {"CONVEX_URL", ""},
        {"SERVICE_TOKEN", ""}, {"HEALTH_PORT", "3001"}, {"DELIVERY_INTERVAL", "5000"},
        {"HEALTH_CHECK_INTERVAL", "60000"}};
    struct env_file file = {0};
    struct problems problems = {0};
    assert_int_equal(env_file_load(&file, ".env.example", &problems), 0);
    assert_int_equal(problems.count, 0);
    assert_int_equal(file.count, sizeof given / sizeof given[0]);
    for (size_t i = 0; i < file.count; i++) {
        const struct env_entry *entry = env_file_find(&file, given[i][0]);
        assert_non_null(entry);
        assert_string_equal(entry->value, given[i][1]);
    }
    env_file_fini(&file);
}

static void test_help_lists_every_option(void **state)
{
    (void)state;
    struct text help = {0};
    usage_append(&help);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        struct text entry = {0};
        option_append_help(&config_options[i], &entry);
        find_or_fail(help.data, entry.data, "--help");
        find_or_fail(entry.data, config_options[i].name, "the entry");
        text_fini(&entry);
    }
    static const char *const others[] = {
        "--env-file FILE", "--check-config", "--version", "--help", "OPENCLAW_GATEWAY_TOKEN_FILE"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        find_or_fail(help.data, others[i], "--help");
    find_or_fail(help.data,
        "  DELIVERY_INTERVAL (10..86400000 ms; default: 5000)\n      Interval between polls",
        "--help");
    text_fini(&help);
}

static int parse_arguments(
    struct arguments *arguments, struct error *error, char *first, char *second, char *third)
{
    char *argv[] = {(char[]){"mission-control-runtime"}, first, second, third, NULL};
    int argc = 1;
    while (argv[argc] != NULL)
        argc++;
    return arguments_parse(argc, argv, arguments, error);
}

#define ARGUMENT(text) ((char[]){text})

static void test_arguments_select_action_and_env_file(void **state)
{
    (void)state;
    struct arguments arguments;
    struct error error;
    assert_int_equal(parse_arguments(&arguments, &error, NULL, NULL, NULL), 0);
    assert_int_equal(arguments.action, ARGUMENTS_RUN);
    assert_null(arguments.env_file);
    assert_int_equal(parse_arguments(&arguments, &error, ARGUMENT("--env-file"), ARGUMENT("a b"),
                         ARGUMENT("--check-config")),
        0);
    assert_int_equal(arguments.action, ARGUMENTS_CHECK_CONFIG);
    assert_string_equal(arguments.env_file, "a b");
    assert_int_equal(
        parse_arguments(&arguments, &error, ARGUMENT("--env-file=.env"), NULL, NULL), 0);
    assert_int_equal(arguments.action, ARGUMENTS_RUN);
    assert_string_equal(arguments.env_file, ".env");
    assert_int_equal(parse_arguments(&arguments, &error, ARGUMENT("--version"), NULL, NULL), 0);
    assert_int_equal(arguments.action, ARGUMENTS_VERSION);
    assert_int_equal(
        parse_arguments(&arguments, &error, ARGUMENT("-h"), ARGUMENT("--check-config"), NULL), 0);
    assert_int_equal(arguments.action, ARGUMENTS_HELP);
}

static void test_invalid_arguments_are_named(void **state)
{
    (void)state;
    static const char *const wrong[][4] = {
        {"--frob", NULL, NULL, "unknown argument \"--frob\""},
        {"--check-config", "serve", NULL, "unknown command \"serve\""},
        {"--env-files", NULL, NULL, "unknown argument \"--env-files\""},
        {"mc_service_acc_s3cr3t", NULL, NULL, "unknown command \"***\""},
        {"", NULL, NULL, "unknown argument \"\""},
        {"--env-file", NULL, NULL, "requires a file"},
        {"--env-file=", NULL, NULL, "requires a file"},
        {"--env-file=a", "--env-file", "b", "given twice"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *copies[3] = {NULL};
        for (size_t j = 0; j < 3; j++)
            copies[j] = wrong[i][j] != NULL ? strdup(wrong[i][j]) : NULL;
        struct arguments arguments;
        struct error error;
        assert_int_equal(
            parse_arguments(&arguments, &error, copies[0], copies[1], copies[2]), ERROR_INVALID);
        find_or_fail(error.text, wrong[i][3], "the error");
        for (size_t j = 0; j < 3; j++)
            free(copies[j]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_match_a_second_list),
        cmocka_unit_test(test_every_row_is_complete),
        cmocka_unit_test(test_every_default_and_example_is_valid),
        cmocka_unit_test(test_docs_contain_the_tables),
        cmocka_unit_test(test_docs_table_has_all_columns),
        cmocka_unit_test(test_env_example_lists_every_option),
        cmocka_unit_test(test_env_example_lists_nothing_else),
        cmocka_unit_test(test_env_example_sets_required_and_common_options),
        cmocka_unit_test(test_help_lists_every_option),
        cmocka_unit_test(test_arguments_select_action_and_env_file),
        cmocka_unit_test(test_invalid_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
