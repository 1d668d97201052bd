#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/url.h"
#include "config/values.h"

#define TOKEN_PREFIX "mc_service_"

/* The backend shows a runtime as offline that has not reported for so long. */
enum { OFFLINE_AFTER_MS = 90000, GRACE_BEYOND_TIMEOUT_MS = 5000, QUOTED_BYTES = 128 };

static const char default_gateway_token[] = "local";

static bool is_present(const struct values *values, enum option_id id)
{
    return values->by_option[id].state == VALUE_PRESENT;
}

static bool is_absent(const struct values *values, enum option_id id)
{
    return values->by_option[id].state == VALUE_ABSENT;
}

bool rules_register_secret(enum option_id id, const char *value)
{
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

/* It becomes the name of a directory, and no id of the backend has anything else in it. */
static void check_account_id(
    const struct config *config, const struct values *values, struct problems *problems)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (!is_present(values, OPTION_ACCOUNT_ID))
        return;
    const char *id = config->account_id;
    if (id[strspn(id, allowed)] == '\0' && id[0] != '.' && strlen(id) <= 128)
        return;
    char shown[OPTION_SHOWN_BYTES];
    option_show(&config_options[OPTION_ACCOUNT_ID], id, shown);
    problems_add(problems, PROBLEM_ERROR,
        "ACCOUNT_ID %s is no account id; right are up to 128 letters, digits, '_', '-' and '.'",
        shown);
}

