/*
 * What people put into a setting in place of its value, found by experience: the quotes that a
 * shell would have removed, the name again, a whole file, the placeholder of an example, the
 * address of a page. Each has an answer of its own, because the general check would only say that
 * the value is not valid, or would accept it, and the mistake would show later as requests that
 * fail.
 *
 * Runs on each value as it was written, before it is stored. A value with a mistake is not stored,
 * unless the setting is taken verbatim: then it may be meant, and there is a warning.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "config/url.h"
#include "config/values.h"

/* Larger than the bundles of all systems, which have less than 1 MiB. */
enum { CA_FILE_BYTES_MAX = 8 * 1024 * 1024, SHOWN_NAME_BYTES = 64 };

/* What an address must not end in, because the runtime appends it, or because it is for people. */
static const char *const backend_endings[] = {
    "/api/query", "/api/mutation", "/api/action", "/api", "/version", NULL};
static const char *const gateway_endings[] = {"/v1/responses", "/v1/chat/completions", "/v1/models",
    "/v1", "/chat", "/overview", "/config", "/health", "/healthz", NULL};

static bool value_begins_with_name(const struct option *option, const char *value)
{
    size_t length = strlen(option->name);
    if (strncmp(value, "export ", 7) == 0)
        value += 7;
    return strncmp(value, option->name, length) == 0 && value[length] == '=';
}

static unsigned count_lines(const char *value)
{
    unsigned lines = 1;
    for (; *value != '\0'; value++)
        lines += *value == '\n' ? 1 : 0;
    return lines;
}

/* Of the gateway's command, only quotes around all of it: it may begin and end with quoted words.
 */
static bool value_is_quoted(const struct option *option, const char *value)
{
    size_t length = strlen(value);
    if (length < 2 || (value[0] != '"' && value[0] != '\'') || value[length - 1] != value[0])
        return false;
    if (option != &config_options[OPTION_OPENCLAW_GATEWAY_COMMAND])
        return true;
    bool is_one = memchr(value + 1, value[0], length - 2) == NULL;
    return is_one && memchr(value + 1, ' ', length - 2) != NULL;
}

static int check_quotes(const struct option *option, const char *value, struct problems *problems)
{
    if (!value_is_quoted(option, value))
        return 0;
    int result = option_report(option, value, problems,
        "is in quotes, which are part of the value here, as docker run --env-file passes them "
        "through; expected it without quotes");
    if ((option->flags & OPTION_RAW) == 0)
        return result;
    problems->items[problems->count - 1].severity = PROBLEM_WARNING;
    return 0;
}

/* Whether it was copied from an example. Real ids and URLs have none of these. */
static bool value_is_placeholder(const struct option *option, const char *value)
{
    static const char *const marks[] = {
        "...", "\xE2\x80\xA6", "<", "{accountId}", "{secret}", "your-", "your_", "YOUR_", "YOUR-"};
    static const enum option_id checked[] = {
        OPTION_ACCOUNT_ID, OPTION_CONVEX_URL, OPTION_SERVICE_TOKEN};
    bool is_checked = false;
    for (size_t i = 0; i < sizeof checked / sizeof checked[0]; i++)
        is_checked = is_checked || option == &config_options[checked[i]];
    for (size_t i = 0; is_checked && i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(value, marks[i]) != NULL)
            return true;
    return false;
}

/* Whether it is the example of the documents, unchanged, or a name under example.com. */
static bool value_is_example(const struct option *option, const char *value)
{
    if (option == &config_options[OPTION_ACCOUNT_ID] ||
        option == &config_options[OPTION_CONVEX_URL])
        return strcmp(value, option->example) == 0;
    return (option == &config_options[OPTION_BOARD_URL] ||
               option == &config_options[OPTION_HEALTH_ALLOWED_HOSTS]) &&
           strstr(value, "example.com") != NULL;
}

/* Only warned of: in a trial it may be meant. */
static void check_example(const struct option *option, const char *value, struct problems *problems)
{
    if (!value_is_example(option, value))
        return;
    option_report(option, value, problems,
        "is an example from the documents; expected the value of your own account or host");
    problems->items[problems->count - 1].severity = PROBLEM_WARNING;
}

/* The deployment that a page of Convex's dashboard is about: .../d/NAME. Empty if it is not there.
 */
static struct text_span find_deployment(const char *url)
{
    const char *name = strstr(url, "/d/");
    if (name == NULL)
        return (struct text_span){url, 0};
    return (struct text_span){name + 3, strspn(name + 3, TEXT_LETTERS TEXT_DIGITS "-")};
}

static int refuse_dashboard(
    const struct option *option, const char *value, struct problems *problems)
{
    struct text_span name = find_deployment(value);
    if (name.length_bytes == 0 || name.length_bytes >= SHOWN_NAME_BYTES)
        return option_report(option, value, problems,
            "is a page of Convex's dashboard; expected the deployment's own URL, which ends in "
            ".convex.cloud");
    return option_report(option, value, problems,
        "is a page of Convex's dashboard; expected the deployment's own URL, "
        "https://%.*s.convex.cloud",
        (int)name.length_bytes, name.bytes);
}

