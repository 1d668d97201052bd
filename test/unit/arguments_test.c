/* Command-line parsing: what is accepted, and the error texts of what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/usage.h"

enum { MAX_WORDS = 80 };

/* Splits a line at blanks and parses the words as the program's arguments. */
static int parse_line(const char *line, struct arguments *arguments, struct error *error)
{
    static char copy[1024];
    static char *words[MAX_WORDS];
    int count = 1;
    words[0] = copy;
    text_copy(copy, sizeof copy, "mission-control-runtime ");
    text_copy(copy + strlen(copy), sizeof copy - strlen(copy), line);
    for (char *at = copy; *at != '\0'; at++) {
        if (*at != ' ')
            continue;
        *at = '\0';
        if (at[1] != '\0')
            words[count++] = at + 1;
    }
    words[count] = NULL;
    return arguments_parse(count, words, arguments, error);
}

static void expect_action(const char *line, unsigned action)
{
    struct arguments arguments;
    struct error error;
    assert_int_equal(parse_line(line, &arguments, &error), 0);
    assert_int_equal(arguments.action, action);
}

static void expect_refused(const char *line, const char *words)
{
    struct arguments arguments;
    struct error error;
    assert_int_equal(parse_line(line, &arguments, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, words));
}

static void test_each_command_and_option_is_known(void **state)
{
    (void)state;
    expect_action("", ARGUMENTS_RUN);
    expect_action("healthcheck", ARGUMENTS_HEALTHCHECK);
    expect_action("doctor --json", ARGUMENTS_DOCTOR);
    expect_action("--json doctor", ARGUMENTS_DOCTOR);
    expect_action("spool list", ARGUMENTS_SPOOL);
    expect_action("--check-config", ARGUMENTS_CHECK_CONFIG);
    expect_action("--version --check-config", ARGUMENTS_VERSION);
    expect_action("spool list --help", ARGUMENTS_HELP);
    expect_action("spool --help", ARGUMENTS_HELP);
    expect_action("-v", ARGUMENTS_VERSION);
    expect_action("version", ARGUMENTS_VERSION);
    expect_action("-h", ARGUMENTS_HELP);
    expect_action("help", ARGUMENTS_HELP);
    expect_action("help spool", ARGUMENTS_HELP);
    expect_action("hold", ARGUMENTS_HOLD);
    expect_action("--env-file x release", ARGUMENTS_RELEASE);
}

static void test_operands_follow_spool_only(void **state)
{
    (void)state;
    struct arguments arguments;
    struct error error;
    assert_int_equal(parse_line("spool retry --env-file=/tmp/x one two", &arguments, &error), 0);
    assert_int_equal(arguments.operand_count, 3);
    assert_string_equal(arguments.operands[0], "retry");
    assert_string_equal(arguments.operands[2], "two");
    assert_string_equal(arguments.env_file, "/tmp/x");
    expect_refused("doctor now", "unknown argument \"now\"");
    expect_refused("healthcheck doctor", "unknown argument \"doctor\"");
    expect_refused("heal",
        "unknown command \"heal\"; expected one of healthcheck, doctor, spool, hold, release, "
        "version, help, or none to run the service");
    expect_refused("--heal", "unknown argument \"--heal\"; see --help");
    expect_refused("spool --all", "unknown argument \"--all\"");
}

static void test_subcommands_of_spool_are_checked(void **state)
{
    (void)state;
    expect_refused("spool", "spool: expected one of list, show ID, retry ID..., drop ID...");
    expect_refused("spool lst", "unknown command \"spool lst\"; expected one of list");
    expect_refused("spool list js1", "spool list takes no id");
    expect_refused("spool show", "spool show takes one id");
    expect_refused("spool retry", "spool retry takes at least one id");
    expect_refused("hold now", "unknown argument \"now\"");
}

static void test_too_many_operands_are_refused(void **state)
{
    (void)state;
    char line[8 * (ARGUMENTS_MAX_OPERANDS + 2)] = "spool";
    for (int i = 0; i <= ARGUMENTS_MAX_OPERANDS; i++)
        text_copy(line + strlen(line), sizeof line - strlen(line), " id");
    expect_refused(line, "at most 64 arguments");
}

static void test_json_needs_doctor_or_spool(void **state)
{
    (void)state;
    expect_refused("--json", "--json is only valid with doctor and spool");
    expect_refused("healthcheck --json", "--json is only valid with doctor and spool");
}

static void test_env_file_needs_one_value(void **state)
{
    (void)state;
    expect_refused("--env-file", "requires a file");
    expect_refused("--env-file= doctor", "requires a file");
    expect_refused("--env-file a --env-file b", "given twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_command_and_option_is_known),
        cmocka_unit_test(test_operands_follow_spool_only),
        cmocka_unit_test(test_subcommands_of_spool_are_checked),
        cmocka_unit_test(test_too_many_operands_are_refused),
        cmocka_unit_test(test_json_needs_doctor_or_spool),
        cmocka_unit_test(test_env_file_needs_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
