/*
 * Resolves the mentions in a message as the backend does. Users take precedence over agents of the
 * same name, and @all overrides every single mention. Each spelling counts once, not each entity:
 * a message that names an agent by its slug and by its name mentions it twice.
 */
#include "mentions.h"

#include <ctype.h>
#include <strings.h>

#include "memory.h"

struct mention_search {
    struct store *store;
    const char *account_id;
    json_t *found;
    json_t *spellings; /* those resolved so far, in lower case, as the keys of an object */
};

static bool is_word_character(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_';
}

static bool equals_ignoring_case(const char *text, const char *name, size_t length)
{
    return text != NULL && strlen(text) == length && strncasecmp(text, name, length) == 0;
}

static bool user_matches(const struct document *user, const char *name, size_t length)
{
    const char *email = document_string(user, "email");
    return equals_ignoring_case(document_string(user, "name"), name, length) ||
           (email != NULL && strcspn(email, "@") == length &&
               strncasecmp(email, name, length) == 0);
}

static bool agent_matches(const struct document *agent, const char *name, size_t length)
{
    return equals_ignoring_case(document_string(agent, "slug"), name, length) ||
           equals_ignoring_case(document_string(agent, "name"), name, length);
}

static bool is_of_account(const struct mention_search *search, const struct document *document)
{
    return document_is(document, "accountId", search->account_id);
}

static void add_mention(struct mention_search *search, const struct document *document)
{
    const char *type = document->table == TABLE_USERS ? "user" : "agent";
    json_array_append_new(
        search->found, memory_json(json_pack("{s:s, s:s, s:O}", "type", type, "id", document->id,
                           "name", document_field(document, "name"))));
}

/* Whether the message has not named anyone in this way before, letter case aside. */
static bool is_new_spelling(struct mention_search *search, const char *name, size_t length)
{
    char *spelling = memory_new(length + 1, 1);
    for (size_t i = 0; i < length; i++)
        spelling[i] = (char)tolower((unsigned char)name[i]);
    bool is_new = json_object_get(search->spellings, spelling) == NULL;
    json_object_set_new(search->spellings, spelling, json_true());
    free(spelling);
    return is_new;
}

/* Users first, then agents; a name that matches none is not a mention. */
static void resolve_mention(struct mention_search *search, const char *name, size_t length)
{
    if (!is_new_spelling(search, name, length))
        return;
    struct document *document = NULL;
    TAILQ_FOREACH (document, &search->store->tables[TABLE_USERS], siblings) {
        if (is_of_account(search, document) && user_matches(document, name, length)) {
            add_mention(search, document);
            return;
        }
    }
    TAILQ_FOREACH (document, &search->store->tables[TABLE_AGENTS], siblings) {
        if (is_of_account(search, document) && agent_matches(document, name, length)) {
            add_mention(search, document);
            return;
        }
    }
}

static void mention_all_in(struct mention_search *search, enum table table, const char *author_id)
{
    struct document *document = NULL;
    TAILQ_FOREACH (document, &search->store->tables[table], siblings) {
        if (is_of_account(search, document) && strcmp(document->id, author_id) != 0)
            add_mention(search, document);
    }
}

bool mentions_all(const char *content)
{
    for (const char *at = strchr(content, '@'); at != NULL; at = strchr(at + 1, '@'))
        if (strncasecmp(at + 1, "all", 3) == 0 && !is_word_character(at[4]))
            return true;
    return false;
}

static void resolve_all_mentions(struct mention_search *search, const char *content)
{
    const char *at = content;
    while ((at = strchr(at, '@')) != NULL) {
        at++;
        const char *name = at;
        if (*at == '"') {
            const char *end = strchr(at + 1, '"');
            if (end == NULL || end == at + 1)
                continue;
            name = at + 1;
            resolve_mention(search, name, (size_t)(end - name));
            at = end + 1;
        } else {
            while (is_word_character(*at))
                at++;
            if (at > name)
                resolve_mention(search, name, (size_t)(at - name));
        }
    }
}

json_t *mentions_parse(
    struct store *store, const char *account_id, const char *author_id, const char *content)
{
    struct mention_search search = {
        store, account_id, memory_json(json_array()), memory_json(json_object())};
    if (mentions_all(content)) {
        mention_all_in(&search, TABLE_USERS, author_id);
        mention_all_in(&search, TABLE_AGENTS, author_id);
    } else {
        resolve_all_mentions(&search, content);
    }
    json_decref(search.spellings);
    return search.found;
}