static int check_ending(const struct option *option, const char *value, const char *const *endings,
    struct problems *problems)
{
    size_t length = strlen(value);
    while (length > 1 && value[length - 1] == '/')
        length--;
    for (; *endings != NULL; endings++) {
        size_t ending_bytes = strlen(*endings);
        if (length <= ending_bytes ||
            strncmp(value + length - ending_bytes, *endings, ending_bytes) != 0)
            continue;
        return option_report(option, value, problems,
            "ends in %s; expected the URL without it, because the runtime appends the paths by "
            "itself: %.*s",
            *endings, (int)(length - ending_bytes), value);
    }
    return 0;
}

/* A URL that is not valid is left to the check of the setting's kind. */
static int check_address(const struct option *option, const char *value, struct problems *problems)
{
    struct url url;
    bool is_gateway = option == &config_options[OPTION_OPENCLAW_GATEWAY_URL];
    if (is_gateway && strpbrk(value, "?#") != NULL)
        return option_report(option, value, problems,
            "has a query or fragment, as the address of the gateway's dashboard; expected its "
            "scheme, host and port only, like http://127.0.0.1:18789, and the token in "
            "OPENCLAW_GATEWAY_TOKEN");
    if (!is_gateway && option != &config_options[OPTION_CONVEX_URL])
        return 0;
    if (url_parse(value, &url) != NULL)
        return 0;
    if (!is_gateway && url_host_is(&url, "dashboard.convex.dev"))
        return refuse_dashboard(option, value, problems);
    return check_ending(option, value, is_gateway ? gateway_endings : backend_endings, problems);
}

/* UPGRADE_MODE is compared with one word, so a slip of the pen would turn upgrades off. */
static void check_upgrade_mode(
    const struct option *option, const char *value, struct problems *problems)
{
    static const char *const known[] = {"exit", "off", "none", "ignore", "manual"};
    if (option != &config_options[OPTION_UPGRADE_MODE])
        return;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(value, known[i]) == 0)
            return;
    option_report(option, value, problems,
        "is not exit, so requests of the board to restart or upgrade are ignored; expected exit, "
        "or off if this is meant");
    problems->items[problems->count - 1].severity = PROBLEM_WARNING;
}

int mistakes_check(const struct option *option, const char *value, struct problems *problems)
{
    if (value_begins_with_name(option, value))
        return option_report(option, value, problems,
            "begins with %s= itself; expected the value alone, without the name", option->name);
    if (count_lines(value) > 1)
        return option_report(option, value, problems,
            "has %u lines; expected the value alone, on one line", count_lines(value));
    if (value_is_placeholder(option, value))
        return option_report(option, value, problems,
            "is a placeholder from an example; expected the value that the board shows");
    int result = check_quotes(option, value, problems);
    if (result == 0 && option->kind == OPTION_URL)
        result = check_address(option, value, problems);
    if (result == 0 && !problems->failed)
        check_upgrade_mode(option, value, problems);
    if (result == 0 && !problems->failed)
        check_example(option, value, problems);
    return result;
}

/* What else than certificates is in the file, as a phrase that follows its name. */
static const char *find_ca_fault(const char *content)
{
    static const char *const certificates[] = {"-----BEGIN CERTIFICATE-----",
        "-----BEGIN TRUSTED CERTIFICATE-----", "-----BEGIN X509 CERTIFICATE-----"};
    for (size_t i = 0; i < sizeof certificates / sizeof certificates[0]; i++)
        if (strstr(content, certificates[i]) != NULL)
            return NULL;
    if (strstr(content, "PRIVATE KEY-----") != NULL)
        return "holds a private key and no certificate";
    return "holds no certificate in PEM format (openssl x509 -inform DER converts one)";
}

/* The file could be read when it was looked at. */
static void check_certificates(const char *path, struct problems *problems)
{
    struct text content;
    struct error error;
    int result = file_read(path, CA_FILE_BYTES_MAX, &content, NULL, &error);
    if (result != 0) {
        problems_add(problems, problem_of_code(result), "CA_FILE: %s", error.text);
        return;
    }
    const char *fault = find_ca_fault(content.data);
    if (fault != NULL)
        option_report(&config_options[OPTION_CA_FILE], path, problems,
            "%s; expected a PEM file of certificates", fault);
    text_fini(&content);
}

void mistakes_check_ca_file(const struct config *config, struct problems *problems)
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
        wrong =
            S_ISFIFO(status.st_mode) ? "is a FIFO, not a regular file" : "is not a regular file";
    if (reason != 0 && error_code_of_path(reason) == ERROR_SYSTEM)
        problems_add(problems, PROBLEM_REFUSAL, "CA_FILE cannot be read at the moment: %s",
            strerror(reason));
    else if (reason != 0 || wrong != NULL)
        option_report(&config_options[OPTION_CA_FILE], config->ca_file, problems,
            "cannot be read: %s; expected a PEM file of certificates",
            wrong != NULL ? wrong : strerror(reason));
    else
        check_certificates(config->ca_file, problems);
}
