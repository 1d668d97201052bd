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

int arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    *arguments = (struct arguments){.action = ARGUMENTS_RUN};
    for (int i = 1; i < argc; i++) {
        bool had_env_file = arguments->env_file != NULL;
        if (take_env_file(argc, argv, &i, arguments)) {
            if (had_env_file)
                return error_set(error, ERROR_INVALID, "--env-file is given twice; give it once");
            if (arguments->env_file[0] == '\0')
                return error_set(error, ERROR_INVALID,
                    "--env-file is given without a file; right is --env-file FILE");
        } else if (!take_action(argv[i], arguments)) {
            char quoted[80];
            text_quote(quoted, sizeof quoted, argv[i], strlen(argv[i]));
            return error_set(error, ERROR_INVALID,
                "unknown argument \"%s\"; --help shows those that there are", quoted);
        }
    }
    return 0;
}

void usage_append(struct text *text)
{
    text_append(text,
        "Usage: mission-control-runtime [--env-file FILE] [--check-config]\n"
        "       mission-control-runtime --version | --help\n"
        "\n"
        "Carries work from a Mission Control board to AI agents behind an OpenClaw gateway,\n"
        "and their replies back. Its settings are environment variables.\n"
        "\n"
        "  --env-file FILE  take the variables that the environment lacks from FILE\n"
        "  --check-config   check the settings, print them (secrets as ***), and end\n"
        "  --version        print the version and end\n"
        "  --help           print this and end\n");
    for (size_t section = 0; section < OPTION_SECTIONS; section++) {
        text_printf(text, "\n%s:\n", option_section_title((enum option_section)section));
        for (size_t i = 0; i < CONFIG_OPTIONS; i++)
            if (config_options[i].section == (enum option_section)section)
                option_append_help(&config_options[i], text);
    }
    text_append(text,
        "\nExit status: 0 stopped as asked, 64 wrong arguments, 69 unavailable, 75 the state\n"
        "folder is in use, 78 wrong settings.\n");
}
