/* The board's documents, with the indexes that keep every service action cheap. */
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

TAILQ_HEAD(document_list, document);

/* Owned by its store. fields holds what the backend returns, _id and _creationTime included. */
struct document {
    char id[ID_BYTES];
    enum table table;
    json_t *fields;
    char *dump; /* fields as JSON text, NULL after a change */
    TAILQ_ENTRY(document) siblings;

    /*
     * The one other list that a document can be in: a message or subscription in those of its
     * task, an undelivered agent notification in those of its account.
     */
    TAILQ_ENTRY(document) link;
    struct document_list *list;
};

/* What hangs on a task id, also when the task itself is gone. */
struct thread {
    struct document_list messages;
    struct document_list subscriptions;
};

/* Used by the server's thread only. */
struct store {
    struct document_list tables[TABLE_COUNT];
    size_t counts[TABLE_COUNT];
    struct map by_id;
    struct map by_source;   /* sourceNotificationId -> message */
    struct map threads;     /* task id -> struct thread */
    struct map undelivered; /* account id -> struct document_list, oldest createdAt first */
    size_t undelivered_count;
    size_t delivered_count;
    double last_creation_ms;
    uint64_t changes; /* grows with every change */
};

void store_init(struct store *store);
void store_fini(struct store *store);

/*
 * Adds a document to table; takes fields, which get _id (id, or a new one when it is NULL) and
 * _creationTime. The result is the store's.
 */
struct document *store_insert(
    struct store *store, enum table table, json_t *fields, const char *id);

/* The document of table with that id, or NULL. id may be NULL. */
struct document *store_get(const struct store *store, enum table table, const char *id);

/* Whether id belongs to table, be there a document or not. */
bool store_id_is_of(const struct store *store, enum table table, const char *id);

/* Removes and frees one document; nothing that refers to it changes. */
void store_delete(struct store *store, struct document *document);

/* Sets deliveredAt, unless it is set. */
void store_mark_delivered(struct store *store, struct document *notification, double now_ms);

/* The undelivered agent notifications of an account, oldest first. */
struct document_list *store_undelivered(struct store *store, const char *account_id);

/* The messages and subscriptions of a task. */
struct thread *store_thread(struct store *store, const char *task_id);

/* The message that answers a notification, or NULL. */
struct document *store_message_by_source(const struct store *store, const char *notification_id);

/* A field's text (NULL when absent), a field's number (0 when absent), and the field itself. */
const char *document_string(const struct document *document, const char *key);
double document_number(const struct document *document, const char *key);
json_t *document_field(const struct document *document, const char *key);

/* Sets a field; takes value, and removes the field when it is NULL. Indexed fields must stay. */
void store_set(struct store *store, struct document *document, const char *key, json_t *value);

/* Appends the document's JSON to text. */
void document_write(struct document *document, struct text *text);

#endif