/* The token's form, and that it is the account's: mc_service_{accountId}_{secret}. */
static void check_service_token(
    const struct config *config, const struct values *values, struct problems *problems)
{
    if (!is_present(values, OPTION_SERVICE_TOKEN))
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
    if (!is_present(values, OPTION_ACCOUNT_ID) ||
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

static void check_convex_url(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    if (!is_present(values, OPTION_CONVEX_URL) || url_parse(config->convex_url, &url) != NULL ||
        !url_host_ends_with(&url, ".convex.site"))
        return;
    char shown[OPTION_SHOWN_BYTES];
    option_show(&config_options[OPTION_CONVEX_URL], config->convex_url, shown);
    problems_add(problems, PROBLEM_ERROR,
        "CONVEX_URL %s is the address for HTTP actions; right is the same deployment's address "
        "that ends in .convex.cloud",
        shown);
}

static bool is_local_gateway(const struct url *url)
{
    static const char *const hosts[] = {
        "localhost", "127.0.0.1", "::1", "0.0.0.0", "openclaw-gateway"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (url_host_is(url, hosts[i]))
            return true;
    return false;
}

static int fill_gateway_token(
    struct config *config, const struct values *values, struct problems *problems)
{
    struct url url;
    if (!is_absent(values, OPTION_OPENCLAW_GATEWAY_TOKEN) || config->gateway_url == NULL ||
        config->gateway_url[0] == '\0' || url_parse(config->gateway_url, &url) != NULL)
        return 0;
    if (!is_local_gateway(&url)) {
        problems_add(problems, PROBLEM_ERROR,
            "OPENCLAW_GATEWAY_TOKEN is required for non-local OPENCLAW_GATEWAY_URL. "
            "Set it to the gateway's token, or to nothing if the gateway wants none.");
        return 0;
    }
    config->gateway_token = strdup(default_gateway_token);
    return config->gateway_token != NULL ? 0 : ERROR_NO_MEMORY;
}

/* What is wrong with it as a command, as the end of a sentence that begins with its name. */
static int check_words(const char *command, struct error *error)
{
    struct argv words;
    int result = argv_parse(command, &words, error);
    if (result == 0 && (words.count == 0 || words.items[0][0] == '\0'))
        result = error_set(error, ERROR_INVALID, "names no program");
    argv_fini(&words);
    return result;
}

/* Whether the child's port can be looked at without a resolver, which may hang for long. */
static int check_command_url(const char *gateway_url, struct error *error)
{
    struct url url;
    if (gateway_url == NULL || (gateway_url[0] != '\0' && url_parse(gateway_url, &url) != NULL))
        return 0;
    if (gateway_url[0] == '\0')
        return error_set(error, ERROR_INVALID,
            "starts a gateway, but OPENCLAW_GATEWAY_URL is empty, which switches the gateway off; "
            "set it to where the command listens, or remove the command");
    if (url_host_is_address(&url) || url_host_is(&url, "localhost"))
        return 0;
    return error_set(error, ERROR_INVALID,
        "starts a gateway on this machine, so the host of OPENCLAW_GATEWAY_URL must be localhost "
        "or an IP address");
}

static int check_gateway_command(
    const struct config *config, const struct values *values, struct problems *problems)
{
    struct error error;
    if (!is_present(values, OPTION_OPENCLAW_GATEWAY_COMMAND))
        return 0;
    int result = check_words(config->gateway_command, &error);
    if (result == 0)
        result = check_command_url(config->gateway_url, &error);
    if (result != ERROR_INVALID)
        return result;
    char shown[OPTION_SHOWN_BYTES];
    option_show(&config_options[OPTION_OPENCLAW_GATEWAY_COMMAND], config->gateway_command, shown);
    problems_add(problems, PROBLEM_ERROR, "OPENCLAW_GATEWAY_COMMAND %s %s", shown, error.text);
    return 0;
}

static void check_times(
    struct config *config, const struct values *values, struct problems *problems)
{
    if (is_absent(values, OPTION_SHUTDOWN_GRACE_MS))
        config->shutdown_grace_ms = config->gateway_timeout_ms + GRACE_BEYOND_TIMEOUT_MS;
    bool is_below = config->delivery_backoff_max_ms < config->delivery_backoff_base_ms;
    if (is_below && is_absent(values, OPTION_DELIVERY_BACKOFF_MAX_MS))
        config->delivery_backoff_max_ms = config->delivery_backoff_base_ms;
    else if (is_below && is_present(values, OPTION_DELIVERY_BACKOFF_MAX_MS))
        problems_add(problems, PROBLEM_ERROR,
            "DELIVERY_BACKOFF_MAX_MS %" PRId64 " is less than DELIVERY_BACKOFF_BASE_MS; right is "
            "%" PRId64 " or more",
            config->delivery_backoff_max_ms, config->delivery_backoff_base_ms);
    if (config->health_check_interval_ms > OFFLINE_AFTER_MS)
        problems_add(problems, PROBLEM_WARNING,
            "HEALTH_CHECK_INTERVAL %" PRId64 " is long: the backend shows a runtime as offline "
            "%d ms after its last report",
            config->health_check_interval_ms, OFFLINE_AFTER_MS);
}

/* Appends the directory that holds the state when STATE_DIR names none. False: there is none. */
static bool append_state_dir(const struct values *values, const char *account_id, struct text *path)
{
    const char *of_service = values_variable(values, "STATE_DIRECTORY");
    if (of_service != NULL && of_service[0] != '\0') {
        /* systemd separates several with ':' (systemd.exec, "RuntimeDirectory="). */
        text_append_bytes(path, of_service, strcspn(of_service, ":"));
        return true;
    }
    const char *base = values_variable(values, "XDG_STATE_HOME");
    const char *home = values_variable(values, "HOME");
    /* Paths that are not absolute do not count (XDG Base Directory Specification). */
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
    if (!is_absent(values, OPTION_STATE_DIR) || config->account_id == NULL)
        return 0;
    struct text path = {0};
    if (!append_state_dir(values, config->account_id, &path)) {
        problems_add(problems, PROBLEM_ERROR,
            "STATE_DIR is not set, and there is no HOME to derive it from; set it to a directory "
            "that the runtime may write to");
        return 0;
    }
    char *taken = text_take(&path);
    if (taken == NULL)
        return ERROR_NO_MEMORY;
    int result = option_store(&config_options[OPTION_STATE_DIR], taken, config, problems);
    free(taken);
    return result == ERROR_NO_MEMORY ? result : 0;
}

/* What is wrong with the address to listen on; NULL for nothing. A name is asked for at the start.
 */
static const char *find_host_fault(const char *host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    static const char digits[] = "0123456789.";
    struct in_addr address;
    size_t rest = strcspn(host, ":%");
    if (host[0] == '[')
        return "it stands in brackets";
    if (host[rest] != '\0') /* an address of IPv6; what an interface may be called is its own */
        return host[rest] == ':' ? NULL : "it is no address";
    if (host[strspn(host, digits)] == '\0')
        return inet_aton(host, &address) != 0 ? NULL : "it is no address";
    for (const char *at = host; *at != '\0'; at++)
        if (strchr(letters, *at) == NULL && strchr(digits, *at) == NULL)
            return "no name of a host has such characters";
    return NULL;
}

static void check_health_host(const struct config *config, struct problems *problems)
{
    const char *fault = config->health_host != NULL ? find_host_fault(config->health_host) : NULL;
    if (fault == NULL)
        return;
    char shown[OPTION_SHOWN_BYTES];
    option_show(&config_options[OPTION_HEALTH_HOST], config->health_host, shown);
    problems_add(problems, PROBLEM_ERROR,
        "HEALTH_HOST %s cannot be listened on (%s); right is an address of this machine, as "
        "127.0.0.1, 0.0.0.0 or ::, or its name",
        shown, fault);
}

static void check_ca_file(const struct config *config, struct problems *problems)
{
    struct stat status;
    if (config->ca_file == NULL)
        return;
    const char *wrong = NULL;
    if (stat(config->ca_file, &status) != 0 || access(config->ca_file, R_OK) != 0)
        wrong = strerror(errno);
    else if (S_ISDIR(status.st_mode))
        wrong = "it is a directory";
    if (wrong == NULL)
        return;
    char shown[OPTION_SHOWN_BYTES];
    option_show(&config_options[OPTION_CA_FILE], config->ca_file, shown);
    problems_add(problems, PROBLEM_ERROR,
        "CA_FILE %s cannot be read (%s); right is a PEM file of certificates", shown, wrong);
}

static int fill_runtime_version(struct config *config, const struct values *values)
{
    if (!is_absent(values, OPTION_RUNTIME_VERSION))
        return 0;
    config->runtime_version = strdup(MISSION_CONTROL_VERSION);
    return config->runtime_version != NULL ? 0 : ERROR_NO_MEMORY;
}

int rules_apply(struct config *config, const struct values *values, struct problems *problems)
{
    check_account_id(config, values, problems);
    check_service_token(config, values, problems);
    check_convex_url(config, values, problems);
    check_ca_file(config, problems);
    check_health_host(config, problems);
    int result = fill_gateway_token(config, values, problems);
    if (result == 0)
        result = check_gateway_command(config, values, problems);
    check_times(config, values, problems);
    if (result == 0)
        result = fill_state_dir(config, values, problems);
    if (result == 0)
        result = fill_runtime_version(config, values);
    return result;
}
