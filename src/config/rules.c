/*
 * Rules that concern more than one option, and defaults computed from other settings.
 *
 * Every option has already been checked on its own and stored. A rule runs only if the options that
 * it is about are present and valid (VALUE_PRESENT), so one mistake is not reported twice. Most
 * rules guard against mistakes that would otherwise surface much later, as failing requests: a
 * token of another account, the URL of the wrong Convex host, a gateway command without a URL at
 * which to reach that gateway.
 *
 * rules_apply reports problems and goes on; it stops only when out of memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/generated_token.h"
#include "config/url.h"
#include "config/values.h"

#define TOKEN_PREFIX "mc_service_"

/* The backend considers a runtime offline this long after its last report. */
enum {
    OFFLINE_AFTER_MS = 90000,
    GRACE_BEYOND_TIMEOUT_MS = 5000,
    QUOTED_BYTES = 128,
    MIN_TOKEN_CHARACTERS = 16
};

static const char default_gateway_token[] = "local";

static bool option_is_present(const struct values *values, enum option_id id)
{
    return values->by_option[id].state == VALUE_PRESENT;
}

static bool option_is_absent(const struct values *values, enum option_id id)
{
    return values->by_option[id].state == VALUE_ABSENT;
}

bool rules_register_secret(enum option_id id, const char *value)
{
    /* The well-known default is not a secret, and redacting "local" would garble many texts. */
    if (id == OPTION_OPENCLAW_GATEWAY_TOKEN && strcmp(value, default_gateway_token) == 0)
        return true;
    if (!redact_add_secret(value))
        return false;
    size_t prefix_bytes = strlen(TOKEN_PREFIX);
    if (id != OPTION_SERVICE_TOKEN || strncmp(value, TOKEN_PREFIX, prefix_bytes) != 0)
        return true;
    const char *account_end = strchr(value + prefix_bytes, '_');
    return account_end == NULL || redact_add_secret(account_end + 1);
}

/* Registers user:password, and the password by itself, as written and as libcurl decodes them. */
static bool register_credentials(const char *credentials, size_t length_bytes)
{
    char *copy = strndup(credentials, length_bytes);
    if (copy == NULL)
        return false;
    bool registered = true;
    for (int decoded = 0; decoded < 2 && registered; decoded++) {
        const char *colon = strchr(copy, ':');
        registered = redact_add_secret(copy) && (colon == NULL || redact_add_secret(colon + 1));
        url_decode(copy);
    }
    free(copy);
    return registered;
}

bool rules_register_proxy(const char *proxy)
{
    const char *authority = strstr(proxy, "://");
    authority = authority != NULL ? authority + 3 : proxy;
    const char *at_sign = strrchr(authority, '@');
    return at_sign == NULL || register_credentials(authority, (size_t)(at_sign - authority));
}

/* The id becomes the name of a directory; ids of the backend have no other characters. */
static void check_account_id(
    const struct config *config, const struct values *values, struct problems *problems)
{
    if (!option_is_present(values, OPTION_ACCOUNT_ID))
        return;
    const char *id = config->account_id;
    if (id[strspn(id, TEXT_LETTERS TEXT_DIGITS "_.-")] == '\0' && id[0] != '.' && strlen(id) <= 128)
        return;
    option_report(&config_options[OPTION_ACCOUNT_ID], id, problems,
        "is not an account id; expected up to 128 letters, digits, '_', '-' and '.'");
}

