/*
 * Presence of runtimes in version 1. A report of another status than before is an activity; users
 * are told when a working runtime goes offline and when one comes online that did not work. While
 * it is offline nobody types: its agents are offline, and undelivered notifications lose readAt.
 *
 * The backend has a job that does the same every 30 s for runtimes which stopped reporting.
 */
#include "presence.h"

#include "activity.h"
#include "base/sync.h"
#include "memory.h"
#include "task_status.h"

enum { MAX_UNREAD = 500, SWEEP_INTERVAL_MS = 30000 };

static const double MAX_SILENCE_MS = 90000;

static const char *const working[] = {"online", "degraded", NULL};
static const char *const not_working[] = {"offline", "error", "provisioning", NULL};

static bool belongs_to(const struct document *document, const struct document *account)
{
    return document_is(document, "accountId", account->id);
}

static void notify_users(
    struct store *store, const struct document *account, const char *type, const char *title)
{
    const struct document *user = NULL;
    TAILQ_FOREACH (user, &store->tables[TABLE_USERS], siblings) {
        if (belongs_to(user, account))
            store_insert(store, TABLE_NOTIFICATIONS,
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f}", "accountId", account->id, "type",
                    type, "recipientType", "user", "recipientId", user->id, "title", title, "body",
                    title, "createdAt", (double)clock_wall_ms()),
                NULL);
    }
}

static void take_agents_offline(struct store *store, const struct document *account)
{
    struct document *agent = NULL;
    TAILQ_FOREACH (agent, &store->tables[TABLE_AGENTS], siblings) {
        if (!belongs_to(agent, account))
            continue;
        store_set(store, agent, "status", memory_json(json_string("offline")));
        store_set(store, agent, "currentTaskId", NULL);
    }
}

static void clear_read_marks(struct store *store, const struct document *account)
{
    int left = MAX_UNREAD;
    struct document *notification = NULL;
    TAILQ_FOREACH (notification, store_undelivered(store, account->id), link) {
        if (left-- == 0)
            return;
        if (document_field(notification, "readAt") != NULL)
            store_set(store, notification, "readAt", NULL);
    }
}

void presence_changed(
    struct store *store, struct document *account, const char *from, const char *to)
{
    bool offline = strcmp(to, "offline") == 0;
    if (offline) {
        take_agents_offline(store, account);
        clear_read_marks(store, account);
    }
    if (strcmp(from, to) == 0)
        return;
    activity_record(store, "runtime_status_changed", NULL, account,
        memory_json(json_pack("{s:s, s:s}", "oldStatus", from, "newStatus", to)));
    if (offline && task_status_is_in(working, from))
        notify_users(store, account, "runtime_offline", "The runtime went offline");
    else if (strcmp(to, "online") == 0 && task_status_is_in(not_working, from))
        notify_users(store, account, "runtime_online", "The runtime is online");
}

static bool is_silent(const struct document *account, double now_ms)
{
    const json_t *last =
        json_object_get(document_field(account, "runtimeConfig"), "lastHealthCheck");
    return task_status_is_in(working, document_string(account, "runtimeStatus")) &&
           json_is_number(last) && now_ms - json_number_value(last) > MAX_SILENCE_MS;
}

/* The account's runtimeConfig stays as it is; only the row of the runtime loses its report. */
static void store_silence(struct store *store, struct document *account)
{
    struct document *row = NULL;
    TAILQ_FOREACH (row, &store->tables[TABLE_RUNTIMES], siblings) {
        if (!belongs_to(row, account))
            continue;
        store_set(store, row, "status", memory_json(json_string("offline")));
        store_set(store, row, "lastHealthCheck", NULL);
    }
    store_set(store, account, "runtimeStatus", memory_json(json_string("offline")));
}

size_t presence_sweep(struct store *store)
{
    double now_ms = (double)clock_wall_ms();
    size_t swept = 0;
    struct document *account = NULL;
    TAILQ_FOREACH (account, &store->tables[TABLE_ACCOUNTS], siblings) {
        if (!is_silent(account, now_ms))
            continue;
        char *from = memory_copy(document_string(account, "runtimeStatus"));
        store_silence(store, account);
        presence_changed(store, account, from, "offline");
        free(from);
        swept++;
    }
    return swept;
}

void presence_sweep_if_due(struct sandbox *sandbox)
{
    int64_t now_ms = clock_monotonic_ms();
    if (sandbox->store.version != BACKEND_V1 || now_ms - sandbox->swept_ms < SWEEP_INTERVAL_MS)
        return;
    sandbox->swept_ms = now_ms;
    presence_sweep(&sandbox->store);
}
