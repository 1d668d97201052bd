/* The board's documents, indexed so that every service action is cheap. */
#ifndef SANDBOX_STORE_H
#define SANDBOX_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/text.h"
#include "ids.h"
#include "map.h"
#include "version.h"

TAILQ_HEAD(document_list, document);

/* Owned by its store. fields holds what the backend returns, _id and _creationTime included. */
struct document {
    char id[ID_BYTES];
    enum table table;
    json_t *fields;
    char *dump; /* cached JSON text of fields, NULL after a change */
    TAILQ_ENTRY(document) siblings;

    /*
     * The one further list that a document can be in: that of its task for a message or a
     * subscription, that of its account for an undelivered agent notification.
     */
    TAILQ_ENTRY(document) link;
    struct document_list *list;
};

/* The documents that refer to a task id, even when the task itself is gone. */
struct thread {
    struct document_list messages;
    struct document_list subscriptions;
};

/* Used by the server's thread only. */
struct store {
    enum backend_version version; /* which tables there are, and whose rules change them */
    struct document_list tables[TABLE_COUNT];
    size_t counts[TABLE_COUNT];
    struct map by_id;
    struct map by_source;   /* sourceNotificationId -> message */
    struct map threads;     /* task id -> struct thread */
    struct map sessions;    /* agent id and task id -> its latest session */
    struct map undelivered; /* account id -> struct document_list, oldest createdAt first */
    size_t undelivered_count;
    size_t delivered_count;
    double last_creation_ms;
    uint64_t changes; /* incremented by every change */
};

void store_init(struct store *store, enum backend_version version);
void store_fini(struct store *store);

/*
 * Adds a document to table. Takes fields and adds _id (id, or a generated one if it is NULL) and
 * _creationTime. The store owns the result.
 */
struct document *store_insert(
    struct store *store, enum table table, json_t *fields, const char *id);

/* The document of table with that id, or NULL. id may be NULL. */
struct document *store_get(const struct store *store, enum table table, const char *id);

/* The number of tables that the version has: those before it in enum table. */
enum table store_table_count(const struct store *store);

/* The table that an id belongs to, whether or not the document exists; TABLE_COUNT for none. */
enum table store_id_table(const struct store *store, const char *id);

/* Whether id is one of table, whether or not the document exists. */
bool store_id_is_of(const struct store *store, enum table table, const char *id);

/* Removes and frees one document; references to it are left dangling. */
void store_delete(struct store *store, struct document *document);

/* Sets deliveredAt unless it is set already. */
void store_mark_delivered(struct store *store, struct document *notification, double now_ms);

/* Sets a notification's createdAt, and with it its place in the list of undelivered ones. */
void store_set_created(struct store *store, struct document *notification, double created_ms);

/* The undelivered agent notifications of an account, oldest first. */
struct document_list *store_undelivered(struct store *store, const char *account_id);

/* The messages and subscriptions of a task. */
struct thread *store_thread(struct store *store, const char *task_id);

/* The message that answers a notification, or NULL. */
struct document *store_message_by_source(const struct store *store, const char *notification_id);

/* The session opened last by an agent for a task (NULL: none), or NULL. */
struct document *store_latest_session(
    const struct store *store, const char *agent_id, const char *task_id);

/* A field's text (NULL when absent), a field's number (0 when absent), and the field itself. */
const char *document_string(const struct document *document, const char *key);
double document_number(const struct document *document, const char *key);
json_t *document_field(const struct document *document, const char *key);

/* Whether a field has that text. */
bool document_is(const struct document *document, const char *key, const char *value);

/* Sets a field to value, which it takes; NULL removes it. Must not be used on indexed fields. */
void store_set(struct store *store, struct document *document, const char *key, json_t *value);

/* Appends the document's JSON to text. */
void document_write(struct document *document, struct text *text);

#endif
