/*
 * Command line and environment. Precedence: option, environment variable, default; account and
 * token are derived from each other if only one is given. The variables are those of the runtime,
 * so a shell that is set up for one is set up for both.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>

#include "base/text.h"
#include "ids.h"
#include "memory.h"

enum { TOKEN_FILE_LIMIT_BYTES = 4096, DEMO_LATENCY_MS = 600 };

static const char token_prefix[] = "mc_service_";

static const struct option names[] = {
    {"host", required_argument, NULL, 'H'},
    {"allow-host", required_argument, NULL, 'A'},
    {"port", required_argument, NULL, 'p'},
    {"account", required_argument, NULL, 'a'},
    {"token-file", required_argument, NULL, 't'},
    {"gateway-token", required_argument, NULL, 'g'},
    {"latency-ms", required_argument, NULL, 'l'},
    {"backend", required_argument, NULL, 'b'},
    {"demo", no_argument, NULL, 'd'},
    {"runtime-url", required_argument, NULL, 'r'},
    {"runtime-pid-file", required_argument, NULL, 'P'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

void options_print_help(void)
{
    fputs(
        "usage: mission-control-sandbox [options]\n"
        "\n"
        "A stand-in for the Mission Control backend and the OpenClaw gateway on one local port,\n"
        "to try, test and benchmark mission-control-runtime without an account.\n"
        "\n"
        "  --host ADDRESS         address to listen on (default 127.0.0.1)\n"
        "  --allow-host NAMES     further names, with dots, under which it may be asked, "
        "separated\n"
        "                         by commas\n"
        "  --port PORT            port to listen on, 0 for a free one (default 3210)\n"
        "  --backend VERSION      version of the backend, v0 or v1 (default v0)\n"
        "  --demo                 start with agents and tasks on the board\n"
        "  --account ID           account id (or ACCOUNT_ID)\n"
        "  --token-file FILE      file with the service token (or SERVICE_TOKEN)\n"
        "  --gateway-token TOKEN  gateway token, default local (or OPENCLAW_GATEWAY_TOKEN)\n"
        "  --latency-ms N         duration of an agent run (default 0, with --demo 600)\n"
        "  --runtime-url URL      address of the runtime's page, to which the board links\n"
        "  --runtime-pid-file FILE  file with the runtime's process id, for the board's tour: it "
        "kills\n"
        "                         that process, and removes the file\n"
        "  --help, --version\n"
        "\n"
        "Settings of a runtime that connects to a sandbox started without options:\n"
        "  ACCOUNT_ID=" OPTIONS_DEFAULT_ACCOUNT "\n"
        "  SERVICE_TOKEN=mc_service_" OPTIONS_DEFAULT_ACCOUNT "_" OPTIONS_DEFAULT_SECRET "\n"
        "  CONVEX_URL=http://127.0.0.1:3210\n"
        "  OPENCLAW_GATEWAY_URL=http://127.0.0.1:3210\n"
        "  OPENCLAW_GATEWAY_TOKEN=local\n"
        "\n"
        "Prints one line, \"listening on http://HOST:PORT\", and serves until SIGTERM or SIGINT.\n"
        "The board is at /, the control API under /sandbox/ (docs/sandbox.md).\n",
        stdout);
}

void options_fini(struct options *options)
{
    free(options->host);
    free(options->port);
    free(options->allowed_hosts);
    free(options->account_id);
    free(options->service_token);
    free(options->gateway_token);
    free(options->runtime_url);
    free(options->pid_file);
    *options = (struct options){0};
}

static void replace_string(char **place, const char *value)
{
    free(*place);
    *place = memory_copy(value);
}

static int read_token_file(const char *path, char **token, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set_errno(error, ERROR_INVALID, errno, "cannot open --token-file %s", path);
    char line[TOKEN_FILE_LIMIT_BYTES];
    char *got = fgets(line, sizeof line, file);
    fclose(file);
    if (got == NULL)
        return error_set(error, ERROR_INVALID, "--token-file %s is empty", path);
    line[strcspn(line, " \t\r\n")] = '\0';
    replace_string(token, line);
    return 0;
}

static int read_latency(const char *text, double *latency_ms, struct error *error)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= 0 && value <= 3600000))
        return error_set(error, ERROR_INVALID,
            "--latency-ms must be a number from 0 to 3600000, not \"%s\"", text);
    *latency_ms = value;
    return 0;
}

const char *options_backend_name(enum backend_version version)
{
    return version == BACKEND_V1 ? "v1" : "v0";
}

static int read_backend(const char *text, enum backend_version *version, struct error *error)
{
    *version = strcmp(text, "v1") == 0 ? BACKEND_V1 : BACKEND_V0;
    if (strcmp(text, options_backend_name(*version)) == 0)
        return 0;
    return error_set(error, ERROR_INVALID, "--backend must be v0 or v1, not \"%s\"", text);
}

static int check_port(const char *port, struct error *error)
{
    size_t length = strlen(port);
    if (length >= 1 && length <= 5 && strspn(port, "0123456789") == length &&
        strtol(port, NULL, 10) <= 65535)
        return 0;
    return error_set(
        error, ERROR_INVALID, "--port must be a number from 0 to 65535, not \"%s\"", port);
}

bool options_is_link(const char *url)
{
    bool has_scheme = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    return has_scheme && strcspn(url, " \t\r\n\"<>") == strlen(url);
}

static int read_runtime_url(const char *url, char **place, struct error *error)
{
    if (!options_is_link(url))
        return error_set(error, ERROR_INVALID,
            "--runtime-url must begin with http:// or https:// and have no spaces, not \"%s\"",
            url);
    replace_string(place, url);
    return 0;
}

static int read_option(struct options *options, int letter, struct error *error)
{
    switch (letter) {
    case 'H':
        replace_string(&options->host, optarg);
        return 0;
    case 'A':
        replace_string(&options->allowed_hosts, optarg);
        return 0;
    case 'p':
        replace_string(&options->port, optarg);
        return check_port(optarg, error);
    case 'a':
        replace_string(&options->account_id, optarg);
        return 0;
    case 't':
        return read_token_file(optarg, &options->service_token, error);
    case 'g':
        replace_string(&options->gateway_token, optarg);
        return 0;
    case 'l':
        return read_latency(optarg, &options->latency_ms, error);
    case 'b':
        return read_backend(optarg, &options->backend, error);
    case 'r':
        return read_runtime_url(optarg, &options->runtime_url, error);
    case 'P':
        replace_string(&options->pid_file, optarg);
        return 0;
    case 'd':
        options->demo = true;
        return 0;
    case 'h':
        options->help = true;
        return 0;
    case 'v':
        options->version = true;
        return 0;
    default:
        return ERROR_INVALID;
    }
}

static void default_from_environment(char **place, const char *variable)
{
    const char *value = getenv(variable);
    if (*place == NULL && value != NULL && *value != '\0')
        *place = memory_copy(value);
}

/* Account ids contain no '_', so the first one after the prefix ends the account. */
const char *options_token_secret(const char *service_token)
{
    if (strncmp(service_token, token_prefix, sizeof token_prefix - 1) != 0)
        return NULL;
    const char *separator = strchr(service_token + sizeof token_prefix - 1, '_');
    return separator == NULL || separator[1] == '\0' ? NULL : separator + 1;
}

