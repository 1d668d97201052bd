/*
 * An in-memory document store. Documents are JSON objects in per-table lists, with hash indexes by
 * id and by source notification, and ordered lists of what the service actions read: the messages
 * and subscriptions of a task, the undelivered notifications of an account.
 *
 * A document's JSON text is cached until the next store_set: a backlog of thousands of
 * notifications is listed over and over, and serializing it each time would make the sandbox the
 * bottleneck of every benchmark.
 */
#include "store.h"

#include <assert.h>

#include "base/sync.h"
#include "memory.h"

static const double CREATION_STEP_MS = 0.001;

void store_init(struct store *store, enum backend_version version)
{
    *store = (struct store){.version = version};
    for (int table = 0; table < TABLE_COUNT; table++)
        TAILQ_INIT(&store->tables[table]);
}

static void free_document(struct document *document)
{
    json_decref(document->fields);
    free(document->dump);
    free(document);
}

void store_fini(struct store *store)
{
    for (int table = 0; table < TABLE_COUNT; table++) {
        struct document *document;
        while ((document = TAILQ_FIRST(&store->tables[table])) != NULL) {
            TAILQ_REMOVE(&store->tables[table], document, siblings);
            free_document(document);
        }
    }
    map_fini(&store->by_id, NULL);
    map_fini(&store->by_source, NULL);
    map_fini(&store->sessions, NULL);
    map_fini(&store->threads, free);
    map_fini(&store->undelivered, free);
}

const char *document_string(const struct document *document, const char *key)
{
    return json_string_value(json_object_get(document->fields, key));
}

bool document_is(const struct document *document, const char *key, const char *value)
{
    const char *is = document_string(document, key);
    return is != NULL && strcmp(is, value) == 0;
}

double document_number(const struct document *document, const char *key)
{
    return json_number_value(json_object_get(document->fields, key));
}

json_t *document_field(const struct document *document, const char *key)
{
    return json_object_get(document->fields, key);
}

struct thread *store_thread(struct store *store, const char *task_id)
{
    struct thread *thread = map_get(&store->threads, task_id);
    if (thread != NULL)
        return thread;
    thread = memory_new(1, sizeof *thread);
    TAILQ_INIT(&thread->messages);
    TAILQ_INIT(&thread->subscriptions);
    map_set(&store->threads, task_id, thread);
    return thread;
}

struct document_list *store_undelivered(struct store *store, const char *account_id)
{
    struct document_list *list = map_get(&store->undelivered, account_id);
    if (list != NULL)
        return list;
    list = memory_new(1, sizeof *list);
    TAILQ_INIT(list);
    map_set(&store->undelivered, account_id, list);
    return list;
}

struct document *store_message_by_source(const struct store *store, const char *notification_id)
{
    return map_get(&store->by_source, notification_id);
}

enum { SESSION_KEY_BYTES = 2 * ID_BYTES };

static void write_session_key(
    char key[static SESSION_KEY_BYTES], const char *agent_id, const char *task_id)
{
    snprintf(key, SESSION_KEY_BYTES, "%s/%s", agent_id, task_id == NULL ? "" : task_id);
}

struct document *store_latest_session(
    const struct store *store, const char *agent_id, const char *task_id)
{
    char key[SESSION_KEY_BYTES];
    write_session_key(key, agent_id, task_id);
    return map_get(&store->sessions, key);
}

static void index_session(struct store *store, struct document *session)
{
    char key[SESSION_KEY_BYTES];
    write_session_key(key, document_string(session, "agentId"), document_string(session, "taskId"));
    map_set(&store->sessions, key, session);
}

/* A session is deleted by tests only, so an earlier generation is not looked for. */
static void unindex_session(struct store *store, const struct document *session)
{
    char key[SESSION_KEY_BYTES];
    write_session_key(key, document_string(session, "agentId"), document_string(session, "taskId"));
    if (map_get(&store->sessions, key) == session)
        map_remove(&store->sessions, key);
}

/* Keeps the list in order of createdAt. Nearly always an append, as notifications come in order. */
static void insert_undelivered(struct store *store, struct document *notification)
{
    struct document_list *list =
        store_undelivered(store, document_string(notification, "accountId"));
    double created_ms = document_number(notification, "createdAt");
    struct document *before = TAILQ_LAST(list, document_list);
    while (before != NULL && document_number(before, "createdAt") > created_ms)
        before = TAILQ_PREV(before, document_list, link);
    if (before == NULL)
        TAILQ_INSERT_HEAD(list, notification, link);
    else
        TAILQ_INSERT_AFTER(list, before, notification, link);
    notification->list = list;
    store->undelivered_count++;
}

static void append_to_list(struct document_list *list, struct document *document)
{
    TAILQ_INSERT_TAIL(list, document, link);
    document->list = list;
}

