/* The settings of a runtime: loaded once, checked as a whole, then constant. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"

/* What is wrong with the settings, collected so that all of it is reported in one run. */

enum problem_severity {
    PROBLEM_ERROR,
    PROBLEM_REFUSAL, /* an error, too: the system refused something and may not do so later */
    PROBLEM_WARNING,
};

/* Zero-initialize it and free it with problems_fini. Used by one thread at a time. */
struct problems {
    struct {
        enum problem_severity severity;
        char *text; /* one line without its end, without secrets */
    } * items;
    size_t count;
    bool failed; /* out of memory for a problem; counts as an error */
};

/*
 * Adds a line. Text from outside must have gone through text_quote (base/text.h): the line itself
 * is not redacted, as it may have to show the form of a token.
 */
void problems_add(struct problems *problems, enum problem_severity severity, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

/* The severity of a failure to read a file that a setting names, by its error code. Pure. */
enum problem_severity problem_of_code(int code);

/* Whether a problem prevents starting, and whether a person has to change something before. */
bool problems_have_error(const struct problems *problems);
bool problems_need_person(const struct problems *problems);

/* Writes each as a line "error: text" or "warning: text", in the order of adding. */
void problems_write(const struct problems *problems, FILE *stream);

void problems_fini(struct problems *problems);

/* The settings. */

/* The rows of the table of options (config/options.h), in the order of display. */
enum option_id {
    OPTION_ACCOUNT_ID,
    OPTION_CONVEX_URL,
    OPTION_SERVICE_TOKEN,
    OPTION_CA_FILE,
    OPTION_ALLOW_PLAIN_HTTP,
    OPTION_BACKEND_VERSION,
    OPTION_OPENCLAW_GATEWAY_URL,
    OPTION_OPENCLAW_GATEWAY_TOKEN,
    OPTION_OPENCLAW_GENERATED_TOKEN_FILE,
    OPTION_OPENCLAW_GATEWAY_COMMAND,
    OPTION_OPENCLAW_REQUEST_TIMEOUT_MS,
    OPTION_OPENCLAW_VERSION,
    OPTION_OPENCLAW_FALLBACK_AGENT,
    OPTION_OPENCLAW_CLIENT_TOOLS_ENABLED,
    OPTION_OPENCLAW_PROFILE_SYNC,
    OPTION_OPENCLAW_WORKSPACE_ROOT,
    OPTION_OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY,
    OPTION_OPENCLAW_AGENTS_FILE,
    OPTION_DELIVERY_INTERVAL,
    OPTION_DELIVERY_MAX_CONCURRENT_SESSIONS,
    OPTION_DELIVERY_LANES,
    OPTION_DELIVERY_STREAM_TIMEOUT_MS,
    OPTION_DELIVERY_MAX_TOOL_ROUNDS,
    OPTION_DELIVERY_LIST_LIMIT,
    OPTION_DELIVERY_CONTEXT_FETCH_BATCH_SIZE,
    OPTION_DELIVERY_QUEUE_CAPACITY,
    OPTION_DELIVERY_MAX_RUNS,
    OPTION_DELIVERY_GIVE_UP_AFTER_MS,
    OPTION_DELIVERY_LOOP_GUARD,
    OPTION_DELIVERY_MAX_HOPS,
    OPTION_DELIVERY_MAX_AGENT_RUNS,
    OPTION_DELIVERY_BACKOFF_BASE_MS,
    OPTION_DELIVERY_BACKOFF_MAX_MS,
    OPTION_AGENT_SYNC_INTERVAL,
    OPTION_HEALTH_CHECK_INTERVAL,
    OPTION_UPGRADE_MODE,
    OPTION_UPGRADE_FOLLOW,
    OPTION_RUNTIME_VERSION,
    OPTION_HEALTH_HOST,
    OPTION_HEALTH_PORT,
    OPTION_TASK_STATUS_BASE_URL,
    OPTION_HEALTH_ALLOWED_HOSTS,
    OPTION_AGENT_API_TAGS,
    OPTION_STATE_DIR,
    OPTION_SHUTDOWN_GRACE_MS,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_DROPLET_ID,
    OPTION_DROPLET_IP,
    OPTION_DROPLET_REGION,
    CONFIG_OPTIONS,
};

/* BACKEND_VERSION: the version of the backend to go by. */
enum backend_pin {
    BACKEND_PIN_AUTO, /* the one that its answers show */
    BACKEND_PIN_V0,
    BACKEND_PIN_V1,
};

/* DELIVERY_LANES: what runs one notification at a time. */
enum delivery_lanes {
    LANES_AUTO,    /* as is usual for the version of the backend */
    LANES_AGENT,   /* an agent, whatever the task */
    LANES_SESSION, /* an agent's session for one task */
};

/* Where the value of a setting came from. */
enum config_origin {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_ENVIRONMENT,
    CONFIG_FROM_ENV_FILE,
    CONFIG_FROM_VALUE_FILE, /* the file named by NAME_FILE */
};

/*
 * Every setting, checked (docs/configuration.md). Owns its strings, which are valid UTF-8 without
 * control characters, and not NULL unless stated otherwise. Constant after config_load, so any
 * thread may read it. Tokens and log level are those at startup; SIGHUP changes them only at their
 * users (src/signals.h).
 */
struct config {
    char *account_id;
    char *convex_url; /* http or https, without '/' at its end */
    char *service_token;
    enum backend_pin backend_pin;
    char *gateway_url;          /* http or https, without '/' at its end; "" if disabled */
    char *gateway_token;        /* NULL or "": send no Authorization header */
    char *generated_token_file; /* shared with the gateway; NULL: none */
    char *gateway_command;      /* runs it as our child, see argv_parse; NULL: we do not run it */
    char *openclaw_version;     /* NULL: detect it */
    char *fallback_agent;       /* runs in place of agents unknown to the gateway; NULL: none */
    bool client_tools_enabled;
    bool profile_sync;
    char *workspace_root;            /* absolute, and not the root of the file system */
    char *workspace_root_in_gateway; /* the same directory as the gateway sees it */
    char *agents_file;               /* the gateway's agents; absolute */
    char *runtime_version;
    char *health_host;
    unsigned health_port;       /* 0: any free port */
    char *task_status_base_url; /* NULL: the HTTP server's own address */
    char *health_allowed_hosts; /* names, separated by commas or blanks; NULL: none */
    unsigned agent_api_tags;    /* AGENT_API_TAGS: 1 if on, else 0 */
    int64_t delivery_interval_ms;
    int64_t health_check_interval_ms;
    int64_t agent_sync_interval_ms;
    int64_t delivery_backoff_base_ms;
    int64_t delivery_backoff_max_ms; /* at least the base */
    int64_t gateway_timeout_ms;      /* OPENCLAW_REQUEST_TIMEOUT_MS: for the whole exchange */
    unsigned delivery_workers;       /* DELIVERY_MAX_CONCURRENT_SESSIONS */
    enum delivery_lanes delivery_lanes;
    int64_t delivery_stream_timeout_ms; /* of one delivery with all rounds of tool calls */
    unsigned delivery_max_tool_rounds;  /* answers with calls of tools, of one delivery */
    unsigned delivery_max_runs;         /* failed and ambiguous runs of one notification */
    int64_t delivery_give_up_after_ms;
    unsigned delivery_loop_guard; /* 1 if on, else 0 */
    unsigned delivery_max_hops;
    unsigned delivery_max_agent_runs; /* of one cause, and of one task since a person wrote */
    unsigned delivery_list_limit;
    unsigned delivery_context_fetch_batch_size; /* has no effect */
    unsigned delivery_queue_capacity;
    int64_t shutdown_grace_ms;
    char *state_dir;       /* without '/' at its end, unless it is the root */
    char *ca_file;         /* NULL: only the system's authorities */
    bool allow_plain_http; /* to a backend or gateway that is not local (url_is_local) */
    enum log_level log_level;
    unsigned log_as_json; /* LOG_FORMAT: 1 if JSON, else 0 */
    char *droplet_id;
    char *droplet_ip;
    char *droplet_region;
    char *upgrade_mode;      /* compared with "exit" only */
    unsigned upgrade_follow; /* UPGRADE_FOLLOW: 1 if tag; only mission-control-upgrade obeys it */

    char *exposed_file; /* that holds a token and every user can read, quoted; NULL: none */

    /* Shown by config_describe beside the values. */
    enum config_origin origins[CONFIG_OPTIONS];
};

/*
 * Fills in *config from environment (NAME=value strings, NULL-terminated, like environ) and
 * env_file (path of a file with further variables, or NULL); the environment takes precedence. Adds
 * errors and warnings to *problems. Returns 0 (also with warnings), ERROR_INVALID if an error was
 * added, ERROR_SYSTEM if there were only refusals of the system, or ERROR_NO_MEMORY; then there is
 * nothing to free. On success the caller frees with
 * config_fini. Secrets are registered with redact() before anything is reported, even if the load
 * fails. Reads files, which may block; one thread at a time.
 */
int config_load(struct config *config, char *const *environment, const char *env_file,
    struct problems *problems);

/* Frees the strings and zeroes the structure, which may be zeroed already. */
void config_fini(struct config *config);

/*
 * Appends the effective settings to *text in the order of the table, one line "NAME=value  #
 * origin" each, which --env-file can read back. Secrets are shown as ***.
 */
void config_describe(const struct config *config, struct text *text);

#endif
