#include "fault_world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SETTINGS = 24, URL_BYTES = 96 };

const struct history_rules fault_world_strict = {.most_runs = FAULT_WORLD_MAX_RUNS};
const struct history_rules fault_world_lossy = {
    .most_runs = FAULT_WORLD_MAX_RUNS, .lost_answers = true};

static unsigned port_of(const char *url)
{
    const char *colon = strrchr(url, ':');
    assert_non_null(colon);
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

void fault_world_prepare(struct fault_world *faults)
{
    json_decref(
        world_post(faults->world, "/sandbox/settings", json_pack("{s:b}", "gateway_numbers", 1)));
    board_backend_fault(
        faults->world, json_pack("{s:s, s:s, s:{s:s, s:[]}}", "action", "listAgents", "behaviour",
                           "raw_body", "body_json", "status", "success", "value"));
}

int fault_world_setup(void **state)
{
    struct fault_world *faults = calloc(1, sizeof *faults);
    assert_non_null(faults);
    void *world;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(world_setup(&world), 0);
    faults->world = world;
    faults->backend = fault_proxy_start(port_of(faults->world->url));
    faults->gateway = fault_proxy_start(port_of(faults->world->url));
    history_init(&faults->history);
    snprintf(faults->state_dir, sizeof faults->state_dir, "%s/state", faults->world->folder);
    fault_world_prepare(faults);
    *state = faults;
    return 0;
}

int fault_world_teardown(void **state)
{
    struct fault_world *faults = *state;
    void *world = faults->world;
    process_end(&faults->world->runtime);
    fault_proxy_stop(faults->backend);
    fault_proxy_stop(faults->gateway);
    history_fini(&faults->history);
    free(faults);
    return world_teardown(&world);
}

/* The settings by which the proxies are used, and then those given. */
struct proxied {
    char urls[2][URL_BYTES];
    const char *settings[SETTINGS + 1];
};

static void add_proxies(
    const struct fault_world *faults, const char *const settings[], struct proxied *proxied)
{
    size_t count = 2;
    *proxied = (struct proxied){0};
    snprintf(proxied->urls[0], URL_BYTES, "CONVEX_URL=http://127.0.0.1:%u",
        fault_proxy_port(faults->backend));
    snprintf(proxied->urls[1], URL_BYTES, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        fault_proxy_port(faults->gateway));
    proxied->settings[0] = proxied->urls[0];
    proxied->settings[1] = proxied->urls[1];
    for (; settings != NULL && *settings != NULL; settings++) {
        assert_true(count < SETTINGS);
        proxied->settings[count++] = *settings;
    }
}

void fault_world_start(struct fault_world *faults, const char *const settings[])
{
    struct proxied proxied;
    add_proxies(faults, settings, &proxied);
    world_start_runtime(faults->world, proxied.settings);
}

void fault_world_launch(struct fault_world *faults, const char *const settings[])
{
    struct proxied proxied;
    add_proxies(faults, settings, &proxied);
    world_launch(faults->world, &faults->world->runtime, proxied.settings, NULL);
}

size_t fault_world_kill_runtime(struct fault_world *faults)
{
    process_signal(&faults->world->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&faults->world->runtime, WORLD_WAIT_MS), 128 + SIGKILL);
    return history_add_spool(&faults->history, faults->state_dir);
}

static void collect(struct fault_world *faults)
{
    struct history *history = &faults->history;
    json_t *gateway = world_get(faults->world, "/sandbox/gateway");
    json_decref(history->notifications);
    json_decref(history->messages);
    json_decref(history->runs);
    history->notifications = board_documents(faults->world, "notifications");
    history->messages = board_documents(faults->world, "messages");
    history->runs = json_incref(json_object_get(gateway, "requests"));
    json_decref(gateway);
}

void fault_world_check(struct fault_world *faults, const struct history_rules *rules)
{
    char reason[512];
    collect(faults);
    if (history_holds(&faults->history, rules, reason, sizeof reason))
        return;
    process_show(&faults->world->runtime, "runtime");
    fail_msg("%s", reason);
}

void fault_world_settle(struct fault_world *faults, const struct history_rules *rules)
{
    world_wait(faults->world, "undelivered=0");
    world_stop_runtime(faults->world);
    fault_world_check(faults, rules);
    assert_int_equal(history_add_spool(&faults->history, faults->state_dir), 0);
}
