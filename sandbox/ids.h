/* Document ids in the backend's form, which encode their table. */
#ifndef SANDBOX_IDS_H
#define SANDBOX_IDS_H

#include <stdbool.h>

enum table {
    TABLE_ACCOUNTS,
    TABLE_USERS,
    TABLE_AGENTS,
    TABLE_TASKS,
    TABLE_MESSAGES,
    TABLE_NOTIFICATIONS,
    TABLE_SUBSCRIPTIONS,
    TABLE_ACTIVITIES,
    TABLE_RUNTIMES,
    TABLE_COUNT_V0, /* the tables above exist in both versions, those below in version 1 */
    TABLE_SESSIONS = TABLE_COUNT_V0,
    TABLE_DOCUMENTS,
    TABLE_SKILLS,
    TABLE_UPLOADS,
    TABLE_STORAGE,
    TABLE_COUNT, /* also stands for "no table" */
};

enum { ID_BYTES = 38 };

/* The table's name as validators print it. */
const char *table_name(enum table table);

/* Generates a random id for a table: 32 characters of the backend's base-32 alphabet. */
void id_generate(enum table table, char id[static ID_BYTES]);

/* Whether text has an id's form: 31 to 37 characters of 0-9 and a-z without i, l, o and u. */
bool id_is_well_formed(const char *text);

/* Returns the table encoded in an id's first two characters; TABLE_COUNT if malformed. Pure. */
enum table id_table(const char *id);

#endif
