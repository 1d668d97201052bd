/* A token that this process and the gateway share in a file, made by whichever needs it first. */
#ifndef CONFIG_GENERATED_TOKEN_H
#define CONFIG_GENERATED_TOKEN_H

#include "base/error.h"

/*
 * Reads the token in the file at path into *token, which the caller frees; makes the file, readable
 * by its owner only, with 256 random bits if it does not exist. Errors: ERROR_SYSTEM, ERROR_INVALID
 * for an empty file, ERROR_NO_MEMORY; they name the path and never the token. Blocks for the disk.
 */
int generated_token_load(const char *path, char **token, struct error *error);

#endif
