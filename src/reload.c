#include "reload.h"

#include <stdlib.h>
#include <string.h>

#include "config/options.h"
#include "config/values.h"

static const char component[] = "Reload";

/* Numbers the reloads: what two of them say alike is not a repetition. */
static unsigned reloads;

static void say_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        if (problem->severity == PROBLEM_ERROR)
            log_error(component, "Reload %u: %s", reloads, problem->text);
        else
            log_warn(component, "Reload %u: %s", reloads, problem->text);
    }
}

static bool is_taken_over(size_t id)
{
    return id == OPTION_LOG_LEVEL || id == OPTION_SERVICE_TOKEN ||
           id == OPTION_OPENCLAW_GATEWAY_TOKEN;
}

static bool differs(
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
    return differs(&config_options[id], config, fresh);
}

/* The tokens that are for the account and the addresses that stay until the restart. */
static struct runtime_tokens find_usable(const struct config *config, const struct config *fresh)
{
    return (struct runtime_tokens){
        .service = !option_differs(OPTION_ACCOUNT_ID, config, fresh) &&
                   !option_differs(OPTION_CONVEX_URL, config, fresh),
        .gateway = !option_differs(OPTION_OPENCLAW_GATEWAY_URL, config, fresh),
    };
}

static void say_what_needs_a_restart(const struct config *config, const struct config *fresh)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!is_taken_over(i) && differs(&config_options[i], config, fresh))
            log_warn(component, "Reload %u: %s has changed; that needs a restart", reloads,
                config_options[i].name);
}

static void say_what_stays(const struct runtime_tokens *usable)
{
    if (!usable->service)
        log_warn(component,
            "Reload %u: SERVICE_TOKEN belongs to ACCOUNT_ID and CONVEX_URL; it stays as it was "
            "until the restart",
            reloads);
    if (!usable->gateway)
        log_warn(component,
            "Reload %u: OPENCLAW_GATEWAY_TOKEN belongs to OPENCLAW_GATEWAY_URL; it stays as it was "
            "until the restart",
            reloads);
}

static void say_changes(const struct runtime_tokens *tokens, bool level_changed)
{
    const char *const none = tokens->service || tokens->gateway || level_changed ? "" : " nothing";
    log_info(component, "Reload %u: changed:%s%s%s%s", reloads, none,
        level_changed ? " LOG_LEVEL" : "", tokens->service ? " SERVICE_TOKEN" : "",
        tokens->gateway ? " OPENCLAW_GATEWAY_TOKEN" : "");
}

/* Said at whichever level lets more through, so that quieter logs begin with a word about it. */
static void take_over(struct runtime *runtime, const struct config *config, struct config *fresh)
{
    const struct runtime_tokens usable = find_usable(config, fresh);
    say_what_needs_a_restart(config, fresh);
    say_what_stays(&usable);
    const struct runtime_tokens tokens = runtime_exchange_tokens(runtime, usable, fresh);
    enum log_level before = log_level_now();
    if (fresh->log_level < before)
        log_set_level(fresh->log_level);
    say_changes(&tokens, before != fresh->log_level);
    if (fresh->log_level > before)
        log_set_level(fresh->log_level);
}

void reload_settings(
    struct runtime *runtime, const struct config *config, const struct config_source *source)
{
    struct config fresh;
    struct problems problems = {0};
    reloads++;
    int result = config_load(&fresh, source, &problems);
    say_problems(&problems);
    problems_fini(&problems);
    if (result != 0) {
        log_error(component, "Reload %u: the settings are wrong (above); the old ones stay%s",
            reloads, result == ERROR_NO_MEMORY ? ", there is no memory" : "");
        return;
    }
    take_over(runtime, config, &fresh);
    config_fini(&fresh);
}
