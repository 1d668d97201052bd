#include "config/usage.h"

#include <string.h>

#include "config/options.h"

static const struct {
    const char *name;
    enum arguments_action action;
} actions[] = {
    {"--help", ARGUMENTS_HELP},
    {"-h", ARGUMENTS_HELP},
    {"--version", ARGUMENTS_VERSION},
    {"--check-config", ARGUMENTS_CHECK_CONFIG},
};

static const struct {
    const char *name;
    enum arguments_action action;
    bool takes_words;
    bool takes_json;
} commands[] = {
    {"healthcheck", ARGUMENTS_HEALTHCHECK, false, false},
    {"doctor", ARGUMENTS_DOCTOR, false, true},
    {"spool", ARGUMENTS_SPOOL, true, true},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* Takes "--env-file FILE" or "--env-file=FILE" at argv[*index]. False: it is something else. */
static bool take_env_file(int argc, char **argv, int *index, struct arguments *arguments)
{
    static const char name[] = "--env-file";
    size_t length = sizeof name - 1;
    const char *argument = argv[*index];
    if (strncmp(argument, name, length) != 0)
        return false;
    if (argument[length] == '=') {
        arguments->env_file = argument + length + 1;
        return true;
    }
    if (argument[length] != '\0')
        return false;
    *index += 1;
    arguments->env_file = *index < argc ? argv[*index] : "";
    return true;
}

static bool take_action(const char *argument, struct arguments *arguments)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(argument, actions[i].name) == 0) {
            if (actions[i].action > arguments->action)
                arguments->action = actions[i].action;
            return true;
        }
    return false;
}

/* The command's place in the table, COMMANDS for a word that is none. */
static size_t find_command(const char *word)
{
    size_t i = 0;
    while (i < COMMANDS && strcmp(word, commands[i].name) != 0)
        i++;
    return i;
}

static int unknown_argument(const char *argument, struct error *error)
{
    char quoted[80];
    text_quote(quoted, sizeof quoted, argument, strlen(argument));
    return error_set(
        error, ERROR_INVALID, "unknown argument \"%s\"; --help shows those that there are", quoted);
}

/* A command, or one of its words. *command is COMMANDS until there is one. */
static int take_word(
    const char *word, size_t *command, struct arguments *arguments, struct error *error)
{
    if (*command == COMMANDS) {
        *command = find_command(word);
        if (word[0] == '-' || *command == COMMANDS)
            return unknown_argument(word, error);
        if (commands[*command].action > arguments->action)
            arguments->action = commands[*command].action;
        return 0;
    }
    if (word[0] == '-' || !commands[*command].takes_words)
        return unknown_argument(word, error);
    if (arguments->operand_count == ARGUMENTS_MAX_OPERANDS)
        return error_set(error, ERROR_INVALID, "%s takes at most %d words; give it fewer at a time",
            commands[*command].name, ARGUMENTS_MAX_OPERANDS);
    arguments->operands[arguments->operand_count++] = word;
    return 0;
}

int arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    size_t command = COMMANDS;
    *arguments = (struct arguments){.action = ARGUMENTS_RUN};
    for (int i = 1; i < argc; i++) {
        bool had_env_file = arguments->env_file != NULL;
        if (take_env_file(argc, argv, &i, arguments)) {
            if (had_env_file)
                return error_set(error, ERROR_INVALID, "--env-file is given twice; give it once");
            if (arguments->env_file[0] == '\0')
                return error_set(error, ERROR_INVALID,
                    "--env-file is given without a file; right is --env-file FILE");
        } else if (strcmp(argv[i], "--json") == 0) {
            arguments->json = true;
        } else if (!take_action(argv[i], arguments)) {
            int result = take_word(argv[i], &command, arguments, error);
            if (result != 0)
                return result;
        }
    }
    if (arguments->json && (command == COMMANDS || !commands[command].takes_json))
        return error_set(error, ERROR_INVALID, "--json goes with doctor and spool only");
    return 0;
}

void usage_append(struct text *text)
{
    text_append(text,
        "Usage: mission-control-runtime [--env-file FILE] [--check-config]\n"
        "       mission-control-runtime healthcheck | doctor [--json] [--env-file FILE]\n"
        "       mission-control-runtime spool [--json] list | show ID | retry ID... | drop ID...\n"
        "       mission-control-runtime --version | --help\n"
        "\n"
        "Carries work from a Mission Control board to AI agents behind an OpenClaw gateway,\n"
        "and their replies back. Its settings are environment variables.\n"
        "\n"
        "  --env-file FILE  take the variables that the environment lacks from FILE\n"
        "  --check-config   check the settings, print them (secrets as ***), and end\n"
        "  --version        print the version and end\n"
        "  --help           print this and end\n"
        "\n"
        "  healthcheck      ask the runtime of these settings for /health: exit 0 or 1\n"
        "  doctor           check settings, network, gateway and backend without running an agent\n"
        "  spool            list, show, send again or drop what could not be written back\n"
        "  --json           doctor and spool: answer in JSON\n");
    for (size_t section = 0; section < OPTION_SECTIONS; section++) {
        text_printf(text, "\n%s:\n", option_section_title((enum option_section)section));
        for (size_t i = 0; i < CONFIG_OPTIONS; i++)
            if (config_options[i].section == (enum option_section)section)
                option_append_help(&config_options[i], text);
    }
    text_append(text,
        "\nExit status: 0 stopped as asked or all well, 1 healthcheck, doctor or spool found "
        "trouble,\n"
        "64 wrong arguments, 69 unavailable, 71 the system refused something, 75 the state "
        "directory\n"
        "is in use, 78 wrong settings, 128 + n ended by a second signal n.\n");
}
