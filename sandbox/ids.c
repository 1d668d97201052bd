/*
 * Ids as Convex makes them: base-32, opaque to clients, but bound to a table. The sandbox encodes
 * the table in the first two characters, so that it can distinguish an id of the wrong table from
 * one whose document is gone without keeping deleted ids.
 */
#include "ids.h"

#include <assert.h>
#include <sys/random.h>

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum { ID_CHARACTERS = 32, PREFIX_CHARACTERS = 2, MIN_CHARACTERS = 31, MAX_CHARACTERS = 37 };

static const struct {
    const char *name;
    const char *prefix;
} tables[TABLE_COUNT] = {
    [TABLE_ACCOUNTS] = {"accounts", "k5"},
    [TABLE_USERS] = {"users", "n1"},
    [TABLE_AGENTS] = {"agents", "jx"},
    [TABLE_TASKS] = {"tasks", "jd"},
    [TABLE_MESSAGES] = {"messages", "k1"},
    [TABLE_NOTIFICATIONS] = {"notifications", "js"},
    [TABLE_SUBSCRIPTIONS] = {"subscriptions", "ms"},
    [TABLE_ACTIVITIES] = {"activities", "q9"},
    [TABLE_RUNTIMES] = {"runtimes", "rt"},
    [TABLE_SESSIONS] = {"sessions", "mh"},
    [TABLE_DOCUMENTS] = {"documents", "kd"},
    [TABLE_SKILLS] = {"skills", "mk"},
    [TABLE_UPLOADS] = {"uploads", "mp"},
    [TABLE_STORAGE] = {"_storage", "kg"},
};

const char *table_name(enum table table)
{
    assert(table < TABLE_COUNT);
    return tables[table].name;
}

void id_generate(enum table table, char id[static ID_BYTES])
{
    unsigned char random[ID_CHARACTERS];
    ssize_t got = getrandom(random, sizeof random, 0);
    assert(got == (ssize_t)sizeof random);
    (void)got;
    memcpy(id, tables[table].prefix, PREFIX_CHARACTERS);
    for (int i = PREFIX_CHARACTERS; i < ID_CHARACTERS; i++)
        id[i] = alphabet[random[i] % ID_CHARACTERS];
    id[ID_CHARACTERS] = '\0';
}

bool id_is_well_formed(const char *text)
{
    size_t length = strlen(text);
    return length >= MIN_CHARACTERS && length <= MAX_CHARACTERS && strspn(text, alphabet) == length;
}

enum table id_table(const char *id)
{
    if (!id_is_well_formed(id))
        return TABLE_COUNT;
    for (int table = 0; table < TABLE_COUNT; table++)
        if (strncmp(id, tables[table].prefix, PREFIX_CHARACTERS) == 0)
            return (enum table)table;
    return TABLE_COUNT;
}
