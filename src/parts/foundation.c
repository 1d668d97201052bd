#include "parts/parts.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "work/restore.h"

static int start_stats(struct runtime *runtime, struct error *error)
{
    (void)error;
    stats_init(&runtime->stats);
    return 0;
}

static void stop_stats(struct runtime *runtime)
{
    stats_fini(&runtime->stats);
}

const struct part part_stats = {start_stats, stop_stats};

static int start_state_folder(struct runtime *runtime, struct error *error)
{
    return state_folder_open(&runtime->state_folder, runtime->config->state_dir, error);
}

static void stop_state_folder(struct runtime *runtime)
{
    state_folder_close(&runtime->state_folder);
}

const struct part part_state_folder = {start_state_folder, stop_state_folder};

static int open_stop_request(struct runtime *runtime, struct error *error)
{
    runtime->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runtime->stop_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "no descriptor for a stop request");
    return 0;
}

static void close_stop_request(struct runtime *runtime)
{
    close(runtime->stop_fd);
}

const struct part part_stop_request = {open_stop_request, close_stop_request};

static int start_library(struct runtime *runtime, struct error *error)
{
    (void)runtime;
    return http_client_library_start(error);
}

static void stop_library(struct runtime *runtime)
{
    (void)runtime;
    http_client_library_stop();
}

const struct part part_library = {start_library, stop_library};

static int start_store(struct runtime *runtime, struct error *error)
{
    return ca_store_create(&runtime->store, runtime->config->ca_file, error);
}

static void stop_store(struct runtime *runtime)
{
    ca_store_destroy(runtime->store);
}

const struct part part_store = {start_store, stop_store};

static int start_queue(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    return send_queue_create(&runtime->queue, config->delivery_queue_capacity,
        (config->delivery_workers + 1) / 2, error);
}

static void stop_queue(struct runtime *runtime)
{
    send_queue_destroy(runtime->queue);
}

const struct part part_queue = {start_queue, stop_queue};

static int start_spool(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result = spool_open(&runtime->spool, config->state_dir, config->account_id, error);
    if (result != 0)
        return result;
    runtime->spooling = (struct spooling){
        .spool = runtime->spool, .stats = &runtime->stats, .queue = runtime->queue};
    result = restore_from_spool(
        runtime->spool, runtime->queue, config->delivery_give_up_after_ms, error);
    if (result != 0)
        spool_close(runtime->spool);
    else /* what was found damaged is there now, too */
        spooling_watch_dead(&runtime->spooling);
    return result;
}

static void stop_spool(struct runtime *runtime)
{
    spool_close(runtime->spool);
}

const struct part part_spool = {start_spool, stop_spool};

static int start_version(struct runtime *runtime, struct error *error)
{
    return version_probe_start(&runtime->version, runtime->config->openclaw_version, error);
}

static void stop_version(struct runtime *runtime)
{
    version_probe_stop(runtime->version);
}

const struct part part_version = {start_version, stop_version};
