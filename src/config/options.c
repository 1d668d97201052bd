/*
 * The table of options is the single source for what settings exist. The loader checks and stores
 * values by it, --help and the manual page are rendered from it, and test/unit/options_test.c holds
 * .env.example and docs/configuration.md to it. A new setting is an id and a field in config.h, a
 * row here, and a row in that test.
 *
 * The file also finds the option that was meant by a misspelled variable: a variable with a wrong
 * name would otherwise be silently ignored. Names of options are close to each other, so the
 * permitted distance is small, and any other variable of the environment stays unmentioned.
 */
#include "config/options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/values.h"

enum { HOUR_MS = 3600000, TWO_HOURS_MS = 7200000, DAY_MS = 86400000 };

#define FIELD(name) .offset = offsetof(struct config, name)

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const switches[] = {"off", "on", NULL};
static const char *const backend_versions[] = {"auto", "v0", "v1", NULL};
static const char *const upgrade_sources[] = {"board", "tag", NULL};
static const char *const lane_kinds[] = {"auto", "agent", "session", NULL};

/* A choice is stored as its index in choices, straight into the field, an unsigned or an enum. */
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "log_level is read as a choice");
_Static_assert(LOG_LEVEL_DEBUG == 0 && LOG_LEVEL_ERROR == 3, "the order of log_levels");
_Static_assert(BACKEND_PIN_AUTO == 0 && BACKEND_PIN_V1 == 2, "the order of backend_versions");
_Static_assert(LANES_AUTO == 0 && LANES_SESSION == 2, "the order of lane_kinds");

