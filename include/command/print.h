/* The answers of commands on standard output. */
#ifndef COMMAND_PRINT_H
#define COMMAND_PRINT_H

#include "base/text.h"

/*
 * Writes bytes to standard output and has them go out. Returns EX_OK, or EX_OSERR after a word on
 * standard error when not all could be written: a full disk, a reader that left. Blocks as standard
 * output does. One thread.
 */
int print_bytes(const char *bytes, size_t length_bytes);

/* The same of a text, which may be one that lacked memory: that is EX_OSERR, too. */
int print_text(const struct text *text);

#endif
