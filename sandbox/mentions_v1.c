/*
 * Mentions of version 1. Code, in fences and between backticks, and quoted lines are blanked out
 * first. What follows an @ is compared with all names that users and agents go by, and the longest
 * that fits counts, so slugs with dashes and names of several words need no quotes. Nobody is
 * mentioned twice. As in version 0, anything may precede the @, so an address like a@jarvis.com
 * mentions jarvis.
 */
#include <ctype.h>
#include <strings.h>

#include "account.h"
#include "memory.h"
#include "mentions.h"

static bool is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_';
}

static void blank_out(char *from, const char *to)
{
    for (; from < to; from++)
        if (*from != '\n')
            *from = ' ';
}

/* Blanks the text between pairs of mark, the marks included; a mark without a partner stays. */
static void blank_between(char *content, const char *mark, bool within_line)
{
    size_t length = strlen(mark);
    char *begin = content;
    while ((begin = strstr(begin, mark)) != NULL) {
        const char *end = strstr(begin + length, mark);
        const char *line_end = strchr(begin, '\n');
        if (end == NULL)
            return;
        if (within_line && line_end != NULL && line_end < end) {
            begin += length;
            continue;
        }
        blank_out(begin, end + length);
        begin += (size_t)(end - begin) + length;
    }
}

static void blank_quoted_lines(char *content)
{
    for (char *line = content; line != NULL;) {
        char *end = strchrnul(line, '\n');
        if (line[strspn(line, " \t")] == '>')
            blank_out(line, end);
        line = *end == '\0' ? NULL : end + 1;
    }
}

/* A search for the names of one account in one message. */
struct name_search {
    const struct store *store;
    const char *account_id;
    json_t *found;
};

/* Length of name if text begins with it, letter case aside, and it ends there; else 0. */
static size_t match_name(const char *text, const char *name, size_t length)
{
    if (name == NULL || length == 0 || strncasecmp(text, name, length) != 0)
        return 0;
    bool goes_on =
        is_name_byte(text[length]) || (text[length] == '-' && is_name_byte(text[length + 1]));
    return goes_on ? 0 : length;
}

static size_t longest(size_t one, size_t other)
{
    return one > other ? one : other;
}

/* Length of the longest name of the actor with which text begins; 0 for none. */
static size_t match_actor(const struct document *actor, const char *text)
{
    const char *name = document_string(actor, "name");
    const char *other = document_string(actor, actor->table == TABLE_USERS ? "email" : "slug");
    size_t name_length = name == NULL ? 0 : strlen(name);
    size_t other_length = other == NULL ? 0 : strlen(other);
    if (actor->table == TABLE_USERS && other != NULL)
        other_length = strcspn(other, "@");
    return longest(match_name(text, name, name_length), match_name(text, other, other_length));
}

static bool is_account_member(const struct name_search *search, const struct document *actor)
{
    return document_is(actor, "accountId", search->account_id);
}

/* The actor whose name is the longest that text begins with, users before agents; NULL for none. */
static const struct document *find_longest(
    const struct name_search *search, const char *text, size_t *length)
{
    static const enum table tables[] = {TABLE_USERS, TABLE_AGENTS};
    const struct document *best = NULL;
    *length = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct document *actor = NULL;
        TAILQ_FOREACH (actor, &search->store->tables[tables[i]], siblings) {
            size_t matched = is_account_member(search, actor) ? match_actor(actor, text) : 0;
            if (matched <= *length)
                continue;
            *length = matched;
            best = actor;
        }
    }
    return best;
}

static void add_once(struct name_search *search, const struct document *actor)
{
    size_t index;
    const json_t *mention;
    json_array_foreach (search->found, index, mention) {
        if (strcmp(json_string_value(json_object_get(mention, "id")), actor->id) == 0)
            return;
    }
    json_array_append_new(
        search->found, memory_json(json_pack("{s:s, s:s, s:O, s:O*}", "type",
                           actor->table == TABLE_USERS ? "user" : "agent", "id", actor->id, "name",
                           document_field(actor, "name"), "slug", document_field(actor, "slug"))));
}

/* Resolves quoted words, which have to be a name as a whole; returns the end of the quotes. */
static const char *resolve_quoted(struct name_search *search, const char *quote)
{
    const char *end = strchr(quote + 1, '"');
    if (end == NULL)
        return quote + 1;
    char *name = memory_copy_bytes(quote + 1, (size_t)(end - quote - 1));
    size_t length;
    const struct document *actor = find_longest(search, name, &length);
    if (actor != NULL && name[length] == '\0')
        add_once(search, actor);
    free(name);
    return end + 1;
}

/* Resolves what follows an @ and returns where to go on. */
static const char *resolve_at(struct name_search *search, const char *text)
{
    if (*text == '"')
        return resolve_quoted(search, text);
    size_t length;
    const struct document *actor = find_longest(search, text, &length);
    if (actor == NULL && match_name(text, "qa", 2) > 0)
        actor = account_find_qa(search->store, search->account_id);
    if (actor != NULL)
        add_once(search, actor);
    return text + length;
}

static void add_everyone(struct name_search *search, enum table table, const char *author_id)
{
    const struct document *actor = NULL;
    TAILQ_FOREACH (actor, &search->store->tables[table], siblings) {
        if (is_account_member(search, actor) && strcmp(actor->id, author_id) != 0)
            add_once(search, actor);
    }
}

json_t *mentions_parse_v1(
    struct store *store, const char *account_id, const char *author_id, const char *content)
{
    struct name_search search = {store, account_id, memory_json(json_array())};
    char *text = memory_copy(content);
    blank_between(text, "```", false);
    blank_between(text, "`", true);
    blank_quoted_lines(text);
    if (mentions_all(text)) {
        add_everyone(&search, TABLE_USERS, author_id);
        add_everyone(&search, TABLE_AGENTS, author_id);
    } else {
        const char *at = text;
        while ((at = strchr(at, '@')) != NULL)
            at = resolve_at(&search, at + 1);
    }
    free(text);
    return search.found;
}