const struct option config_options[CONFIG_OPTIONS] = {
    [OPTION_ACCOUNT_ID] = {"ACCOUNT_ID", SECTION_BACKEND, OPTION_TEXT,
        OPTION_REQUIRED | OPTION_UNQUOTED | OPTION_OR_FILE, FIELD(account_id),
        .example = "k57abc123def456",
        .help = "The account this runtime serves, as shown in Mission Control"},
    [OPTION_CONVEX_URL] = {"CONVEX_URL", SECTION_BACKEND, OPTION_URL,
        OPTION_REQUIRED | OPTION_UNQUOTED, FIELD(convex_url),
        .example = "https://happy-animal-123.convex.cloud",
        .help = "URL of Mission Control's Convex deployment"},
    [OPTION_SERVICE_TOKEN] = {"SERVICE_TOKEN", SECTION_BACKEND, OPTION_TEXT,
        OPTION_REQUIRED | OPTION_SECRET | OPTION_UNQUOTED | OPTION_OR_FILE, FIELD(service_token),
        .example = "mc_service_{accountId}_{secret}",
        .help = "The account's service token, issued by the same deployment"},
    [OPTION_CA_FILE] = {"CA_FILE", SECTION_BACKEND, OPTION_PATH, 0, FIELD(ca_file),
        .computed = "system CAs only", .example = "/etc/ssl/private-ca.pem",
        .help = "PEM file of CA certificates to trust in addition to the system's"},
    [OPTION_ALLOW_PLAIN_HTTP] = {"ALLOW_PLAIN_HTTP", SECTION_BACKEND, OPTION_BOOLEAN,
        OPTION_UNQUOTED, FIELD(allow_plain_http), .fallback = "false",
        .help = "Whether http:// may be used to a backend or gateway that is not local"},
    [OPTION_BACKEND_VERSION] = {"BACKEND_VERSION", SECTION_BACKEND, OPTION_CHOICE, 0,
        FIELD(backend_pin), .choices = backend_versions, .fallback = "auto",
        .help = "Version of the backend; auto: the one that its answers show"},

    [OPTION_OPENCLAW_GATEWAY_URL] = {"OPENCLAW_GATEWAY_URL", SECTION_GATEWAY, OPTION_URL,
        OPTION_UNQUOTED | OPTION_MAY_BE_EMPTY, FIELD(gateway_url),
        .fallback = "http://127.0.0.1:18789",
        .help = "URL of the gateway that runs the agents; set but empty disables it"},
    [OPTION_OPENCLAW_GATEWAY_TOKEN] = {"OPENCLAW_GATEWAY_TOKEN", SECTION_GATEWAY, OPTION_TEXT,
        OPTION_SECRET | OPTION_UNQUOTED | OPTION_OR_FILE | OPTION_MAY_BE_EMPTY,
        FIELD(gateway_token), .computed = "local for a local gateway, otherwise required",
        .help = "Gateway token; set but empty sends no Authorization header"},
    [OPTION_OPENCLAW_GENERATED_TOKEN_FILE] = {"OPENCLAW_GENERATED_TOKEN_FILE", SECTION_GATEWAY,
        OPTION_PATH, 0, FIELD(generated_token_file), .computed = "none",
        .example = "/run/mission-control/gateway_token",
        .help = "File shared with the gateway for a random token, made if there is none"},
    [OPTION_OPENCLAW_GATEWAY_COMMAND] = {"OPENCLAW_GATEWAY_COMMAND", SECTION_GATEWAY, OPTION_TEXT,
        0, FIELD(gateway_command), .computed = "none, the gateway runs elsewhere",
        .example = "openclaw gateway --port 18789",
        .help = "Command that runs the gateway as a supervised child process"},
    [OPTION_OPENCLAW_REQUEST_TIMEOUT_MS] = {"OPENCLAW_REQUEST_TIMEOUT_MS", SECTION_GATEWAY,
        OPTION_DURATION, 0, FIELD(gateway_timeout_ms), 100, HOUR_MS, .fallback = "60000",
        .help = "Timeout of one agent run, from connect to the last byte of the response"},
    [OPTION_OPENCLAW_VERSION] = {"OPENCLAW_VERSION", SECTION_GATEWAY, OPTION_TEXT, 0,
        FIELD(openclaw_version), .computed = "detected", .example = "2026.9.6",
        .help = "OpenClaw version to report"},
    [OPTION_OPENCLAW_FALLBACK_AGENT] = {"OPENCLAW_FALLBACK_AGENT", SECTION_GATEWAY, OPTION_TEXT, 0,
        FIELD(fallback_agent), .computed = "none", .example = "main",
        .help = "Gateway agent to use for agents that the gateway does not know"},
    [OPTION_OPENCLAW_CLIENT_TOOLS_ENABLED] = {"OPENCLAW_CLIENT_TOOLS_ENABLED", SECTION_GATEWAY,
        OPTION_BOOLEAN, OPTION_UNQUOTED, FIELD(client_tools_enabled), .fallback = "true",
        .help = "Whether agents get tools to work on the board, where the gateway takes them"},
    [OPTION_OPENCLAW_PROFILE_SYNC] = {"OPENCLAW_PROFILE_SYNC", SECTION_GATEWAY, OPTION_BOOLEAN,
        OPTION_UNQUOTED, FIELD(profile_sync), .fallback = "false",
        .help = "Whether to write agents' profiles to files, and the gateway's list of agents"},
    [OPTION_OPENCLAW_WORKSPACE_ROOT] = {"OPENCLAW_WORKSPACE_ROOT", SECTION_GATEWAY, OPTION_PATH,
        OPTION_UNQUOTED, FIELD(workspace_root), .fallback = "/root/clawd/agents",
        .help = "Directory of the agents' workspaces"},
    [OPTION_OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY] = {"OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY",
        SECTION_GATEWAY, OPTION_PATH, OPTION_UNQUOTED, FIELD(workspace_root_in_gateway),
        .computed = "OPENCLAW_WORKSPACE_ROOT", .example = "/home/openclaw/workspace",
        .help = "Path of that directory where the gateway runs"},
    [OPTION_OPENCLAW_AGENTS_FILE] = {"OPENCLAW_AGENTS_FILE", SECTION_GATEWAY, OPTION_PATH,
        OPTION_UNQUOTED, FIELD(agents_file),
        .computed = "mission-control-agents.json beside OPENCLAW_WORKSPACE_ROOT",
        .example = "/root/clawd/mission-control-agents.json",
        .help = "File with the gateway's agents, which its configuration includes"},

    [OPTION_DELIVERY_INTERVAL] = {"DELIVERY_INTERVAL", SECTION_DELIVERY, OPTION_DURATION, 0,
        FIELD(delivery_interval_ms), 10, DAY_MS, .fallback = "5000",
        .help = "Interval between polls for notifications while nothing happens"},
    [OPTION_DELIVERY_INTERVAL_ACTIVE] = {"DELIVERY_INTERVAL_ACTIVE", SECTION_DELIVERY,
        OPTION_DURATION, 0, FIELD(delivery_interval_active_ms), 10, DAY_MS,
        .computed = "the smaller of 1000 and DELIVERY_INTERVAL", .example = "1000",
        .help = "Interval between polls for a minute after something happened on the account"},
    [OPTION_DELIVERY_INTERVAL_IDLE] = {"DELIVERY_INTERVAL_IDLE", SECTION_DELIVERY, OPTION_DURATION,
        0, FIELD(delivery_interval_idle_ms), 10, DAY_MS, .computed = "DELIVERY_INTERVAL",
        .example = "30000",
        .help = "Interval between polls when nothing has happened on the account for an hour"},
    [OPTION_DELIVERY_MAX_CONCURRENT_SESSIONS] = {"DELIVERY_MAX_CONCURRENT_SESSIONS",
        SECTION_DELIVERY, OPTION_NUMBER, 0, FIELD(delivery_workers), 1, 256, .fallback = "10",
        .help = "Maximum number of agents running at the same time"},
    [OPTION_DELIVERY_LANES] = {"DELIVERY_LANES", SECTION_DELIVERY, OPTION_CHOICE, 0,
        FIELD(delivery_lanes), .choices = lane_kinds, .fallback = "auto",
        .help = "What runs one notification at a time: an agent, or its session for a task"},
    [OPTION_DELIVERY_STREAM_TIMEOUT_MS] = {"DELIVERY_STREAM_TIMEOUT_MS", SECTION_DELIVERY,
        OPTION_DURATION, 0, FIELD(delivery_stream_timeout_ms), STREAM_TIMEOUT_MIN_MS,
        STREAM_TIMEOUT_MAX_MS, .computed = "2 x OPENCLAW_REQUEST_TIMEOUT_MS", .example = "120000",
        .help = "Limit of one delivery with all its rounds of tool calls"},
    [OPTION_DELIVERY_MAX_TOOL_ROUNDS] = {"DELIVERY_MAX_TOOL_ROUNDS", SECTION_DELIVERY,
        OPTION_NUMBER, 0, FIELD(delivery_max_tool_rounds), 1, 100, .fallback = "12",
        .help = "Answers with tool calls per delivery, after which an agent is to write its reply"},
    [OPTION_DELIVERY_LIST_LIMIT] = {"DELIVERY_LIST_LIMIT", SECTION_DELIVERY, OPTION_NUMBER, 0,
        FIELD(delivery_list_limit), 1, 500, .fallback = "50",
        .help = "Minimum number of new notifications to request per poll"},
    [OPTION_DELIVERY_CONTEXT_FETCH_BATCH_SIZE] = {"DELIVERY_CONTEXT_FETCH_BATCH_SIZE",
        SECTION_DELIVERY, OPTION_NUMBER, 0, FIELD(delivery_context_fetch_batch_size), 1, 50,
        .fallback = "15", .help = "Accepted for compatibility; has no effect"},
    [OPTION_DELIVERY_QUEUE_CAPACITY] = {"DELIVERY_QUEUE_CAPACITY", SECTION_DELIVERY, OPTION_NUMBER,
        0, FIELD(delivery_queue_capacity), 16, 65536, .fallback = "1024",
        .help = "Maximum number of ready notifications held in memory"},
    [OPTION_DELIVERY_MAX_RUNS] = {"DELIVERY_MAX_RUNS", SECTION_DELIVERY, OPTION_NUMBER, 0,
        FIELD(delivery_max_runs), 1, 100, .fallback = "4",
        .help = "Failed or unanswered agent runs allowed per notification"},
    [OPTION_DELIVERY_GIVE_UP_AFTER_MS] = {"DELIVERY_GIVE_UP_AFTER_MS", SECTION_DELIVERY,
        OPTION_DURATION, 0, FIELD(delivery_give_up_after_ms), 100, 30 * (int64_t)DAY_MS,
        .fallback = "86400000",
        .help = "How long to keep retrying a notification that is being refused"},
    [OPTION_DELIVERY_LOOP_GUARD] = {"DELIVERY_LOOP_GUARD", SECTION_DELIVERY, OPTION_CHOICE, 0,
        FIELD(delivery_loop_guard), .choices = switches, .fallback = "on",
        .help = "Whether to stop agents from replying to each other endlessly"},
    [OPTION_DELIVERY_MAX_HOPS] = {"DELIVERY_MAX_HOPS", SECTION_DELIVERY, OPTION_NUMBER, 0,
        FIELD(delivery_max_hops), 1, 1000, .fallback = "16",
        .help = "Consecutive agent-to-agent replies allowed before a person must write"},
    [OPTION_DELIVERY_MAX_AGENT_RUNS] = {"DELIVERY_MAX_AGENT_RUNS", SECTION_DELIVERY, OPTION_NUMBER,
        0, FIELD(delivery_max_agent_runs), 1, 10000, .fallback = "32",
        .help = "Agent runs that one message of a person may lead to, also per task"},
    [OPTION_DELIVERY_BACKOFF_BASE_MS] = {"DELIVERY_BACKOFF_BASE_MS", SECTION_DELIVERY,
        OPTION_DURATION, 0, FIELD(delivery_backoff_base_ms), 1, DAY_MS, .fallback = "5000",
        .help = "Retry delay after the first failure; doubles with each further failure"},
    [OPTION_DELIVERY_BACKOFF_MAX_MS] = {"DELIVERY_BACKOFF_MAX_MS", SECTION_DELIVERY,
        OPTION_DURATION, 0, FIELD(delivery_backoff_max_ms), 1, DAY_MS, .fallback = "300000",
        .help = "Maximum retry delay; must not be below the base"},

    [OPTION_AGENT_SYNC_INTERVAL] = {"AGENT_SYNC_INTERVAL", SECTION_STATUS, OPTION_DURATION, 0,
        FIELD(agent_sync_interval_ms), 10, DAY_MS, .fallback = "60000",
        .help = "Interval between refreshes of the account's agent list"},
    [OPTION_HEALTH_CHECK_INTERVAL] = {"HEALTH_CHECK_INTERVAL", SECTION_STATUS, OPTION_DURATION, 0,
        FIELD(health_check_interval_ms), 10, DAY_MS, .fallback = "60000",
        .help = "Interval between status reports; after 90 s without one the board shows offline"},
    [OPTION_UPGRADE_MODE] = {"UPGRADE_MODE", SECTION_STATUS, OPTION_TEXT, OPTION_RAW,
        FIELD(upgrade_mode), .fallback = "exit",
        .help = "exit: shut down when an upgrade is requested; off: ignore requests"},
    [OPTION_UPGRADE_FOLLOW] = {"UPGRADE_FOLLOW", SECTION_STATUS, OPTION_CHOICE, 0,
        FIELD(upgrade_follow), .choices = upgrade_sources, .fallback = "board",
        .help = "What mission-control-upgrade installs: only what the board requests, or its tag"},
    [OPTION_RUNTIME_VERSION] = {"RUNTIME_VERSION", SECTION_STATUS, OPTION_TEXT, OPTION_RAW,
        FIELD(runtime_version), .computed = "the program's version", .example = "0.2.0",
        .help = "Runtime version to report"},

    [OPTION_HEALTH_HOST] = {"HEALTH_HOST", SECTION_HEALTH, OPTION_TEXT, OPTION_UNQUOTED,
        FIELD(health_host), .fallback = "127.0.0.1",
        .help = "Address the HTTP server listens on; 0.0.0.0 means all interfaces"},
    [OPTION_HEALTH_PORT] = {"HEALTH_PORT", SECTION_HEALTH, OPTION_NUMBER, 0, FIELD(health_port), 0,
        65535, .fallback = "3001", .help = "Port the HTTP server listens on; 0 picks a free port"},
    [OPTION_TASK_STATUS_BASE_URL] = {"TASK_STATUS_BASE_URL", SECTION_HEALTH, OPTION_URL,
        OPTION_UNQUOTED, FIELD(task_status_base_url), .computed = "the HTTP server's address",
        .example = "http://runtime:3001", .help = "URL under which agents reach the HTTP server"},
    [OPTION_HEALTH_ALLOWED_HOSTS] = {"HEALTH_ALLOWED_HOSTS", SECTION_HEALTH, OPTION_TEXT,
        OPTION_UNQUOTED, FIELD(health_allowed_hosts), .computed = "none",
        .example = "runtime.example.com,board.lan",
        .help = "Further names, with dots, under which the HTTP server may be asked"},
    [OPTION_AGENT_API_TAGS] = {"AGENT_API_TAGS", SECTION_HEALTH, OPTION_CHOICE, 0,
        FIELD(agent_api_tags), .choices = switches, .fallback = "on",
        .help = "Whether agents have to prove their session; off lets one act for another"},
    [OPTION_BOARD_URL] = {"BOARD_URL", SECTION_HEALTH, OPTION_URL, OPTION_UNQUOTED,
        FIELD(board_url), .computed = "no link", .example = "https://board.example.com",
        .help = "URL of the board, to which the status page links"},

    [OPTION_STATE_DIR] = {"STATE_DIR", SECTION_PROCESS, OPTION_PATH, 0, FIELD(state_dir),
        .computed = "$STATE_DIRECTORY, else under ~/.local/state",
        .example = "/var/lib/mission-control-runtime",
        .help = "Directory for state that must survive a restart; one runtime per directory"},
    [OPTION_SHUTDOWN_GRACE_MS] = {"SHUTDOWN_GRACE_MS", SECTION_PROCESS, OPTION_DURATION, 0,
        FIELD(shutdown_grace_ms), 100, TWO_HOURS_MS,
        .computed = "OPENCLAW_REQUEST_TIMEOUT_MS + 5000", .example = "65000",
        .help = "How long a shutdown waits for agent runs in progress"},
    [OPTION_LOG_LEVEL] = {"LOG_LEVEL", SECTION_PROCESS, OPTION_CHOICE, 0, FIELD(log_level),
        .choices = log_levels, .fallback = "info", .help = "Minimum severity to log"},
    [OPTION_LOG_FORMAT] = {"LOG_FORMAT", SECTION_PROCESS, OPTION_CHOICE, 0, FIELD(log_as_json),
        .choices = log_formats, .fallback = "text", .help = "text for people, json for machines"},

    [OPTION_DROPLET_ID] = {"DROPLET_ID", SECTION_MACHINE, OPTION_TEXT, OPTION_RAW,
        FIELD(droplet_id), .fallback = "unknown", .help = "Machine id to report"},
    [OPTION_DROPLET_IP] = {"DROPLET_IP", SECTION_MACHINE, OPTION_TEXT, OPTION_RAW,
        FIELD(droplet_ip), .fallback = "unknown", .help = "Machine IP address to report"},
    [OPTION_DROPLET_REGION] = {"DROPLET_REGION", SECTION_MACHINE, OPTION_TEXT, OPTION_RAW,
        FIELD(droplet_region), .fallback = "unknown", .help = "Machine region to report"},
};

