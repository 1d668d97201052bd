/*
 * SIGHUP: read the settings again and take over what can change while the runtime runs, which is
 * the log level and the two tokens. If any setting is invalid, nothing changes. Everything else is
 * compared with the settings of the startup and only reported.
 *
 * A file may keep its reader waiting for as long as it likes: a pipe whose writer is silent, a disk
 * of the network that is gone. So a thread of its own reads, mc-reload, and hands the settings to
 * the main thread, which applies them. Nothing can interrupt it; at the shutdown it is left behind,
 * and whoever lets go of the job last, it or the main thread, frees it.
 *
 * A token is a secret of one account at one address. If that account or address has changed as
 * well, the new token must not be sent to the old address, where it is at best refused and at worst
 * disclosed, so the old token is kept until the restart.
 *
 * The settings of the startup stay constant for all threads: convex and gateway each have a lock
 * for their token, and the log level is atomic.
 */
#include "reload.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "base/watch.h"
#include "config/options.h"
#include "config/values.h"

static const char component[] = "Reload";

/* In every message, so that the log does not fold the same messages of two reloads into one. */
static unsigned reloads;

/* Settings that are being read. */
struct reload_job {
    atomic_uint holders; /* of the thread and the main thread */
    const char *env_file;
    pthread_t thread;
    int done_fd; /* eventfd, readable once the rest is set */
    int result;
    struct config fresh; /* if result is 0 */
    struct problems problems;
};

static void log_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const char *text = problems->items[i].text;
        if (problems->items[i].severity != PROBLEM_WARNING)
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

static void reload_job_release(struct reload_job *job)
{
    if (atomic_fetch_sub(&job->holders, 1) > 1)
        return;
    if (job->result == 0)
        config_fini(&job->fresh);
    problems_fini(&job->problems);
    close(job->done_fd);
    free(job);
}

/* Reads environment and env_file as at startup. */
static void *read_settings(void *argument)
{
    struct reload_job *job = argument;
    watch_pause();
    STOP_POINT("reading_settings");
    job->result = config_load(&job->fresh, environ, job->env_file, &job->problems);
    watch_resume();
    eventfd_write(job->done_fd, 1);
    reload_job_release(job);
    return NULL;
}

static int start_job(struct reload *reload, struct error *error)
{
    struct reload_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    job->env_file = reload->env_file;
    job->result = ERROR_INTERRUPTED;
    atomic_store(&job->holders, 2);
    job->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = job->done_fd < 0
                     ? error_set_errno(error, ERROR_SYSTEM, errno, "cannot create an eventfd")
                     : 0;
    if (result == 0)
        result = thread_start(&job->thread, "mc-reload", read_settings, job, error);
    if (result == 0) {
        reload->job = job;
        return 0;
    }
    if (job->done_fd >= 0)
        close(job->done_fd);
    free(job);
    return result;
}

void reload_begin(struct reload *reload)
{
    char state[64];
    struct error error;
    if (reload->job != NULL) {
        reload->again = true;
        log_info(
            component, "Reload %u is still reading the settings; another one follows", reloads);
        return;
    }
    reloads++;
    /* By the time of READY=1 systemd recognizes that as the end of the reload (sd_notify(3)). */
    snprintf(
        state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
    notify_send(state, NOTIFY_TIMEOUT_MS);
    if (start_job(reload, &error) == 0)
        return;
    log_error(component, "Reload %u: %s; keeping the old settings", reloads, error.text);
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
}

int reload_fd(const struct reload *reload)
{
    return reload->job != NULL ? reload->job->done_fd : -1;
}

/* Requests in flight finish with the old token. */
static void use_settings(const struct reload *reload, struct reload_job *job)
{
    log_problems(&job->problems);
    if (job->result != 0)
        log_error(component, "Reload %u: %s; keeping the old settings", reloads,
            job->result == ERROR_NO_MEMORY ? "out of memory" : "invalid settings (see above)");
    else
        apply_settings(reload->runtime, reload->config, &job->fresh);
}

void reload_finish(struct reload *reload)
{
    eventfd_t unused;
    struct reload_job *job = reload->job;
    assert(job != NULL);
    eventfd_read(job->done_fd, &unused);
    thread_join(job->thread);
    use_settings(reload, job);
    reload_job_release(job);
    reload->job = NULL;
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    if (reload->again) {
        reload->again = false;
        reload_begin(reload);
    }
}

void reload_abandon(struct reload *reload)
{
    if (reload->job == NULL)
        return;
    pthread_detach(reload->job->thread);
    reload_job_release(reload->job);
    reload->job = NULL;
}
