/* Selections of documents: the rows that a listing function works on. */
#ifndef SANDBOX_ROWS_H
#define SANDBOX_ROWS_H

#include "store.h"

/* Zero-initialise; freed with rows_fini. The documents are borrowed. */
struct rows {
    struct document **items;
    size_t count;
    size_t capacity;
};

void rows_fini(struct rows *rows);

void rows_add(struct rows *rows, struct document *document);

/* Adds the documents of table that belong to the account, oldest first. */
void rows_add_account(
    struct rows *rows, const struct store *store, enum table table, const char *account_id);

/* Orders by a number field, highest first; equal ones by age, newest first. */
void rows_sort(struct rows *rows, const char *key);

/* Keeps the first count rows at most. */
void rows_cut(struct rows *rows, size_t count);

/* Appends the documents as a JSON array. */
void rows_write(const struct rows *rows, struct text *text);

#endif
