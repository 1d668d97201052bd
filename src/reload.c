/*
 * SIGHUP: read the settings again and take over what can change while the runtime runs, which is
 * the log level and the two tokens. If any setting is invalid, nothing changes. Everything else is
 * compared with the settings of the startup and only reported.
 *
 * A token is a secret of one account at one address. If that account or address has changed as
 * well, the new token must not be sent to the old address, where it is at best refused and at worst
 * disclosed, so the old token is kept until the restart.
 *
 * The settings of the startup stay constant for all threads: convex and gateway each have a lock
 * for their token, and the log level is atomic. Runs on the main thread only.
 */
#include "reload.h"

#include <unistd.h>

#include <string.h>

#include "config/options.h"
#include "config/values.h"

static const char component[] = "Reload";

/* In every message, so that the log does not fold the same messages of two reloads into one. */
static unsigned reloads;

static void log_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const char *text = problems->items[i].text;
        if (problems->items[i].severity == PROBLEM_ERROR)
            log_error(component, "Reload %u: %s", reloads, text);
        else
            log_warn(component, "Reload %u: %s", reloads, text);
    }
}

static bool is_reloadable(size_t id)
{
    return id == OPTION_LOG_LEVEL || id == OPTION_SERVICE_TOKEN ||
           id == OPTION_OPENCLAW_GATEWAY_TOKEN;
}

static bool option_value_differs(
    const struct option *option, const struct config *config, const struct config *fresh)
{
    struct text old = {0};
    struct text new = {0};
    option_append_value(option, config, &old);
    option_append_value(option, fresh, &new);
    bool unequal = old.length_bytes != new.length_bytes ||
                   (old.length_bytes > 0 && memcmp(old.data, new.data, old.length_bytes) != 0);
    text_fini(&old);
    text_fini(&new);
    return unequal;
}

static bool option_differs(
    enum option_id id, const struct config *config, const struct config *fresh)
{
    return option_value_differs(&config_options[id], config, fresh);
}

/* The tokens whose account and address have not changed. */
static unsigned find_usable_tokens(const struct config *config, const struct config *fresh)
{
    unsigned usable = 0;
    if (!option_differs(OPTION_ACCOUNT_ID, config, fresh) &&
        !option_differs(OPTION_CONVEX_URL, config, fresh))
        usable |= TOKEN_SERVICE;
    if (!option_differs(OPTION_OPENCLAW_GATEWAY_URL, config, fresh))
        usable |= TOKEN_GATEWAY;
    return usable;
}

static void warn_of_restart_options(const struct config *config, const struct config *fresh)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!is_reloadable(i) && option_value_differs(&config_options[i], config, fresh))
            log_warn(component, "Reload %u: %s has changed, which requires a restart", reloads,
                config_options[i].name);
}

static void warn_of_kept_tokens(unsigned usable)
{
    if ((usable & TOKEN_SERVICE) == 0)
        log_warn(component,
            "Reload %u: keeping the old SERVICE_TOKEN until the restart, since ACCOUNT_ID or "
            "CONVEX_URL has changed",
            reloads);
    if ((usable & TOKEN_GATEWAY) == 0)
        log_warn(component,
            "Reload %u: keeping the old OPENCLAW_GATEWAY_TOKEN until the restart, since "
            "OPENCLAW_GATEWAY_URL has changed",
            reloads);
}

static void log_reloaded(unsigned tokens, bool level_changed)
{
    const char *const none = tokens != 0 || level_changed ? "" : " nothing";
    log_info(component, "Reload %u: changed:%s%s%s%s", reloads, none,
        level_changed ? " LOG_LEVEL" : "", (tokens & TOKEN_SERVICE) != 0 ? " SERVICE_TOKEN" : "",
        (tokens & TOKEN_GATEWAY) != 0 ? " OPENCLAW_GATEWAY_TOKEN" : "");
}

/*
 * The report is logged at the more verbose of the two levels, so that it shows in either case:
 * a lower threshold is set before it, a higher one after it.
 */
static void apply_settings(
    struct runtime *runtime, const struct config *config, struct config *fresh)
{
    unsigned usable = find_usable_tokens(config, fresh);
    warn_of_restart_options(config, fresh);
    warn_of_kept_tokens(usable);
    unsigned tokens = runtime_exchange_tokens(runtime, usable, fresh);
    enum log_level before = log_level_now();
    if (fresh->log_level < before)
        log_set_level(fresh->log_level);
    log_reloaded(tokens, before != fresh->log_level);
    if (fresh->log_level > before)
        log_set_level(fresh->log_level);
}

void reload_settings(struct runtime *runtime, const struct config *config, const char *env_file)
{
    struct config fresh;
    struct problems problems = {0};
    reloads++;
    int result = config_load(&fresh, environ, env_file, &problems);
    log_problems(&problems);
    problems_fini(&problems);
    if (result != 0) {
        log_error(component, "Reload %u: %s; keeping the old settings", reloads,
            result == ERROR_NO_MEMORY ? "out of memory" : "invalid settings (see above)");
        return;
    }
    apply_settings(runtime, config, &fresh);
    config_fini(&fresh);
}
