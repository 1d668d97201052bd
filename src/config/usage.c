/*
 * The command line, parsed by hand: it is small, takes options before and after the command, and
 * several actions may be given at once. The actions of struct arguments are in ascending
 * precedence, so the parser keeps the maximum: "--check-config --help" prints the help.
 */
#include "config/usage.h"

#include <stdio.h>
#include <string.h>

#include "config/options.h"

static const struct {
    const char *name;
    unsigned action; /* of struct arguments */
} actions[] = {
    {"--help", ARGUMENTS_HELP},
    {"-h", ARGUMENTS_HELP},
    {"--version", ARGUMENTS_VERSION},
    {"-v", ARGUMENTS_VERSION},
    {"--check-config", ARGUMENTS_CHECK_CONFIG},
};

static const struct {
    const char *name;
    unsigned action; /* of struct arguments */
    bool takes_operands;
    bool takes_json;
} commands[] = {
    {"healthcheck", ARGUMENTS_HEALTHCHECK, false, false},
    {"doctor", ARGUMENTS_DOCTOR, false, true},
    {"spool", ARGUMENTS_SPOOL, true, true},
    {"hold", ARGUMENTS_HOLD, false, false},
    {"release", ARGUMENTS_RELEASE, false, false},
    {"version", ARGUMENTS_VERSION, false, false},
    {"help", ARGUMENTS_HELP, true, false},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* The subcommands of "spool", and how many ids each takes. */
static const struct {
    const char *name;
    unsigned min_ids;
    unsigned max_ids;
} spool_subcommands[] = {
    {"list", 0, 0},
    {"show", 1, 1},
    {"retry", 1, ARGUMENTS_MAX_OPERANDS},
    {"drop", 1, ARGUMENTS_MAX_OPERANDS},
};

/* Consumes "--env-file FILE" or "--env-file=FILE" at argv[*index]. False if it is not that. */
static bool usage_take_env_file(int argc, char **argv, int *index, struct arguments *arguments)
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
    /* An empty path stands for a missing one, which the caller reports. */
    *index += 1;
    arguments->env_file = *index < argc ? argv[*index] : "";
    return true;
}

/* Of several actions the one of highest precedence is kept. */
static bool usage_take_action(const char *argument, struct arguments *arguments)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(argument, actions[i].name) == 0) {
            if (actions[i].action > arguments->action)
                arguments->action = actions[i].action;
            return true;
        }
    return false;
}

/* The index of the command in the table, or COMMANDS. */
static size_t usage_find_command(const char *word)
{
    size_t i = 0;
    while (i < COMMANDS && strcmp(word, commands[i].name) != 0)
        i++;
    return i;
}

/* Quoted and redacted: someone may pass a token by mistake. */
static int usage_reject(const char *argument, struct error *error)
{
    char quoted[80];
    text_quote(quoted, sizeof quoted, argument, strlen(argument));
    return error_set(error, ERROR_INVALID, "unknown argument \"%s\"; see --help", quoted);
}

/* With the commands that there are; a word that begins with a dash is meant as an option. */
static int usage_reject_command(const char *word, struct error *error)
{
    char quoted[80];
    char names[160] = "";
    if (word[0] == '-' || word[0] == '\0')
        return usage_reject(word, error);
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", commands[i].name);
    }
    text_quote(quoted, sizeof quoted, word, strlen(word));
    return error_set(error, ERROR_INVALID,
        "unknown command \"%s\"; expected one of %s, or none to run the service", quoted, names);
}

/* Consumes a command, or one of its operands. *command is COMMANDS until there is a command. */
static int usage_take_word(
    const char *word, size_t *command, struct arguments *arguments, struct error *error)
{
    if (*command == COMMANDS) {
        *command = usage_find_command(word);
        if (*command == COMMANDS)
            return usage_reject_command(word, error);
        if (commands[*command].action > arguments->action)
            arguments->action = commands[*command].action;
        return 0;
    }
    if (word[0] == '-' || !commands[*command].takes_operands)
        return usage_reject(word, error);
    if (arguments->operand_count == ARGUMENTS_MAX_OPERANDS)
        return error_set(error, ERROR_INVALID, "%s takes at most %d arguments",
            commands[*command].name, ARGUMENTS_MAX_OPERANDS);
    arguments->operands[arguments->operand_count++] = word;
    return 0;
}

