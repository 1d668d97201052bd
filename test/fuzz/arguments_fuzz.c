/*
 * Any command line, its arguments separated by NUL bytes: parsed as documented, or refused with a
 * one-line error. A second, simpler parser here decides what is valid.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/text.h"
#include "config/usage.h"

enum { MAX_ARGUMENTS = 100 };

/* What has been seen so far. */
struct parsed {
    int env_files;
    bool json;
    bool has_action; /* that takes effect instead of the command */
    const char *command;
    const char *first_word; /* after the command */
    unsigned words;
};

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words != NULL && strcmp(word, *words) != 0)
        words++;
    return *words != NULL;
}

/* Returns how many arguments the one at *argv consists of, 0 if it is invalid. */
static int consume(char **argv, int left, struct parsed *parsed)
{
    static const char *const actions[] = {
        "--help", "-h", "--version", "-v", "--check-config", NULL};
    static const char *const commands[] = {
        "healthcheck", "doctor", "spool", "hold", "release", "version", "help", NULL};
    static const char *const with_operands[] = {"spool", "help", NULL};
    const char *word = argv[0];
    if (is_one_of(word, actions))
        return (parsed->has_action = true);
    if (strcmp(word, "--json") == 0)
        return (parsed->json = true);
    if (strncmp(word, "--env-file=", 11) == 0)
        return ++parsed->env_files == 1 && word[11] != '\0';
    if (strcmp(word, "--env-file") == 0)
        return ++parsed->env_files == 1 && left > 1 && argv[1][0] != '\0' ? 2 : 0;
    if (parsed->command == NULL && is_one_of(word, commands)) {
        parsed->command = word;
        return 1;
    }
    if (parsed->words == 0)
        parsed->first_word = word;
    return word[0] != '-' && parsed->command != NULL && is_one_of(parsed->command, with_operands) &&
           ++parsed->words <= ARGUMENTS_MAX_OPERANDS;
}

/* What follows "spool": a subcommand and as many ids as it takes. */
static bool is_spool_command(const struct parsed *parsed)
{
    static const char *const changes[] = {"retry", "drop", NULL};
    if (parsed->words == 0)
        return false;
    if (strcmp(parsed->first_word, "list") == 0)
        return parsed->words == 1;
    if (strcmp(parsed->first_word, "show") == 0)
        return parsed->words == 2;
    return is_one_of(parsed->first_word, changes) && parsed->words > 1;
}

static bool is_valid(char **argv, int argc, struct parsed *parsed)
{
    for (int at = 1, taken; at < argc; at += taken) {
        taken = consume(argv + at, argc - at, parsed);
        if (taken == 0)
            return false;
    }
    static const char *const with_json[] = {"doctor", "spool", NULL};
    if (parsed->json && (parsed->command == NULL || !is_one_of(parsed->command, with_json)))
        return false;
    bool is_spool = parsed->command != NULL && strcmp(parsed->command, "spool") == 0;
    return !is_spool || parsed->has_action || is_spool_command(parsed);
}

static bool has_argument(char **argv, int argc, const char *argument)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], argument) == 0)
            return true;
    return false;
}

static void check_accepted(
    const struct arguments *arguments, const struct parsed *parsed, char **argv, int argc)
{
    assert(arguments->action >= ARGUMENTS_RUN && arguments->action <= ARGUMENTS_HELP);
    assert(arguments->operand_count == parsed->words && arguments->json == parsed->json);
    for (unsigned i = 0; i < arguments->operand_count; i++)
        assert(arguments->operands[i][0] != '-');
    assert((arguments->env_file != NULL) == (parsed->env_files == 1));
    assert(arguments->env_file == NULL || arguments->env_file[0] != '\0');
    /* An env file's name may look like an action. */
    bool is_help = parsed->command != NULL && strcmp(parsed->command, "help") == 0;
    if (parsed->env_files == 0)
        assert((arguments->action == ARGUMENTS_HELP) ==
               (is_help || has_argument(argv, argc, "--help") || has_argument(argv, argc, "-h")));
}

static void check_refused(const struct error *error)
{
    size_t length = strlen(error->text);
    assert(error->code == ERROR_INVALID && length > 0);
    assert(utf8_is_one_line(error->text, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    char program[] = "mission-control-runtime";
    char *argv[MAX_ARGUMENTS + 1] = {program};
    int argc = 1;
    assert(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    for (size_t at = 0; at < size && argc < MAX_ARGUMENTS; at += strlen(copy + at) + 1)
        argv[argc++] = copy + at;
    struct arguments arguments;
    struct error error = {0};
    int result = arguments_parse(argc, argv, &arguments, &error);
    struct parsed parsed = {0};
    assert((result == 0) == is_valid(argv, argc, &parsed));
    if (result == 0)
        check_accepted(&arguments, &parsed, argv, argc);
    else
        check_refused(&error);
    free(copy);
    return 0;
}
