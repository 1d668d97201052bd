/* The command line: what it may say, and the text of --help. */
#ifndef CONFIG_USAGE_H
#define CONFIG_USAGE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

enum arguments_action {
    ARGUMENTS_RUN,
    ARGUMENTS_HEALTHCHECK,
    ARGUMENTS_DOCTOR,
    ARGUMENTS_SPOOL,
    ARGUMENTS_CHECK_CONFIG,
    ARGUMENTS_VERSION,
    ARGUMENTS_HELP,
};

enum { ARGUMENTS_MAX_OPERANDS = 64 };

/* Everything is borrowed from argv. */
struct arguments {
    enum arguments_action action;
    const char *env_file;                         /* NULL is: none */
    bool json;                                    /* --json: doctor and spool answer a program */
    const char *operands[ARGUMENTS_MAX_OPERANDS]; /* what follows "spool" */
    unsigned operand_count;
};

/*
 * Reads the arguments as main gets them: options, and one command with its words. Of --help,
 * --version, --check-config and the command the first one in this order counts. Returns 0, or
 * ERROR_INVALID with a line for the user (who should then see exit status 64). Pure.
 */
int arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error);

/* Appends the text of --help: the arguments, then every option of the table by section. */
void usage_append(struct text *text);

#endif
