/*
 * Secrets have two lives here: as a value that requests use, and as a text that must not leak.
 *
 * A struct secret is one token that SIGHUP may replace while requests are in flight. Each request
 * copies the value under the lock into its own header, so the old string can be freed as soon as
 * the exchange is done, and a request already sent carries on with the old token.
 *
 * redact() cleans every text before it leaves the process: log lines, errors quoted from servers,
 * HTTP responses. It knows the exact values registered with redact_add_secret, in the forms that
 * JSON gives them, and catches others by their shape ("Bearer ...", "token=...", mc_service_...,
 * and the tags of agents' session keys, "~" and 26 letters).
 * It works in place and never lengthens the text, so callers need no buffer and it cannot fail.
 * The list of values is bounded, since each rotation adds some; the oldest is dropped.
 *
 * Both are used from every thread. The list lock is held during a scan, which only compares bytes.
 */
#include "base/secret.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sync.h"

/*
 * Up to three forms of each value: as it is and as JSON escapes it, with and without slashes.
 * Shorter values would blank out ordinary words.
 */
enum { MAX_REDACTED = 96, MIN_SECRET_BYTES = 6 };

/* How many letters a tag has (agent_tools/capability.h). */
enum { TAG_LETTERS = 26 };

struct secret {
    struct mutex lock; /* guards value */
    char *value;       /* owned; NULL for none */
};

/* Guards the list below. Initialized statically, as the first log line may precede everything. */
static struct mutex redact_lock = MUTEX_INITIALIZER;
/* The first redacted_count are in use, the most recently added last. */
static char *redacted[MAX_REDACTED];
static size_t redacted_count;

struct secret *secret_create(const char *value)
{
    struct secret *created = calloc(1, sizeof *created);
    if (created == NULL)
        return NULL;
    mutex_init(&created->lock);
    created->value = value != NULL ? strdup(value) : NULL;
    if (value == NULL || created->value != NULL)
        return created;
    secret_destroy(created);
    return NULL;
}

void secret_destroy(struct secret *secret)
{
    if (secret == NULL)
        return;
    mutex_fini(&secret->lock);
    free(secret->value);
    free(secret);
}

static const char *text_or_empty(const char *value)
{
    return value != NULL ? value : "";
}

bool secret_exchange(struct secret *secret, char **value)
{
    mutex_lock(&secret->lock);
    char *old = secret->value;
    secret->value = *value;
    bool differs = strcmp(text_or_empty(old), text_or_empty(*value)) != 0;
    mutex_unlock(&secret->lock);
    *value = old;
    return differs;
}

void secret_append(struct secret *secret, struct text *text)
{
    mutex_lock(&secret->lock);
    text_append(text, text_or_empty(secret->value));
    mutex_unlock(&secret->lock);
}

/* The index of value, or MAX_REDACTED. */
static size_t redact_find_locked(const char *value)
{
    mutex_assert_held(&redact_lock);
    for (size_t i = 0; i < redacted_count; i++)
        if (strcmp(redacted[i], value) == 0)
            return i;
    return MAX_REDACTED;
}

/* Removes and returns the value at that index; the caller frees it. */
static char *redact_remove_locked(size_t index)
{
    mutex_assert_held(&redact_lock);
    char *removed = redacted[index];
    redacted_count--;
    memmove(&redacted[index], &redacted[index + 1], (redacted_count - index) * sizeof redacted[0]);
    redacted[redacted_count] = NULL;
    return removed;
}

/* Adding a known value again makes it the newest. The old copy is freed outside the lock. */
static bool redact_add_form(const char *value)
{
    char *copy = strdup(value);
    char *old = NULL;
    if (copy == NULL)
        return false;
    mutex_lock(&redact_lock);
    size_t known = redact_find_locked(value);
    if (known < MAX_REDACTED)
        old = redact_remove_locked(known);
    else if (redacted_count == MAX_REDACTED)
        old = redact_remove_locked(0);
    redacted[redacted_count++] = copy;
    mutex_unlock(&redact_lock);
    free(old);
    return true;
}

/* Adds the value as JSON writes it, with a backslash before each byte that escaped lists. */
static bool redact_add_escaped(const char *value, const char *escaped)
{
    char *form = malloc(2 * strlen(value) + 1);
    if (form == NULL)
        return false;
    size_t used = 0;
    for (const char *at = value; *at != '\0'; at++) {
        if (strchr(escaped, *at) != NULL)
            form[used++] = '\\';
        form[used++] = *at;
    }
    form[used] = '\0';
    bool added = strcmp(form, value) == 0 || redact_add_form(form);
    free(form);
    return added;
}

bool redact_add_secret(const char *value)
{
    if (strlen(value) < MIN_SECRET_BYTES)
        return true;
    return redact_add_escaped(value, "\"\\") && redact_add_escaped(value, "\"\\/") &&
           redact_add_form(value);
}

