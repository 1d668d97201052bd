/* Parsing the command line, and the text of --help. */
#ifndef CONFIG_USAGE_H
#define CONFIG_USAGE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

enum { ARGUMENTS_MAX_OPERANDS = 64 };

/* The parsed command line. All strings are borrowed from argv. */
struct arguments {
    /* In ascending precedence. */
    enum {
        ARGUMENTS_RUN,
        ARGUMENTS_HEALTHCHECK,
        ARGUMENTS_DOCTOR,
        ARGUMENTS_SPOOL,
        ARGUMENTS_HOLD,
        ARGUMENTS_RELEASE,
        ARGUMENTS_CHECK_CONFIG,
        ARGUMENTS_VERSION,
        ARGUMENTS_HELP,
    } action;
    const char *env_file; /* NULL: none */
    bool json;            /* --json: output of doctor and spool for programs */
    const char *operands[ARGUMENTS_MAX_OPERANDS]; /* the arguments of "spool" */
    unsigned operand_count;
};

/*
 * Parses the arguments of main: options, and one command with its operands. Of --help, --version,
 * --check-config and the command, the first in this order takes effect. The operands of "spool" are
 * one of its subcommands and as many ids as it takes. Returns 0, or ERROR_INVALID
 * with a line for the user, for exit status 64. Pure.
 */
int arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error);

/* Appends the text of --help: the arguments, then every option of the table by section. */
void usage_append(struct text *text);

#endif