/* Adds a document to the lists and maps of its table; unlink_from_list and store_delete undo it. */
static void index_document(struct store *store, struct document *document)
{
    const char *task_id = document_string(document, "taskId");
    const char *source = document_string(document, "sourceNotificationId");
    const char *recipient = document_string(document, "recipientType");
    switch (document->table) {
    case TABLE_MESSAGES:
        append_to_list(&store_thread(store, task_id)->messages, document);
        if (source != NULL)
            map_set(&store->by_source, source, document);
        break;
    case TABLE_SUBSCRIPTIONS:
        append_to_list(&store_thread(store, task_id)->subscriptions, document);
        break;
    case TABLE_NOTIFICATIONS:
        if (strcmp(recipient, "agent") == 0 && document_field(document, "deliveredAt") == NULL)
            insert_undelivered(store, document);
        break;
    case TABLE_SESSIONS:
        index_session(store, document);
        break;
    default:
        break;
    }
}

/* Returns the current time in milliseconds with three decimals, later than any returned before. */
static double next_creation_ms(struct store *store)
{
    double now_ms = (double)clock_wall_ms();
    if (now_ms < store->last_creation_ms + CREATION_STEP_MS)
        now_ms = store->last_creation_ms + CREATION_STEP_MS;
    store->last_creation_ms = now_ms;
    return now_ms;
}

struct document *store_insert(struct store *store, enum table table, json_t *fields, const char *id)
{
    struct document *document = memory_new(1, sizeof *document);
    document->table = table;
    document->fields = memory_json(fields);
    if (id != NULL)
        text_copy(document->id, sizeof document->id, id);
    else
        id_generate(table, document->id);
    json_object_set_new(fields, "_id", memory_json(json_string(document->id)));
    json_object_set_new(fields, "_creationTime", memory_json(json_real(next_creation_ms(store))));
    TAILQ_INSERT_TAIL(&store->tables[table], document, siblings);
    store->counts[table]++;
    map_set(&store->by_id, document->id, document);
    index_document(store, document);
    store->changes++;
    return document;
}

struct document *store_get(const struct store *store, enum table table, const char *id)
{
    struct document *document = id == NULL ? NULL : map_get(&store->by_id, id);
    return document != NULL && document->table == table ? document : NULL;
}

enum table store_table_count(const struct store *store)
{
    return store->version == BACKEND_V1 ? TABLE_COUNT : TABLE_COUNT_V0;
}

enum table store_id_table(const struct store *store, const char *id)
{
    const struct document *document = map_get(&store->by_id, id);
    enum table table = document != NULL ? document->table : id_table(id);
    return table < store_table_count(store) ? table : TABLE_COUNT;
}

bool store_id_is_of(const struct store *store, enum table table, const char *id)
{
    return store_id_table(store, id) == table;
}

static void unlink_from_list(struct store *store, struct document *document)
{
    if (document->list == NULL)
        return;
    TAILQ_REMOVE(document->list, document, link);
    document->list = NULL;
    if (document->table == TABLE_NOTIFICATIONS)
        store->undelivered_count--;
}

void store_delete(struct store *store, struct document *document)
{
    unlink_from_list(store, document);
    if (document->table == TABLE_SESSIONS)
        unindex_session(store, document);
    const char *source = document_string(document, "sourceNotificationId");
    if (source != NULL && map_get(&store->by_source, source) == document)
        map_remove(&store->by_source, source);
    map_remove(&store->by_id, document->id);
    TAILQ_REMOVE(&store->tables[document->table], document, siblings);
    store->counts[document->table]--;
    store->changes++;
    free_document(document);
}

void store_set(struct store *store, struct document *document, const char *key, json_t *value)
{
    if (value != NULL)
        json_object_set_new(document->fields, key, value);
    else
        json_object_del(document->fields, key);
    free(document->dump);
    document->dump = NULL;
    store->changes++;
}

void store_mark_delivered(struct store *store, struct document *notification, double now_ms)
{
    if (document_field(notification, "deliveredAt") != NULL)
        return;
    unlink_from_list(store, notification);
    store_set(store, notification, "deliveredAt", memory_json(json_real(now_ms)));
    if (document_is(notification, "recipientType", "agent"))
        store->delivered_count++;
}

void store_set_created(struct store *store, struct document *notification, double created_ms)
{
    bool is_undelivered = notification->list != NULL;
    unlink_from_list(store, notification);
    store_set(store, notification, "createdAt", memory_json(json_real(created_ms)));
    if (is_undelivered)
        insert_undelivered(store, notification);
}

void document_write(struct document *document, struct text *text)
{
    if (document->dump == NULL)
        document->dump = memory_json_dump(document->fields);
    text_append(text, document->dump);
}