/* Before any setting is read: a slip of the pen must not be answered with what is missing there. */
static int check_spool_operands(const struct arguments *arguments, struct error *error)
{
    static const char expected[] = "expected one of list, show ID, retry ID..., drop ID...";
    char quoted[80];
    if (arguments->operand_count == 0)
        return error_set(error, ERROR_INVALID, "spool: %s", expected);
    const char *name = arguments->operands[0];
    unsigned ids = arguments->operand_count - 1;
    for (size_t i = 0; i < sizeof spool_subcommands / sizeof spool_subcommands[0]; i++) {
        if (strcmp(name, spool_subcommands[i].name) != 0)
            continue;
        if (ids >= spool_subcommands[i].min_ids && ids <= spool_subcommands[i].max_ids)
            return 0;
        return error_set(error, ERROR_INVALID, "spool %s takes %s; %s", name,
            spool_subcommands[i].max_ids == 0   ? "no id"
            : spool_subcommands[i].max_ids == 1 ? "one id"
                                                : "at least one id",
            expected);
    }
    text_quote(quoted, sizeof quoted, name, strlen(name));
    return error_set(error, ERROR_INVALID, "unknown command \"spool %s\"; %s", quoted, expected);
}

int arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    size_t command = COMMANDS;
    *arguments = (struct arguments){.action = ARGUMENTS_RUN};
    for (int i = 1; i < argc; i++) {
        bool had_env_file = arguments->env_file != NULL;
        if (usage_take_env_file(argc, argv, &i, arguments)) {
            if (had_env_file)
                return error_set(error, ERROR_INVALID, "--env-file is given twice");
            if (arguments->env_file[0] == '\0')
                return error_set(
                    error, ERROR_INVALID, "--env-file requires a file, as in --env-file FILE");
        } else if (strcmp(argv[i], "--json") == 0) {
            arguments->json = true;
        } else if (!usage_take_action(argv[i], arguments)) {
            int result = usage_take_word(argv[i], &command, arguments, error);
            if (result != 0)
                return result;
        }
    }
    if (arguments->json && (command == COMMANDS || !commands[command].takes_json))
        return error_set(error, ERROR_INVALID, "--json is only valid with doctor and spool");
    if (arguments->action == ARGUMENTS_SPOOL)
        return check_spool_operands(arguments, error);
    return 0;
}

void usage_append(struct text *text)
{
    text_append(text,
        "Usage: mission-control-runtime [--env-file FILE] [--check-config]\n"
        "       mission-control-runtime healthcheck | doctor [--json] [--env-file FILE]\n"
        "       mission-control-runtime spool [--json] list | show ID | retry ID... | drop ID...\n"
        "       mission-control-runtime hold | release [--env-file FILE]\n"
        "       mission-control-runtime --version | --help\n"
        "\n"
        "Delivers notifications from a Mission Control board to AI agents behind an OpenClaw\n"
        "gateway, and their replies back. Settings are environment variables.\n"
        "\n"
        "  --env-file FILE  read variables that the environment does not set from FILE\n"
        "  --check-config   check the settings, print them (secrets as ***), and exit\n"
        "  --version        print the version and exit; -v for short\n"
        "  --help           print this help and exit; -h for short\n"
        "\n"
        "  healthcheck      query /health of the runtime with these settings; exit 0 or 1\n"
        "  doctor           check settings, network, gateway and backend without running an agent\n"
        "  spool            list, show, retry or drop replies that could not be written back\n"
        "  hold             have the running runtime ask no agent until release; idempotent\n"
        "  release          have it ask agents again after hold, or after SIGUSR2; idempotent\n"
        "  version          as --version\n"
        "  help             as --help\n"
        "  --json           doctor and spool: print JSON\n");
    for (unsigned section = 0; section < OPTION_SECTIONS; section++) {
        text_printf(text, "\n%s:\n", option_section_title(section));
        for (size_t i = 0; i < CONFIG_OPTIONS; i++)
            if (config_options[i].section == section)
                option_append_help(&config_options[i], text);
    }
    text_append(text,
        "\nExit status: 0 success or orderly shutdown, 1 healthcheck, doctor or spool found a "
        "problem,\n"
        "64 invalid arguments, 69 unavailable, 71 system error, 75 the state directory is in use,\n"
        "78 invalid settings, 128 + n terminated by a second signal n.\n");
}