const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (strcmp(config_options[i].name, name) == 0)
            return &config_options[i];
    return NULL;
}

bool option_owns_name(const char *name, size_t length_bytes)
{
    static const char suffix[] = "_FILE";
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = &config_options[i];
        size_t own_bytes = strlen(option->name);
        if (length_bytes < own_bytes || memcmp(name, option->name, own_bytes) != 0)
            continue;
        if (length_bytes == own_bytes)
            return true;
        if ((option->flags & OPTION_OR_FILE) != 0 &&
            length_bytes == own_bytes + sizeof suffix - 1 &&
            memcmp(name + own_bytes, suffix, sizeof suffix - 1) == 0)
            return true;
    }
    return false;
}

const char *option_section_title(unsigned section)
{
    static const char *const titles[OPTION_SECTIONS] = {
        [SECTION_BACKEND] = "Account and backend",
        [SECTION_GATEWAY] = "Agent gateway",
        [SECTION_DELIVERY] = "Delivery",
        [SECTION_STATUS] = "Agents and status",
        [SECTION_HEALTH] = "HTTP server",
        [SECTION_PROCESS] = "Process",
        [SECTION_MACHINE] = "Machine",
    };
    return titles[section];
}

static void option_append_choices(const struct option *option, struct text *text)
{
    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        text_printf(text, "%s%s", choice == option->choices ? "" : ", ", *choice);
}