/* The form is mc_service_{accountId}_{secret}, and the account must be ours. */
static void check_service_token(
    const struct config *config, const struct values *values, struct problems *problems)
{
    if (!option_is_present(values, OPTION_SERVICE_TOKEN))
        return;
    size_t prefix_bytes = strlen(TOKEN_PREFIX);
    if (strncmp(config->service_token, TOKEN_PREFIX, prefix_bytes) != 0) {
        problems_add(problems, PROBLEM_ERROR,
            "Invalid SERVICE_TOKEN format. Expected a token starting with mc_service_.");
        return;
    }
    const char *account = config->service_token + prefix_bytes;
    const char *account_end = strchr(account, '_');
    if (account_end == NULL) {
        problems_add(problems, PROBLEM_ERROR,
            "Invalid SERVICE_TOKEN structure. Expected mc_service_{accountId}_{secret}.");
        return;
    }
    size_t account_bytes = (size_t)(account_end - account);
    if (!option_is_present(values, OPTION_ACCOUNT_ID) ||
        (strlen(config->account_id) == account_bytes &&
            memcmp(config->account_id, account, account_bytes) == 0))
        return;
    char quoted_account[QUOTED_BYTES];
    char quoted_id[QUOTED_BYTES];
    text_quote(quoted_account, sizeof quoted_account, account, account_bytes);
    text_quote(quoted_id, sizeof quoted_id, config->account_id, strlen(config->account_id));
    problems_add(problems, PROBLEM_ERROR,
        "SERVICE_TOKEN account mismatch. Token is for %s, but ACCOUNT_ID is %s. "
        "Use the id and the token of the same account.",
        quoted_account, quoted_id);
}

