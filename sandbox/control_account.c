/*
 * Control routes for the account: its token, restart and upgrade requests, and the sandbox's
 * settings.
 */
#include "answer.h"
#include "base/json.h"
#include "base/sync.h"
#include "board_find.h"
#include "control.h"
#include "memory.h"
#include "service.h"

/*
 * Returns the account that body names, by default the first; NULL with exchange answered if none.
 */
static struct document *find_account(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    const char *name = json_guard_string(body, "account");
    struct document *account =
        name == NULL ? sandbox_account(sandbox) : board_find(&sandbox->store, TABLE_ACCOUNTS, name);
    if (account == NULL)
        answer_refusal(exchange, 404, "NotFound", "no such account");
    return account;
}

void control_token(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *account = find_account(sandbox, exchange, body);
    if (account == NULL)
        return;
    const char *secret = json_guard_string(body, "secret");
    char hash[SERVICE_HASH_BYTES];
    if (secret != NULL)
        service_hash(secret, hash);
    store_set(&sandbox->store, account, "serviceTokenHash",
        secret == NULL ? NULL : memory_json(json_string(hash)));
    answer_json(exchange, 200, json_pack("{s:b}", "has_token", secret != NULL));
}

void control_restart(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *account = find_account(sandbox, exchange, body);
    if (account == NULL)
        return;
    double now_ms = (double)clock_wall_ms();
    store_set(&sandbox->store, account, "restartRequestedAt", memory_json(json_real(now_ms)));
    answer_json(exchange, 200, json_pack("{s:f}", "restartRequestedAt", now_ms));
}

/* Returns the account's runtimes row, creating it if no status has been reported yet. */
static struct document *runtime_row(struct sandbox *sandbox, const struct document *account)
{
    struct document *row = NULL;
    TAILQ_FOREACH (row, &sandbox->store.tables[TABLE_RUNTIMES], siblings) {
        if (document_is(row, "accountId", account->id))
            return row;
    }
    double now_ms = (double)clock_wall_ms();
    return store_insert(&sandbox->store, TABLE_RUNTIMES,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f}", "accountId",
            account->id, "provider", "digitalocean", "providerId", "", "ipAddress", "", "region",
            "", "openclawVersion", "", "runtimeServiceVersion", "", "dockerImageTag", "latest",
            "status", "provisioning", "createdAt", now_ms, "updatedAt", now_ms),
        NULL);
}

void control_upgrade(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *account = find_account(sandbox, exchange, body);
    if (account == NULL)
        return;
    struct document *row = runtime_row(sandbox, account);
    json_t *pending = NULL;
    double initiated_ms = (double)clock_wall_ms();
    json_guard_number(json_object_get(body, "initiatedAt"), 0, 1e15, &initiated_ms);
    if (!json_is_true(json_object_get(body, "clear")))
        pending = memory_json(json_pack("{s:s, s:s, s:f, s:s, s:s}", "targetOpenclawVersion",
            control_string(body, "openclaw", "2026.9.6"), "targetRuntimeVersion",
            control_string(body, "runtime", "9.9.9"), "initiatedAt", initiated_ms, "initiatedBy",
            control_string(body, "by", "sandbox"), "strategy",
            control_string(body, "strategy", "immediate")));
    store_set(&sandbox->store, row, "pendingUpgrade", pending);
    struct text text = {0};
    document_write(row, &text);
    answer_json_text(exchange, 200, &text);
}

/* A setting's name and where it is stored: exactly one of flag and number is set. */
struct setting {
    const char *name;
    bool *flag;
    double *number;
};

/* Stores value in the setting; false when it has the wrong type. */
static bool apply_setting(const struct setting *setting, const json_t *value)
{
    if (setting->flag != NULL) {
        *setting->flag = json_is_true(value);
        return json_is_boolean(value);
    }
    return json_guard_number(value, 0, 1e9, setting->number);
}

static bool is_string_array(const json_t *list)
{
    size_t index;
    const json_t *item;
    json_array_foreach (list, index, item) {
        if (!json_is_string(item))
            return false;
    }
    return json_is_array(list);
}