/* Derives account or token from the other one, then checks that they belong together. */
static int complete_token(struct options *options, struct error *error)
{
    if (options->service_token != NULL) {
        const char *secret = options_token_secret(options->service_token);
        if (secret == NULL)
            return error_set(error, ERROR_INVALID,
                "the service token must have the form mc_service_ACCOUNT_SECRET");
        const char *account = options->service_token + sizeof token_prefix - 1;
        if (options->account_id == NULL)
            options->account_id = memory_copy_bytes(account, (size_t)(secret - 1 - account));
    }
    if (options->account_id == NULL)
        options->account_id = memory_copy(OPTIONS_DEFAULT_ACCOUNT);
    if (!id_is_well_formed(options->account_id))
        return error_set(error, ERROR_INVALID,
            "the account id must be 31 to 37 characters of 0-9 and a-z without i, l, o and u");
    if (options->service_token == NULL) {
        struct text token = {0};
        text_printf(&token, "mc_service_%s_%s", options->account_id, OPTIONS_DEFAULT_SECRET);
        options->service_token = text_take(&token);
    }
    size_t length = strlen(options->account_id);
    if (strncmp(options->service_token + sizeof token_prefix - 1, options->account_id, length) != 0)
        return error_set(error, ERROR_INVALID, "the service token belongs to another account");
    return 0;
}

int options_read(int count, char *const *arguments, struct options *options, struct error *error)
{
    *options = (struct options){.latency_ms = -1};
    options->host = memory_copy("127.0.0.1");
    options->port = memory_copy("3210");
    opterr = 0;
    int letter;
    while ((letter = getopt_long(count, arguments, "", names, NULL)) != -1) {
        if (letter == '?')
            return error_set(
                error, ERROR_INVALID, "unknown or incomplete option %s", arguments[optind - 1]);
        int result = read_option(options, letter, error);
        if (result != 0)
            return result;
    }
    if (optind < count)
        return error_set(error, ERROR_INVALID, "unexpected argument %s", arguments[optind]);
    default_from_environment(&options->account_id, "ACCOUNT_ID");
    default_from_environment(&options->service_token, "SERVICE_TOKEN");
    default_from_environment(&options->gateway_token, "OPENCLAW_GATEWAY_TOKEN");
    if (options->gateway_token == NULL)
        options->gateway_token = memory_copy("local");
    if (options->latency_ms < 0)
        options->latency_ms = options->demo ? DEMO_LATENCY_MS : 0;
    return complete_token(options, error);
}