void redact_forget_all(void)
{
    char *old[MAX_REDACTED];
    mutex_lock(&redact_lock);
    memcpy(old, redacted, sizeof old);
    memset(redacted, 0, sizeof redacted);
    redacted_count = 0;
    mutex_unlock(&redact_lock);
    for (size_t i = 0; i < MAX_REDACTED; i++)
        free(old[i]);
}

/* Replaces the length bytes at start by at most three stars and closes the gap. */
static void redact_bytes(char *start, size_t length)
{
    size_t stars = length < 3 ? length : 3;
    memset(start, '*', stars);
    memmove(start + stars, start + length, strlen(start + length) + 1);
}

/*
 * A text that was truncated may end in the first part of a secret; that is removed as well. Parts
 * shorter than MIN_SECRET_BYTES stay, as they reveal next to nothing.
 */
static void redact_truncated(char *text, const char *secret)
{
    size_t text_bytes = strlen(text);
    size_t secret_bytes = strlen(secret);
    size_t max = text_bytes < secret_bytes ? text_bytes : secret_bytes - 1;
    for (size_t length = max; length >= MIN_SECRET_BYTES; length--)
        if (memcmp(text + text_bytes - length, secret, length) == 0) {
            redact_bytes(text + text_bytes - length, length);
            return;
        }
}

/* Length of the longest known value that text begins with, or 0. */
static size_t redact_match_locked(const char *text)
{
    mutex_assert_held(&redact_lock);
    size_t max = 0;
    for (size_t i = 0; i < redacted_count; i++) {
        size_t length = strlen(redacted[i]);
        if (length > max && strncmp(text, redacted[i], length) == 0)
            max = length;
    }
    return max;
}

/* One fast scan first: nearly every text is free of secrets. */
static bool redact_is_needed_locked(const char *text)
{
    mutex_assert_held(&redact_lock);
    for (size_t i = 0; i < redacted_count; i++)
        if (strstr(text, redacted[i]) != NULL)
            return true;
    return false;
}

static void redact_known(char *text)
{
    mutex_lock(&redact_lock);
    if (redact_is_needed_locked(text))
        for (char *at = text; *at != '\0'; at++) {
            size_t length = redact_match_locked(at);
            if (length > 0)
                redact_bytes(at, length);
        }
    for (size_t i = 0; i < redacted_count; i++)
        redact_truncated(text, redacted[i]);
    mutex_unlock(&redact_lock);
}

/* A value ends at white space, a quote, or a delimiter of JSON, URLs or headers. */
static size_t redact_value_length(const char *value)
{
    return strcspn(value, " \t\r\n\"'\\,;&<>{}()[]");
}

/* Redacts the value after each occurrence of prefix, and the prefix itself if with_prefix. */
static void redact_after_prefix(char *text, const char *prefix, bool with_prefix)
{
    size_t prefix_bytes = strlen(prefix);
    char *found = text;
    while ((found = strcasestr(found, prefix)) != NULL) {
        char *value = found + prefix_bytes;
        if (!with_prefix)
            value += strspn(value, " ");
        size_t length = redact_value_length(value);
        if (with_prefix)
            redact_bytes(found, (size_t)(value - found) + length);
        else if (length > 0)
            redact_bytes(value, length);
        found += with_prefix ? 1 : prefix_bytes;
    }
}

/* Skips (escaped) quotes, blanks and one '=' or ':'; NULL if there is no such separator. */
static char *redact_skip_separator(char *text)
{
    char *at = text + strspn(text, "\\\"' \t");
    if (*at != '=' && *at != ':')
        return NULL;
    at++;
    return at + strspn(at, "\\\"' \t");
}

/* Redacts values in NAME=value, "name": "value" and the like; name must not continue a word. */
static void redact_named_value(char *text, const char *name)
{
    size_t name_bytes = strlen(name);
    char *found = text;
    while ((found = strcasestr(found, name)) != NULL) {
        bool word = found == text ||
                    !(text_is_letter(found[-1]) || text_is_digit(found[-1]) || found[-1] == '_');
        char *value = redact_skip_separator(found + name_bytes);
        if (word && value != NULL && redact_value_length(value) > 0)
            redact_bytes(value, redact_value_length(value));
        found += name_bytes;
    }
}

/* Redacts the letters of "~abc...", if there are exactly as many as a tag has. */
static void redact_tags(char *text)
{
    for (char *at = strchr(text, '~'); at != NULL; at = strchr(at + 1, '~'))
        if (strspn(at + 1, "abcdefghijklmnopqrstuvwxyz234567") == TAG_LETTERS)
            redact_bytes(at + 1, TAG_LETTERS);
}

void redact(char *text)
{
    static const char *const names[] = {
        "SERVICE_TOKEN", "serviceToken", "OPENCLAW_GATEWAY_TOKEN", "token"};
    redact_known(text);
    redact_after_prefix(text, "mc_service_", true);
    redact_after_prefix(text, "Bearer ", false);
    redact_tags(text);
    /* Every name ends in "token", which hardly any text contains. */
    if (strcasestr(text, "token") == NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        redact_named_value(text, names[i]);
}
