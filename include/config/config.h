/* Everything that is wrong with the settings, collected so that it is said at once. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"

enum problem_severity { PROBLEM_ERROR, PROBLEM_WARNING };

/* text is one line without its end, and free of secrets. */
struct problem {
    enum problem_severity severity;
    char *text;
};

/* Zero-initialise it and free it with problems_fini. Used by one thread at a time. */
struct problems {
    struct problem *items;
    size_t count;
    bool failed; /* no memory for a problem; counts as an error */
};

/*
 * Adds a line. Whatever came from outside stands in it only after text_quote (base/text.h): the
 * line itself is not redacted, as it may have to name the form that a token should have.
 */
void problems_add(struct problems *problems, enum problem_severity severity, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

/* Whether something stands against starting. */
bool problems_have_error(const struct problems *problems);

/* Writes each as "error: text" or "warning: text", a line each, in the order of adding. */
void problems_write(const struct problems *problems, FILE *stream);

void problems_fini(struct problems *problems);

/* The settings of one runtime: read once at start, checked as a whole, then never changed. */

/* The rows of the table of options (config/options.h), in the order in which they are shown. */
enum option_id {
    OPTION_ACCOUNT_ID,
    OPTION_CONVEX_URL,
    OPTION_SERVICE_TOKEN,
    OPTION_CA_FILE,
    OPTION_OPENCLAW_GATEWAY_URL,
    OPTION_OPENCLAW_GATEWAY_TOKEN,
    OPTION_OPENCLAW_GATEWAY_COMMAND,
    OPTION_OPENCLAW_REQUEST_TIMEOUT_MS,
    OPTION_OPENCLAW_VERSION,
    OPTION_OPENCLAW_FALLBACK_AGENT,
    OPTION_DELIVERY_INTERVAL,
    OPTION_DELIVERY_MAX_CONCURRENT_SESSIONS,
    OPTION_DELIVERY_LIST_LIMIT,
    OPTION_DELIVERY_QUEUE_CAPACITY,
    OPTION_DELIVERY_MAX_RUNS,
    OPTION_DELIVERY_GIVE_UP_AFTER_MS,
    OPTION_DELIVERY_LOOP_GUARD,
    OPTION_DELIVERY_MAX_HOPS,
    OPTION_DELIVERY_BACKOFF_BASE_MS,
    OPTION_DELIVERY_BACKOFF_MAX_MS,
    OPTION_AGENT_SYNC_INTERVAL,
    OPTION_HEALTH_CHECK_INTERVAL,
    OPTION_UPGRADE_MODE,
    OPTION_RUNTIME_VERSION,
    OPTION_HEALTH_HOST,
    OPTION_HEALTH_PORT,
    OPTION_STATE_DIR,
    OPTION_SHUTDOWN_GRACE_MS,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_DROPLET_ID,
    OPTION_DROPLET_IP,
    OPTION_DROPLET_REGION,
    CONFIG_OPTIONS,
};

enum config_switch { CONFIG_OFF, CONFIG_ON };

/* Where the value of a setting came from. */
enum config_origin {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_ENVIRONMENT,
    CONFIG_FROM_ENV_FILE,
    CONFIG_FROM_VALUE_FILE, /* the file that NAME_FILE names */
};

/*
 * Every setting, checked. Names and defaults: docs/configuration.md (contract runtime-behaviour-v0,
 * section 1). The structure owns its strings, which are valid UTF-8 without control characters and
 * not NULL unless said otherwise. After config_load it is const for everybody, so any thread may
 * read it. Tokens and log level are those of the start: who uses them has them exchanged
 * (reload.h).
 */
struct config {
    char *account_id;
    char *convex_url; /* http or https, without '/' at its end */
    char *service_token;
    char *gateway_url;      /* http or https, without '/' at its end; "" is: disabled */
    char *gateway_token;    /* NULL or "" is: send no Authorization header */
    char *gateway_command;  /* base/words.h; starts it as our child; NULL is: others run it */
    char *openclaw_version; /* NULL is: find it out */
    char *fallback_agent;   /* runs for agents that the gateway lacks; NULL is: none */
    char *runtime_version;
    char *health_host;
    unsigned health_port; /* 0 is: any free port */
    int64_t delivery_interval_ms;
    int64_t health_check_interval_ms;
    int64_t agent_sync_interval_ms;
    int64_t delivery_backoff_base_ms;
    int64_t delivery_backoff_max_ms; /* at least the base */
    int64_t gateway_timeout_ms;      /* OPENCLAW_REQUEST_TIMEOUT_MS: the whole exchange */
    unsigned delivery_workers;       /* DELIVERY_MAX_CONCURRENT_SESSIONS */
    unsigned delivery_max_runs;      /* failed and ambiguous runs of one notification */
    int64_t delivery_give_up_after_ms;
    enum config_switch delivery_loop_guard;
    unsigned delivery_max_hops;
    unsigned delivery_list_limit;
    unsigned delivery_queue_capacity;
    int64_t shutdown_grace_ms;
    char *state_dir; /* without '/' at its end, unless it is the root */
    char *ca_file;   /* NULL is: the system's authorities */
    enum log_level log_level;
    enum log_format log_format;
    char *droplet_id;
    char *droplet_ip;
    char *droplet_region;
    char *upgrade_mode; /* compared with "exit" only */

    /* What config_describe shows beside the values. */
    enum config_origin origins[CONFIG_OPTIONS];
};

struct config_source {
    char *const *environment; /* NAME=value strings, ended by NULL, as environ */
    const char *env_file;     /* path of a file of further variables; NULL is: none */
};

/*
 * Fills *config from source. What the environment has wins over the file. Adds every problem to
 * *problems: errors, and warnings that stop nothing. Returns 0, ERROR_INVALID when an error was
 * added, or ERROR_NO_MEMORY; then *config holds nothing to free. On success the caller frees with
 * config_fini. Secrets become known to base/redact.h before anything is said about them, also when
 * the load fails. Reads files; called by the main thread alone.
 */
int config_load(
    struct config *config, const struct config_source *source, struct problems *problems);

/* Frees the strings and zeroes the structure; a zeroed structure is fine. */
void config_fini(struct config *config);

/*
 * Appends the effective settings to *text, one "NAME=value  # origin" a line in the order of the
 * table, in the form that --env-file reads. Secrets are shown as ***.
 */
void config_describe(const struct config *config, struct text *text);

#endif
