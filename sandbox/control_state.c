/*
 * Read-only control routes. Statistics are cheap and may be polled; /sandbox/state serializes
 * documents, whose JSON text the store caches until they change.
 */
#include "control_state.h"

#include "answer.h"
#include "base/sync.h"
#include "memory.h"
#include "service.h"

json_t *control_stats(const struct sandbox *sandbox)
{
    const struct store *store = &sandbox->store;
    return memory_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "now_us",
        (json_int_t)clock_monotonic_us(), "change", (json_int_t)store->changes, "undelivered",
        (json_int_t)store->undelivered_count, "delivered", (json_int_t)store->delivered_count,
        "messages", (json_int_t)store->counts[TABLE_MESSAGES], "replies",
        (json_int_t)store->by_source.count, "held", (json_int_t)sandbox->faults.held_count,
        "listed", (json_int_t)sandbox->listed, "gateway", recorder_stats(&sandbox->recorder),
        "backend", counts_describe(&sandbox->counts, service_names(store->version))));
}

/* Whether name is in a comma-separated list; NULL lists everything. */
static bool is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at != NULL;) {
        if (strcspn(at, ",") == length && strncmp(at, name, length) == 0)
            return true;
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    return list == NULL;
}

static bool belongs_to_task(struct document *document, const char *task_id)
{
    if (task_id == NULL)
        return true;
    const char *of = document_string(document, "taskId");
    return strcmp(document->id, task_id) == 0 || (of != NULL && strcmp(of, task_id) == 0);
}

/* Which documents a request asks for. */
struct state_filter {
    const char *tables;  /* NULL: all */
    const char *task_id; /* NULL: those of all tasks */
    bool undelivered;    /* no notifications that are delivered */
};

static bool passes_filter(const struct state_filter *filter, struct document *document)
{
    bool delivered =
        document->table == TABLE_NOTIFICATIONS && document_field(document, "deliveredAt") != NULL;
    return belongs_to_task(document, filter->task_id) && !(filter->undelivered && delivered);
}

static void write_table(
    struct store *store, enum table table, const struct state_filter *filter, struct text *text)
{
    const char *separator = "";
    struct document *document = NULL;
    text_printf(text, ",\"%s\":[", table_name(table));
    TAILQ_FOREACH (document, &store->tables[table], siblings) {
        if (!passes_filter(filter, document))
            continue;
        text_append(text, separator);
        document_write(document, text);
        separator = ",";
    }
    text_append(text, "]");
}

/* Concatenates the cached text of the documents; no JSON tree of all of them is built. */
void control_answer_state(struct sandbox *sandbox, struct exchange *exchange)
{
    const struct state_filter filter = {.tables = exchange_query(exchange, "tables"),
        .task_id = exchange_query(exchange, "task"),
        .undelivered = exchange_query(exchange, "undelivered") != NULL};
    struct text text = {0};
    text_printf(&text, "{\"change\":%ju", (uintmax_t)sandbox->store.changes);
    for (int table = 0; table < (int)store_table_count(&sandbox->store); table++)
        if (is_listed(filter.tables, table_name((enum table)table)))
            write_table(&sandbox->store, (enum table)table, &filter, &text);
    text_append(&text, "}");
    answer_json_text(exchange, 200, &text);
}

static uint64_t query_number(const struct exchange *exchange, const char *name, uint64_t fallback)
{
    const char *text = exchange_query(exchange, name);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

void control_answer_calls(struct sandbox *sandbox, struct exchange *exchange)
{
    answer_json(exchange, 200,
        json_pack("{s:o}", "calls",
            call_log_describe(&sandbox->call_log, query_number(exchange, "since", 0),
                exchange_query(exchange, "action"), exchange_query(exchange, "notification"))));
}

void control_answer_effects(struct sandbox *sandbox, struct exchange *exchange)
{
    answer_json(exchange, 200,
        json_pack("{s:o}", "effects",
            effects_describe(&sandbox->effects, query_number(exchange, "since", 0),
                exchange_query(exchange, "action"), exchange_query(exchange, "agent"),
                exchange_query(exchange, "task"))));
}

void control_answer_tools(struct sandbox *sandbox, struct exchange *exchange)
{
    const struct tool_log *log = &sandbox->tool_log;
    answer_json(exchange, 200,
        json_pack("{s:I, s:I, s:I, s:o}", "asked", (json_int_t)log->asked, "ended",
            (json_int_t)log->ended, "told", (json_int_t)log->told, "calls",
            tool_log_describe(log, query_number(exchange, "since", 0),
                query_number(exchange, "limit", TOOL_LOG_CAPACITY),
                exchange_query(exchange, "task"), exchange_query(exchange, "agent"))));
}

void control_answer_gateway(struct sandbox *sandbox, struct exchange *exchange)
{
    json_t *requests = recorder_describe(&sandbox->recorder, query_number(exchange, "since", 0),
        query_number(exchange, "limit", RECORDER_CAPACITY), exchange_query(exchange, "agent"),
        exchange_query(exchange, "session"));
    answer_json(exchange, 200,
        json_pack("{s:o, s:o}", "stats", recorder_stats(&sandbox->recorder), "requests", requests));
}

void control_answer_info(struct sandbox *sandbox, struct exchange *exchange)
{
    const struct document *user = sandbox_user(sandbox);
    answer_json(exchange, 200,
        json_pack("{s:s, s:s, s:s, s:s, s:s*, s:b, s:s}", "version", MISSION_CONTROL_VERSION,
            "account", sandbox->options.account_id, "service_token", sandbox->options.service_token,
            "gateway_token", sandbox->options.gateway_token, "user", user == NULL ? NULL : user->id,
            "demo", (int)sandbox->options.demo, "backend",
            options_backend_name(sandbox->options.backend)));
}
