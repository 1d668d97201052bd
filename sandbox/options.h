/* The command line and environment of the sandbox. */
#ifndef SANDBOX_OPTIONS_H
#define SANDBOX_OPTIONS_H

#include <stdbool.h>

#include "base/error.h"
#include "version.h"

#define OPTIONS_DEFAULT_ACCOUNT "k57sandb0x0000000000000000000000"
#define OPTIONS_DEFAULT_SECRET "sandbox_secret_for_local_use_only"

/* Strings are owned; free them with options_fini. */
struct options {
    char *host;
    char *port;
    char *allowed_hosts; /* names, separated by commas; NULL: none */
    char *account_id;
    char *service_token; /* belongs to account_id */
    char *gateway_token; /* empty: requests need no token */
    char *runtime_url;   /* of the runtime's page; NULL: not known */
    char *pid_file;      /* with the runtime's process id; NULL: not known */
    double latency_ms;   /* of each agent run; negative: 0, or 600 with demo */
    enum backend_version backend;
    bool demo;
    bool help;
    bool version;
};

/*
 * Reads the arguments; values that they leave open come from ACCOUNT_ID, SERVICE_TOKEN and
 * OPENCLAW_GATEWAY_TOKEN in the environment, then from the defaults. ERROR_INVALID names the option
 * and the problem. The caller frees options in any case.
 */
int options_read(int count, char *const *arguments, struct options *options, struct error *error);

void options_fini(struct options *options);

/* Whether a URL is one that the page may link to: http or https, and without white space. */
bool options_is_link(const char *url);

/* "v0" or "v1". */
const char *options_backend_name(enum backend_version version);

/* Prints the help text to standard output. */
void options_print_help(void);

/* The secret in a token mc_service_{account}_{secret}, borrowed; NULL if it has another form. */
const char *options_token_secret(const char *service_token);

#endif
