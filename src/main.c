#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/secret.h"
#include "cli/commands.h"
#include "config/config.h"
#include "config/usage.h"
#include "runtime.h"
#include "signals.h"

/* Arguments and settings: starts the runtime, waits for its end, stops it. Or does as told. */

/* The commit that was built; "" when it is not known. Set by the Makefile. */
#ifndef MISSION_CONTROL_COMMIT
#define MISSION_CONTROL_COMMIT ""
#endif

static const char component[] = "Runtime";

/*
 * Many arenas would keep memory of threads that mostly wait. Large buffers come from the system and
 * go back to it, always: left alone, malloc keeps them for itself once one was freed, and copies
 * them to grow.
 */
enum { MALLOC_ARENAS = 2, LARGE_BUFFER_BYTES = 128 * 1024 };

/* The health server's connections, up to 1,024, must not use up what the workers need. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void announce(const struct config *config)
{
    log_info(component, "=== Mission Control Runtime Service ===");
    log_info(component, "Account ID: %s", config->account_id);
    log_info(component, "Convex URL: %s", config->convex_url);
    if (config->openclaw_version != NULL)
        log_info(component, "Runtime Service v%s OpenClaw v%s", config->runtime_version,
            config->openclaw_version);
    else
        log_info(component, "Runtime Service v%s, OpenClaw version being detected",
            config->runtime_version);
}

static int exit_status_of(int code)
{
    switch (code) {
    case ERROR_LOCKED:
        return EX_TEMPFAIL;
    case ERROR_INVALID:
        return EX_CONFIG;
    case ERROR_UNREACHABLE:
        return EX_UNAVAILABLE;
    default:
        return EX_OSERR;
    }
}

/* Runs the runtime from its start to its end; returns the exit status. */
static int run_with_signals(
    const struct config *config, const struct config_source *source, int signal_fd)
{
    struct runtime *runtime;
    struct error error;
    int result = runtime_start(&runtime, config, &error);
    if (result != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return exit_status_of(result);
    }
    log_info(component, "Runtime service started successfully");
    notify_send("READY=1", NOTIFY_TIMEOUT_MS);
    const struct signals_targets targets = {.runtime = runtime, .config = config, .source = source};
    int number = signals_wait_for_end(signal_fd, &targets);
    /* Before anything that could take time, as a line of the log can. */
    signals_watch_for_second(number != 0);
    notify_send("STOPPING=1", 0);
    log_info(component, "Shutting down... (%s)",
        number == SIGTERM  ? "SIGTERM"
        : number == SIGINT ? "SIGINT"
                           : "asked for by the backend");
    runtime_stop(runtime);
    log_info(component, "Shutdown complete");
    return EX_OK;
}

static int run(const struct config *config, const struct config_source *source)
{
    int signal_fd;
    struct error error;
    signals_block();
    raise_descriptor_limit();
    announce(config);
    if (signals_open(&signal_fd, &error) != 0) {
        log_error(component, "Fatal error: %s", error.text);
        return EX_OSERR;
    }
    int status = run_with_signals(config, source, signal_fd);
    close(signal_fd);
    return status;
}

/* Frees the text. */
static int print(struct text *text)
{
    int status = print_text(text);
    text_fini(text);
    return status;
}

static int print_settings(const struct config *config)
{
    struct text text = {0};
    config_describe(config, &text);
    return print(&text);
}

static int print_usage(void)
{
    struct text text = {0};
    usage_append(&text);
    return print(&text);
}

static int print_version(void)
{
    struct text text = {0};
    text_append(&text, "mission-control-runtime " MISSION_CONTROL_VERSION);
    if (sizeof MISSION_CONTROL_COMMIT > 1)
        text_append(&text, " (" MISSION_CONTROL_COMMIT ")");
    text_append(&text, "\n");
    return print(&text);
}

static int act(const struct arguments *arguments, const struct config *config,
    const struct config_source *source)
{
    /* Else the other side could end the process by closing a line that is being written to. */
    signal(SIGPIPE, SIG_IGN);
    switch (arguments->action) {
    case ARGUMENTS_CHECK_CONFIG:
        return print_settings(config);
    case ARGUMENTS_HEALTHCHECK:
        return command_healthcheck(config);
    case ARGUMENTS_DOCTOR:
        return command_doctor(config, arguments->json);
    case ARGUMENTS_SPOOL:
        return command_spool(config, arguments);
    default:
        return run(config, source);
    }
}

/* Loads the settings, says what is wrong with them, and acts on them if nothing is. */
static int with_config(const struct arguments *arguments)
{
    const struct config_source source = {.environment = environ, .env_file = arguments->env_file};
    struct config config;
    struct problems problems = {0};
    int result = config_load(&config, &source, &problems);
    problems_write(&problems, stderr);
    problems_fini(&problems);
    if (result != 0)
        return result == ERROR_NO_MEMORY ? EX_OSERR : EX_CONFIG;
    log_configure(config.log_level, config.log_format);
    result = act(arguments, &config, &source);
    config_fini(&config);
    return result;
}

/*
 * A standard descriptor that we were not given would be that of the next file that is opened, and
 * the log would be written into it.
 */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct error error;
    fill_standard_descriptors();
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
    json_guard_start();
    json_object_seed(0);
    if (arguments_parse(argc, argv, &arguments, &error) != 0) {
        fprintf(stderr, "mission-control-runtime: %s\n", error.text);
        return EX_USAGE;
    }
    if (arguments.action == ARGUMENTS_HELP)
        return print_usage();
    if (arguments.action == ARGUMENTS_VERSION)
        return print_version();
    int status = with_config(&arguments);
    log_flush();
    redact_forget_all();
    return status;
}