static bool apply_agents(struct settings *settings, json_t *value)
{
    if (!json_is_null(value) && !is_string_array(value))
        return false;
    json_decref(settings->gateway_agents);
    settings->gateway_agents = json_is_null(value) ? NULL : json_incref(value);
    return true;
}

static bool apply_runtime_url(struct settings *settings, const json_t *value)
{
    const char *url = json_string_value(value);
    if (!json_is_null(value) && (url == NULL || !options_is_link(url)))
        return false;
    free(settings->runtime_url);
    settings->runtime_url = url == NULL ? NULL : memory_copy(url);
    return true;
}

/* The words of settings that have more than two values, by value. */
static const char *const dialect_words[] = {"flat", "none", NULL};
static const char *const search_words[] = {"search", "directory", "off", NULL};

/* Stores the place of the word in *place; false if it is not among words. */
static bool find_setting_word(const char *const *words, const json_t *value, unsigned *place)
{
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (!json_is_string(value) || strcmp(json_string_value(value), words[i]) != 0)
            continue;
        *place = i;
        return true;
    }
    return false;
}

static bool apply_tools(struct settings *settings, const char *name, const json_t *value)
{
    unsigned place = 0;
    bool is_dialect = strcmp(name, "gateway_tools") == 0;
    if (!find_setting_word(is_dialect ? dialect_words : search_words, value, &place))
        return false;
    if (is_dialect)
        settings->gateway_tools = (enum tool_dialect)place;
    else
        settings->gateway_tool_search = (enum tool_search)place;
    return true;
}

static bool apply_setting_named(struct settings *settings, const char *name, json_t *value)
{
    const struct setting all[] = {
        {"hide_agents", &settings->hide_agents, NULL},
        {"redact", &settings->redact, NULL},
        {"rolled_back", &settings->rolled_back, NULL},
        {"gateway_draining", &settings->gateway_draining, NULL},
        {"gateway_disabled", &settings->gateway_disabled, NULL},
        {"gateway_auth_delay", &settings->gateway_auth_delay, NULL},
        {"gateway_chatty", &settings->gateway_chatty, NULL},
        {"gateway_numbers", &settings->gateway_numbers, NULL},
        {"timings", &settings->timings, NULL},
        {"gateway_latency_ms", NULL, &settings->gateway_latency_ms},
        {"gateway_input_bytes", NULL, &settings->gateway_input_bytes},
    };
    if (strcmp(name, "gateway_agents") == 0)
        return apply_agents(settings, value);
    if (strcmp(name, "runtime_url") == 0)
        return apply_runtime_url(settings, value);
    if (strcmp(name, "gateway_tools") == 0 || strcmp(name, "gateway_tool_search") == 0)
        return apply_tools(settings, name, value);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return apply_setting(&all[i], value);
    return false;
}

/* Settings before an invalid one stay applied. A successful answer lists all settings. */
void control_settings(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    const struct settings *settings = &sandbox->settings;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)body, name, value) {
        if (!apply_setting_named(&sandbox->settings, name, value)) {
            answer_refusal(exchange, 400, "BadValue", "unknown setting or wrong type: %s", name);
            return;
        }
    }
    answer_json(exchange, 200,
        json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:f, s:f, s:s, s:s, s:O?, s:s?}",
            "hide_agents", (int)settings->hide_agents, "redact", (int)settings->redact,
            "rolled_back", (int)settings->rolled_back, "gateway_draining",
            (int)settings->gateway_draining, "gateway_disabled", (int)settings->gateway_disabled,
            "gateway_auth_delay", (int)settings->gateway_auth_delay, "gateway_chatty",
            (int)settings->gateway_chatty, "gateway_numbers", (int)settings->gateway_numbers,
            "timings", (int)settings->timings, "gateway_latency_ms", settings->gateway_latency_ms,
            "gateway_input_bytes", settings->gateway_input_bytes, "gateway_tools",
            dialect_words[settings->gateway_tools], "gateway_tool_search",
            search_words[settings->gateway_tool_search], "gateway_agents", settings->gateway_agents,
            "runtime_url", settings->runtime_url));
}