/* "openclaw-gateway" is the service's name in our Compose file. */
static bool is_local_gateway(const struct url *url)
{
    static const char *const hosts[] = {
        "localhost", "127.0.0.1", "::1", "0.0.0.0", "openclaw-gateway"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (url_host_is(url, hosts[i]))
            return true;
    return false;
}

/* What is so short can be guessed, and redacting it would not be safe to do. */
static void warn_of_short_token(enum option_id id, const char *secret, struct problems *problems)
{
    if (secret == NULL || secret[0] == '\0' || strlen(secret) >= MIN_TOKEN_CHARACTERS)
        return;
    problems_add(problems, PROBLEM_WARNING,
        "%s has a secret of fewer than %d characters, which can be guessed and is not reliably "
        "kept out of logs; use a longer token",
        config_options[id].name, MIN_TOKEN_CHARACTERS);
}

/* The default token of a local gateway is no secret; only that host is to protect it. */
static void check_token_lengths(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    const char *gateway_token = config->gateway_token;
    const char *service_token = config->service_token;
    if (option_is_present(values, OPTION_SERVICE_TOKEN) && service_token != NULL &&
        strncmp(service_token, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0) {
        const char *account_end = strchr(service_token + strlen(TOKEN_PREFIX), '_');
        warn_of_short_token(
            OPTION_SERVICE_TOKEN, account_end != NULL ? account_end + 1 : NULL, problems);
    }
    if (!option_is_present(values, OPTION_OPENCLAW_GATEWAY_TOKEN) || config->gateway_url == NULL ||
        url_parse(config->gateway_url, &url) != NULL ||
        (is_local_gateway(&url) && strcmp(gateway_token, default_gateway_token) == 0))
        return;
    warn_of_short_token(OPTION_OPENCLAW_GATEWAY_TOKEN, gateway_token, problems);
}

/* Convex serves functions and HTTP actions on different hosts; see docs/protocol.md, Convex HTTP
 * API. */
static void check_convex_url(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    if (!option_is_present(values, OPTION_CONVEX_URL) ||
        url_parse(config->convex_url, &url) != NULL || !url_host_ends_with(&url, ".convex.site"))
        return;
    option_report(&config_options[OPTION_CONVEX_URL], config->convex_url, problems,
        "is the deployment's URL for HTTP actions; expected the one that ends in .convex.cloud");
}

/* Whoever is on the way to the host could read the token, and the replies. */
static void check_plain_http(const struct config *config, const struct values *values,
    enum option_id id, const char *value, struct problems *problems)
{
    struct url url;
    bool is_wrong = values->by_option[id].state == VALUE_WRONG;
    if (is_wrong || value == NULL || config->allow_plain_http || url_parse(value, &url) != NULL ||
        url.is_https || url_is_local(&url))
        return;
    option_report(&config_options[id], value, problems,
        "is plain http to a host that is not local, so anyone on the way could read the token; "
        "expected an https:// URL, or ALLOW_PLAIN_HTTP=on if this is meant");
}

static int load_generated_token(struct config *config, struct problems *problems)
{
    struct error error;
    int result = generated_token_load(config->generated_token_file, &config->gateway_token, &error);
    if (result == ERROR_NO_MEMORY)
        return result;
    if (result != 0)
        problems_add(
            problems, problem_of_code(result), "OPENCLAW_GENERATED_TOKEN_FILE: %s", error.text);
    else if (!rules_register_secret(OPTION_OPENCLAW_GATEWAY_TOKEN, config->gateway_token))
        return ERROR_NO_MEMORY;
    return 0;
}

/* A local gateway is installed with a well-known token; any other needs one of its own. */
static int fill_gateway_token(
    struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    if (!option_is_absent(values, OPTION_OPENCLAW_GATEWAY_TOKEN) || config->gateway_url == NULL ||
        config->gateway_url[0] == '\0' || url_parse(config->gateway_url, &url) != NULL)
        return 0;
    if (config->generated_token_file != NULL)
        return load_generated_token(config, problems);
    if (!is_local_gateway(&url)) {
        problems_add(problems, PROBLEM_ERROR,
            "OPENCLAW_GATEWAY_TOKEN is required for non-local OPENCLAW_GATEWAY_URL. "
            "Set it to the gateway's token, or to an empty value if the gateway requires none.");
        return 0;
    }
    config->gateway_token = strdup(default_gateway_token);
    return config->gateway_token != NULL ? 0 : ERROR_NO_MEMORY;
}

/* The error completes a sentence that begins with the setting's name and value. */
static int check_command_line(const char *command, struct error *error)
{
    struct argv argv;
    int result = argv_parse(command, &argv, error);
    if (result == 0 && (argv.count == 0 || argv.items[0][0] == '\0'))
        result = error_set(error, ERROR_INVALID, "does not name a program");
    argv_fini(&argv);
    return result;
}

/* As check_command_line. A URL that is NULL is invalid, which is reported as such. */
static int check_command_url(const char *gateway_url, struct error *error)
{
    if (gateway_url == NULL || gateway_url[0] != '\0')
        return 0;
    return error_set(error, ERROR_INVALID,
        "starts a gateway, but OPENCLAW_GATEWAY_URL is empty, which disables the gateway; "
        "set it to the address that the command listens on, or remove the command");
}

static int check_gateway_command(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct error error;
    if (!option_is_present(values, OPTION_OPENCLAW_GATEWAY_COMMAND))
        return 0;
    int result = check_command_line(config->gateway_command, &error);
    if (result == 0)
        result = check_command_url(config->gateway_url, &error);
    if (result != ERROR_INVALID)
        return result;
    option_report(&config_options[OPTION_OPENCLAW_GATEWAY_COMMAND], config->gateway_command,
        problems, "%s", error.text);
    return 0;
}

/* Within the setting's range, so that the effective settings can be read back. */
static void fill_stream_timeout(struct config *config, const struct values *values)
{
    if (!option_is_absent(values, OPTION_DELIVERY_STREAM_TIMEOUT_MS))
        return;
    int64_t timeout_ms = 2 * config->gateway_timeout_ms;
    if (timeout_ms < STREAM_TIMEOUT_MIN_MS)
        timeout_ms = STREAM_TIMEOUT_MIN_MS;
    if (timeout_ms > STREAM_TIMEOUT_MAX_MS)
        timeout_ms = STREAM_TIMEOUT_MAX_MS;
    config->delivery_stream_timeout_ms = timeout_ms;
}

static void check_times(
    struct config *config, const struct values *values, struct problems *problems)
{
    fill_stream_timeout(config, values);
    if (option_is_absent(values, OPTION_SHUTDOWN_GRACE_MS))
        config->shutdown_grace_ms = config->gateway_timeout_ms + GRACE_BEYOND_TIMEOUT_MS;
    bool is_below = config->delivery_backoff_max_ms < config->delivery_backoff_base_ms;
    if (is_below && option_is_absent(values, OPTION_DELIVERY_BACKOFF_MAX_MS))
        config->delivery_backoff_max_ms = config->delivery_backoff_base_ms;
    else if (is_below && option_is_present(values, OPTION_DELIVERY_BACKOFF_MAX_MS))
        problems_add(problems, PROBLEM_ERROR,
            "DELIVERY_BACKOFF_MAX_MS %" PRId64 " is less than DELIVERY_BACKOFF_BASE_MS; expected "
            "%" PRId64 " or more",
            config->delivery_backoff_max_ms, config->delivery_backoff_base_ms);
    if (config->health_check_interval_ms > OFFLINE_AFTER_MS)
        problems_add(problems, PROBLEM_WARNING,
            "HEALTH_CHECK_INTERVAL %" PRId64 " is too long: the backend considers a "
            "runtime offline %d ms after its last report",
            config->health_check_interval_ms, OFFLINE_AFTER_MS);
}

/* Appends the default of STATE_DIR. False if there is none. */
static bool append_state_dir(const struct values *values, const char *account_id, struct text *path)
{
    const char *service_dir = values_variable(values, "STATE_DIRECTORY");
    if (service_dir != NULL && service_dir[0] != '\0') {
        /* systemd separates several directories by ':'; the first is ours (systemd.exec(5)). */
        text_append_bytes(path, service_dir, strcspn(service_dir, ":"));
        return true;
    }
    const char *base = values_variable(values, "XDG_STATE_HOME");
    const char *home = values_variable(values, "HOME");
    /* Relative paths are ignored, as the XDG Base Directory Specification requires. */
    if (base != NULL && base[0] == '/')
        text_append(path, base);
    else if (home != NULL && home[0] == '/')
        text_printf(path, "%s/.local/state", home);
    else
        return false;
    text_printf(path, "/mission-control-runtime/%s", account_id);
    return true;
}

static int fill_state_dir(
    struct config *config, const struct values *values, struct problems *problems)
{
    if (!option_is_absent(values, OPTION_STATE_DIR) || config->account_id == NULL)
        return 0;
    struct text path = {0};
    if (!append_state_dir(values, config->account_id, &path)) {
        problems_add(problems, PROBLEM_ERROR,
            "STATE_DIR is not set, and there is no HOME to derive it from; set it to a directory "
            "that the runtime can write to");
        return 0;
    }
    char *taken = text_take(&path);
    if (taken == NULL)
        return ERROR_NO_MEMORY;
    int result = option_store(&config_options[OPTION_STATE_DIR], taken, config, problems);
    free(taken);
    return result == ERROR_NO_MEMORY ? result : 0;
}

/* What is wrong with the address to listen on, or NULL. Names are only resolved at startup. */
static const char *find_host_fault(const char *host)
{
    struct in_addr address;
    size_t rest = strcspn(host, ":%");
    if (host[0] == '[')
        return "it is in brackets";
    /* IPv6, possibly with an interface, whose name may contain anything. */
    if (host[rest] != '\0')
        return host[rest] == ':' ? NULL : "not an address";
    if (host[strspn(host, TEXT_DIGITS ".")] == '\0')
        return inet_aton(host, &address) != 0 ? NULL : "not an address";
    bool is_name = host[strspn(host, TEXT_LETTERS TEXT_DIGITS "-_.")] == '\0';
    return is_name ? NULL : "invalid characters in a host name";
}

static void check_health_host(const struct config *config, struct problems *problems)
{
    const char *fault = config->health_host != NULL ? find_host_fault(config->health_host) : NULL;
    if (fault == NULL)
        return;
    option_report(&config_options[OPTION_HEALTH_HOST], config->health_host, problems,
        "cannot be listened on: %s; expected an address of this machine, such as 127.0.0.1, "
        "0.0.0.0 or ::, or its name",
        fault);
}

/* Names are compared with what a browser sends, so a URL or a port would never match. */
static void check_allowed_hosts(const struct config *config, struct problems *problems)
{
    static const char allowed[] = TEXT_LETTERS TEXT_DIGITS "-_., \t";
    const char *hosts = config->health_allowed_hosts;
    if (hosts == NULL || hosts[strspn(hosts, allowed)] == '\0')
        return;
    option_report(&config_options[OPTION_HEALTH_ALLOWED_HOSTS], hosts, problems,
        "is not a list of names; expected names without scheme, port and '*', separated by commas, "
        "such as runtime.example.com,board.lan");
}

static bool is_any_address(const char *host)
{
    static const char *const all[] = {"0.0.0.0", "::", "0"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(host, all[i]) == 0)
            return true;
    return false;
}

static bool is_loopback_host(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcasecmp(host, "localhost") == 0;
}

/* Agents use the HTTP server, too, and are told its address. */
static void check_agents_address(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    const char *host = config->health_host;
    if (host == NULL)
        return;
    if (option_is_absent(values, OPTION_TASK_STATUS_BASE_URL) && is_any_address(host))
        problems_add(problems, PROBLEM_WARNING,
            "HEALTH_HOST %s listens on all interfaces, but agents are told http://127.0.0.1, which "
            "only those on this machine can reach; set TASK_STATUS_BASE_URL to the address for the "
            "gateway's host or container, such as http://runtime:3001",
            host);
    if (!option_is_present(values, OPTION_TASK_STATUS_BASE_URL) ||
        url_parse(config->task_status_base_url, &url) != NULL || !is_loopback_host(host))
        return;
    char named[QUOTED_BYTES];
    text_quote(named, sizeof named, url.host.bytes, url.host.length_bytes);
    if (!is_loopback_host(named))
        problems_add(problems, PROBLEM_WARNING,
            "TASK_STATUS_BASE_URL sends agents to %s, but HEALTH_HOST %s can be reached from this "
            "machine only; set HEALTH_HOST to an address that the gateway's host can reach",
            named, host);
}

static void check_ca_file(const struct config *config, struct problems *problems)
{
    struct stat status;
    if (config->ca_file == NULL)
        return;
    const char *wrong = NULL;
    int reason = 0;
    if (stat(config->ca_file, &status) != 0 || access(config->ca_file, R_OK) != 0)
        reason = errno;
    else if (S_ISDIR(status.st_mode))
        wrong = "is a directory";
    else if (!S_ISREG(status.st_mode))
        wrong = "is not a regular file";
    if (reason != 0 && error_code_of_path(reason) == ERROR_SYSTEM)
        problems_add(problems, PROBLEM_REFUSAL, "CA_FILE cannot be read at the moment: %s",
            strerror(reason));
    else if (reason != 0 || wrong != NULL)
        option_report(&config_options[OPTION_CA_FILE], config->ca_file, problems,
            "cannot be read: %s; expected a PEM file of certificates",
            wrong != NULL ? wrong : strerror(reason));
}

static int fill_runtime_version(struct config *config, const struct values *values)
{
    if (!option_is_absent(values, OPTION_RUNTIME_VERSION))
        return 0;
    config->runtime_version = strdup(MISSION_CONTROL_VERSION);
    return config->runtime_version != NULL ? 0 : ERROR_NO_MEMORY;
}

int rules_apply(struct config *config, const struct values *values, struct problems *problems)
{
    check_account_id(config, values, problems);
    check_service_token(config, values, problems);
    check_token_lengths(config, values, problems);
    check_convex_url(config, values, problems);
    check_plain_http(config, values, OPTION_CONVEX_URL, config->convex_url, problems);
    check_plain_http(config, values, OPTION_OPENCLAW_GATEWAY_URL, config->gateway_url, problems);
    check_ca_file(config, problems);
    check_health_host(config, problems);
    check_allowed_hosts(config, problems);
    check_agents_address(config, values, problems);
    int result = fill_gateway_token(config, values, problems);
    if (result == 0)
        result = check_gateway_command(config, values, problems);
    check_times(config, values, problems);
    if (result == 0)
        result = fill_state_dir(config, values, problems);
    if (result == 0)
        result = rules_apply_workspaces(config, problems);
    if (result == 0)
        result = fill_runtime_version(config, values);
    return result;
}