void option_append_range(const struct option *option, struct text *text)
{
    switch (option->kind) {
    case OPTION_TEXT:
        text_append(text, (option->flags & OPTION_SECRET) != 0 ? "secret" : "text");
        return;
    case OPTION_URL:
        text_append(text, "http or https URL");
        return;
    case OPTION_PATH:
        text_append(text, "path");
        return;
    case OPTION_NUMBER:
        text_printf(text, "%" PRId64 "..%" PRId64, option->min, option->max);
        return;
    case OPTION_DURATION:
        text_printf(text, "%" PRId64 "..%" PRId64 " ms", option->min, option->max);
        return;
    case OPTION_CHOICE:
        option_append_choices(option, text);
        return;
    case OPTION_BOOLEAN:
        text_append(text, "true, false, yes, no, on, off, 1, 0");
        return;
    }
}

/* The default as displayed. */
static const char *option_default_text(const struct option *option)
{
    if (option->fallback != NULL)
        return option->fallback;
    return option->computed != NULL ? option->computed : "required";
}

static void option_append_markdown_row(const struct option *option, struct text *text)
{
    const char *tick = option->fallback != NULL ? "`" : "";
    text_printf(text, "| `%s`", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        text_printf(text, ", `%s_FILE`", option->name);
    text_printf(text, " | %s%s%s | ", tick, option_default_text(option), tick);
    option_append_range(option, text);
    text_printf(text, " | %s |\n", option->help);
}

void option_append_markdown(unsigned section, struct text *text)
{
    text_append(text, "| variable | default | values | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (config_options[i].section == section)
            option_append_markdown_row(&config_options[i], text);
}

/* NAME=value with the default, else the example, else nothing. */
static void option_append_assignment(const struct option *option, struct text *text)
{
    const char *value = option->fallback != NULL ? option->fallback : option->example;
    text_printf(text, "%s=%s", option->name, value != NULL ? value : "");
}

/* E.g. "(10..86400000 ms; default: 5000)". */
static void option_append_facts(const struct option *option, struct text *text)
{
    text_append(text, "(");
    option_append_range(option, text);
    bool is_required = (option->flags & OPTION_REQUIRED) != 0;
    text_printf(text, "; %s%s)", is_required ? "" : "default: ", option_default_text(option));
}

void option_append_env_example(const struct option *option, struct text *text)
{
    text_printf(text, "# %s ", option->help);
    option_append_facts(option, text);
    text_append(text, "\n");
    /* Settings that operators commonly change are assigned; the others are commented out. */
    bool is_assigned = option == &config_options[OPTION_HEALTH_PORT] ||
                       option == &config_options[OPTION_DELIVERY_INTERVAL] ||
                       option == &config_options[OPTION_HEALTH_CHECK_INTERVAL];
    if ((option->flags & OPTION_REQUIRED) != 0) {
        text_printf(text, "%s=\n", option->name);
        return;
    }
    text_append(text, is_assigned ? "" : "# ");
    option_append_assignment(option, text);
    text_append(text, "\n");
}

void option_append_help(const struct option *option, struct text *text)
{
    text_printf(text, "  %s", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        text_printf(text, ", %s_FILE", option->name);
    text_append(text, " ");
    option_append_facts(option, text);
    text_printf(text, "\n      %s\n", option->help);
}

/* Longer than any option's name; a short name allows one mistake instead of two. */
enum { NAME_BYTES = 48, SHORT_NAME_BYTES = 9 };

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * The number of insertions, deletions, replacements and transpositions of neighbors that turn a
 * into b (optimal string alignment distance); both are shorter than NAME_BYTES.
 */
static size_t name_distance(const char *a, const char *b)
{
    size_t rows[NAME_BYTES][NAME_BYTES];
    size_t a_bytes = strlen(a);
    size_t b_bytes = strlen(b);
    for (size_t i = 0; i <= a_bytes; i++)
        for (size_t j = 0; j <= b_bytes; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            size_t replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = min_size(replaced, min_size(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = min_size(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    return rows[a_bytes][b_bytes];
}

/* Whether upper is close to known, and closer than *best, which is then updated. */
static bool name_is_closer(const char *upper, const char *known, size_t *best)
{
    size_t known_bytes = strlen(known);
    size_t upper_bytes = strlen(upper);
    size_t allowed = known_bytes < SHORT_NAME_BYTES ? 1 : 2;
    /* Each additional letter costs at least one step, which rules out most names cheaply. */
    if (upper_bytes > known_bytes + allowed || known_bytes > upper_bytes + allowed)
        return false;
    size_t found = name_distance(upper, known);
    if (found > allowed || found >= *best)
        return false;
    *best = found;
    return true;
}

const char *option_closest(const char *name, size_t length_bytes)
{
    /* Every option with OPTION_OR_FILE. */
    static const char *const with_file[] = {
        "ACCOUNT_ID_FILE", "SERVICE_TOKEN_FILE", "OPENCLAW_GATEWAY_TOKEN_FILE"};
    enum { WITH_FILE = sizeof with_file / sizeof with_file[0] };
    char upper[NAME_BYTES];
    if (length_bytes >= sizeof upper)
        return NULL;
    for (size_t i = 0; i < length_bytes; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    upper[length_bytes] = '\0';
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < CONFIG_OPTIONS + WITH_FILE; i++) {
        const char *known =
            i < CONFIG_OPTIONS ? config_options[i].name : with_file[i - CONFIG_OPTIONS];
        /* It is a setting, even if it resembles another one. */
        if (strlen(known) == length_bytes && memcmp(known, name, length_bytes) == 0)
            return NULL;
        if (name_is_closer(upper, known, &best))
            nearest = known;
    }
    return nearest;
}

static void option_suggest_for(const char *name, size_t length_bytes, struct problems *problems)
{
    const char *meant = option_closest(name, length_bytes);
    if (meant == NULL)
        return;
    char quoted[NAME_BYTES];
    text_quote(quoted, sizeof quoted, name, length_bytes);
    problems_add(problems, PROBLEM_WARNING,
        "%s is not a setting and has no effect; did you mean %s?", quoted, meant);
}

void option_suggest(const struct values *values, struct problems *problems)
{
    char *const *at = values->environment;
    for (; at != NULL && *at != NULL; at++)
        option_suggest_for(*at, strcspn(*at, "="), problems);
    for (size_t i = 0; i < values->env_file.count; i++)
        option_suggest_for(
            values->env_file.entries[i].name, strlen(values->env_file.entries[i].name), problems);
}
