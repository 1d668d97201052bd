#include "fault_env.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "history_tools.h"

enum { SETTINGS = 24, URL_BYTES = 96 };

const struct history_rules fault_env_strict = {.max_runs = FAULT_ENV_MAX_RUNS};
const struct history_rules fault_env_lossy = {.max_runs = FAULT_ENV_MAX_RUNS, .lost_answers = true};

static void prepare_board(struct fault_env *faults)
{
    board_set_flag(faults->env, "gateway_numbers", true);
    board_backend_fault(
        faults->env, json_pack("{s:s, s:s, s:{s:s, s:[]}}", "action", "listAgents", "behaviour",
                         "raw_body", "body_json", "status", "success", "value"));
}

int fault_env_setup(void **state)
{
    struct fault_env *faults = calloc(1, sizeof *faults);
    assert_non_null(faults);
    void *env = *state;
    assert_int_equal(test_env_setup(&env), 0);
    faults->env = env;
    faults->backend = fault_proxy_start(test_env_sandbox_port(faults->env));
    faults->gateway = fault_proxy_start(test_env_sandbox_port(faults->env));
    history_init(&faults->history);
    snprintf(faults->state_dir, sizeof faults->state_dir, "%s/state", faults->env->dir);
    prepare_board(faults);
    *state = faults;
    return 0;
}

int fault_env_teardown(void **state)
{
    struct fault_env *faults = *state;
    void *env = faults->env;
    process_fini(&faults->env->runtime);
    fault_proxy_stop(faults->backend);
    fault_proxy_stop(faults->gateway);
    history_fini(&faults->history);
    free(faults);
    return test_env_teardown(&env);
}

/* The addresses of the proxies, followed by the test's own settings. */
struct proxy_settings {
    char urls[2][URL_BYTES];
    const char *settings[SETTINGS + 1];
};

static void add_proxies(const struct fault_env *faults, const char *const settings[],
    struct proxy_settings *proxy_settings)
{
    size_t count = 2;
    *proxy_settings = (struct proxy_settings){0};
    snprintf(proxy_settings->urls[0], URL_BYTES, "CONVEX_URL=http://127.0.0.1:%u",
        fault_proxy_port(faults->backend));
    snprintf(proxy_settings->urls[1], URL_BYTES, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        fault_proxy_port(faults->gateway));
    proxy_settings->settings[0] = proxy_settings->urls[0];
    proxy_settings->settings[1] = proxy_settings->urls[1];
    for (; settings != NULL && *settings != NULL; settings++) {
        assert_true(count < SETTINGS);
        proxy_settings->settings[count++] = *settings;
    }
}

void fault_env_load(struct fault_env *faults, int count, int agents)
{
    json_decref(board_load(faults->env, count, agents));
}

void fault_env_start(struct fault_env *faults, const char *const settings[])
{
    struct proxy_settings proxy_settings;
    add_proxies(faults, settings, &proxy_settings);
    test_env_start_runtime(faults->env, proxy_settings.settings);
}

void fault_env_launch(struct fault_env *faults, const char *const settings[])
{
    struct proxy_settings proxy_settings;
    add_proxies(faults, settings, &proxy_settings);
    test_env_launch(faults->env, &faults->env->runtime, proxy_settings.settings, NULL);
}

void fault_env_reset(struct fault_env *faults)
{
    json_decref(test_env_post(faults->env, "/sandbox/reset", json_object()));
    json_object_clear(faults->history.spooled);
    fault_proxy_forget_log(faults->gateway);
    fault_proxy_forget_log(faults->backend);
    prepare_board(faults);
}

size_t fault_env_kill_runtime(struct fault_env *faults)
{
    process_signal(&faults->env->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&faults->env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    return history_add_spool(&faults->history, faults->state_dir);
}

/* The list of that name which the sandbox has at path; a new reference. */
static json_t *sandbox_list(struct fault_env *faults, const char *path, const char *name)
{
    json_t *answer = test_env_get(faults->env, path);
    json_t *list = json_incref(json_object_get(answer, name));
    json_decref(answer);
    assert_true(json_is_array(list));
    return list;
}

static void record_history(struct fault_env *faults)
{
    struct history *history = &faults->history;
    json_decref(history->notifications);
    json_decref(history->messages);
    json_decref(history->runs);
    json_decref(history->requests);
    json_decref(history->marks);
    json_decref(history->calls);
    json_decref(history->effects);
    history->notifications = board_documents(faults->env, "notifications");
    history->messages = board_documents(faults->env, "messages");
    json_t *runs = sandbox_list(faults, "/sandbox/gateway", "requests");
    history->runs = history_fold_rounds(runs);
    json_decref(runs);
    history->requests = fault_proxy_describe_log(faults->gateway, WIRE_RUN);
    history->marks = fault_proxy_describe_log(faults->backend, WIRE_MARK);
    history->calls = sandbox_list(faults, "/sandbox/tools", "calls");
    history->effects = sandbox_list(faults, "/sandbox/effects", "effects");
    /* Else what the rules require of requests would hold for want of them. */
    assert_true(json_array_size(history->requests) >= json_array_size(history->runs));
}

void fault_env_check(struct fault_env *faults, const struct history_rules *rules)
{
    char reason[512];
    record_history(faults);
    if (history_holds(&faults->history, rules, reason, sizeof reason))
        return;
    process_dump_output(&faults->env->runtime, "runtime");
    fail_msg("%s", reason);
}

void fault_env_settle(struct fault_env *faults, const struct history_rules *rules)
{
    test_env_wait(faults->env, "undelivered=0&typing=0");
    test_env_stop_runtime(faults->env);
    fault_env_check(faults, rules);
    assert_int_equal(history_add_spool(&faults->history, faults->state_dir), 0);
}
