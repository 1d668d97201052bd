/* A command line, its arguments ended by NUL bytes: understood as documented, or refused in a line.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/usage.h"

enum { MOST_ARGUMENTS = 16 };

/* What each argument may be when the whole is accepted; *files counts what names an env file. */
static size_t known_length(char **argv, int argc, int at, int *files)
{
    static const char *const actions[] = {"--help", "-h", "--version", "--check-config"};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(argv[at], actions[i]) == 0)
            return 1;
    ++*files;
    if (strncmp(argv[at], "--env-file=", 11) == 0 && argv[at][11] != '\0')
        return 1;
    return strcmp(argv[at], "--env-file") == 0 && at + 1 < argc && argv[at + 1][0] != '\0' ? 2 : 0;
}

static bool is_right(char **argv, int argc)
{
    int files = 0;
    for (int at = 1; at < argc;) {
        size_t length = known_length(argv, argc, at, &files);
        if (length == 0)
            return false;
        at += (int)length;
    }
    return files <= 1;
}

static bool has(char **argv, int argc, const char *argument)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], argument) == 0)
            return true;
    return false;
}

static void check_accepted(const struct arguments *arguments, char **argv, int argc)
{
    assert(arguments->action >= ARGUMENTS_RUN && arguments->action <= ARGUMENTS_HELP);
    /* An env file's name may look like an action. */
    if (arguments->env_file == NULL) {
        assert((arguments->action == ARGUMENTS_HELP) ==
               (has(argv, argc, "--help") || has(argv, argc, "-h")));
        assert((arguments->action == ARGUMENTS_RUN) == (argc == 1));
    } else {
        assert(arguments->env_file[0] != '\0');
    }
}

static void check_refused(const struct error *error)
{
    size_t length = strlen(error->text);
    assert(error->code == ERROR_INVALID && length > 0);
    for (size_t at = 0; at < length;) {
        size_t step = text_utf8_length(error->text + at, length - at);
        assert(step > 0 && (unsigned char)error->text[at] >= ' ' && error->text[at] != 0x7F);
        at += step;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    char program[] = "mission-control-runtime";
    char *argv[MOST_ARGUMENTS + 1] = {program};
    int argc = 1;
    assert(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    for (size_t at = 0; at < size && argc < MOST_ARGUMENTS; at += strlen(copy + at) + 1)
        argv[argc++] = copy + at;
    struct arguments arguments;
    struct error error = {0};
    int result = arguments_parse(argc, argv, &arguments, &error);
    assert((result == 0) == is_right(argv, argc));
    if (result == 0)
        check_accepted(&arguments, argv, argc);
    else
        check_refused(&error);
    free(copy);
    return 0;
}
