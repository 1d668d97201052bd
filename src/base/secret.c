#include "base/secret.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sync.h"

struct secret {
    /* Guards value. */
    struct mutex lock;
    char *value; /* owned; NULL for none */
};

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

static const char *text_of(const char *value)
{
    return value != NULL ? value : "";
}

bool secret_exchange(struct secret *secret, char **value)
{
    mutex_lock(&secret->lock);
    char *old = secret->value;
    secret->value = *value;
    bool differs = strcmp(text_of(old), text_of(*value)) != 0;
    mutex_unlock(&secret->lock);
    *value = old;
    return differs;
}

void secret_append(struct secret *secret, struct text *text)
{
    mutex_lock(&secret->lock);
    text_append(text, text_of(secret->value));
    mutex_unlock(&secret->lock);
}

enum { SECRETS = 96, MIN_SECRET_BYTES = 6 };

static struct mutex lock = MUTEX_INITIALIZER;
/* Both guarded by lock. The first secret_count are in use, the one added last at the end. */
static char *secrets[SECRETS];
static size_t secret_count;

/* The position of value, or SECRETS. */
static size_t find_work_locked(const char *value)
{
    mutex_assert_held(&lock);
    for (size_t i = 0; i < secret_count; i++)
        if (strcmp(secrets[i], value) == 0)
            return i;
    return SECRETS;
}

/* Takes the secret at position out of the list; it is the caller's. */
static char *remove_locked(size_t position)
{
    mutex_assert_held(&lock);
    char *removed = secrets[position];
    secret_count--;
    memmove(
        &secrets[position], &secrets[position + 1], (secret_count - position) * sizeof secrets[0]);
    secrets[secret_count] = NULL;
    return removed;
}

static bool add(const char *value)
{
    char *copy = strdup(value);
    char *old = NULL;
    if (copy == NULL)
        return false;
    mutex_lock(&lock);
    size_t known = find_work_locked(value);
    if (known < SECRETS)
        old = remove_locked(known);
    else if (secret_count == SECRETS)
        old = remove_locked(0);
    secrets[secret_count++] = copy;
    mutex_unlock(&lock);
    free(old);
    return true;
}

/* The value as it stands in JSON, where quotes and backslashes, perhaps slashes, are escaped. */
static bool add_escaped(const char *value, const char *escaped)
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
    bool added = strcmp(form, value) == 0 || add(form);
    free(form);
    return added;
}

bool redact_add_secret(const char *value)
{
    if (strlen(value) < MIN_SECRET_BYTES)
        return true;
    return add_escaped(value, "\"\\") && add_escaped(value, "\"\\/") && add(value);
}

void redact_forget_all(void)
{
    char *old[SECRETS];
    mutex_lock(&lock);
    memcpy(old, secrets, sizeof old);
    memset(secrets, 0, sizeof secrets);
    secret_count = 0;
    mutex_unlock(&lock);
    for (size_t i = 0; i < SECRETS; i++)
        free(old[i]);
}

/* Puts up to three stars in place of the length bytes at start and closes the gap. */
static void blank_out(char *start, size_t length)
{
    size_t stars = length < 3 ? length : 3;
    memset(start, '*', stars);
    memmove(start + stars, start + length, strlen(start + length) + 1);
}

/*
 * A secret whose beginning is the end of the text was cut there; it goes, too. Shorter beginnings
 * are left: they tell nothing.
 */
static void remove_cut_secret(char *text, const char *secret)
{
    size_t text_bytes = strlen(text);
    size_t secret_bytes = strlen(secret);
    size_t max = text_bytes < secret_bytes ? text_bytes : secret_bytes - 1;
    for (size_t length = max; length >= MIN_SECRET_BYTES; length--)
        if (memcmp(text + text_bytes - length, secret, length) == 0) {
            blank_out(text + text_bytes - length, length);
            return;
        }
}

/* Length of the longest known secret that text begins with, or 0. */
static size_t known_secret_length_locked(const char *text)
{
    mutex_assert_held(&lock);
    size_t max = 0;
    for (size_t i = 0; i < secret_count; i++) {
        size_t length = strlen(secrets[i]);
        if (length > max && strncmp(text, secrets[i], length) == 0)
            max = length;
    }
    return max;
}

static bool holds_secret_locked(const char *text)
{
    mutex_assert_held(&lock);
    for (size_t i = 0; i < secret_count; i++)
        if (strstr(text, secrets[i]) != NULL)
            return true;
    return false;
}

static void remove_known_secrets(char *text)
{
    mutex_lock(&lock);
    if (holds_secret_locked(text))
        for (char *at = text; *at != '\0'; at++) {
            size_t length = known_secret_length_locked(at);
            if (length > 0)
                blank_out(at, length);
        }
    for (size_t i = 0; i < secret_count; i++)
        remove_cut_secret(text, secrets[i]);
    mutex_unlock(&lock);
}

/* A secret's value ends at white space, a quote, or a delimiter of JSON, URLs or headers. */
static size_t value_length(const char *value)
{
    return strcspn(value, " \t\r\n\"'\\,;&<>{}()[]");
}

/* Blanks what follows each occurrence of prefix; the prefix goes with it if it is secret itself. */
static void remove_after_prefix(char *text, const char *prefix, bool with_prefix)
{
    size_t prefix_bytes = strlen(prefix);
    char *found = text;
    while ((found = strcasestr(found, prefix)) != NULL) {
        char *value = found + prefix_bytes;
        if (!with_prefix)
            value += strspn(value, " ");
        size_t length = value_length(value);
        if (with_prefix)
            blank_out(found, (size_t)(value - found) + length);
        else if (length > 0)
            blank_out(value, length);
        found += with_prefix ? 1 : prefix_bytes;
    }
}

static bool is_name_character(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_';
}

/* Skips quotes, escaped quotes, blanks and one '=' or ':'; NULL when no separator is there. */
static char *value_after_name(char *text)
{
    char *at = text + strspn(text, "\\\"' \t");
    if (*at != '=' && *at != ':')
        return NULL;
    at++;
    return at + strspn(at, "\\\"' \t");
}

static void remove_named_value(char *text, const char *name)
{
    size_t name_bytes = strlen(name);
    char *found = text;
    while ((found = strcasestr(found, name)) != NULL) {
        bool word = found == text || !is_name_character(found[-1]);
        char *value = value_after_name(found + name_bytes);
        if (word && value != NULL && value_length(value) > 0)
            blank_out(value, value_length(value));
        found += name_bytes;
    }
}

void redact(char *text)
{
    static const char *const names[] = {
        "SERVICE_TOKEN", "serviceToken", "OPENCLAW_GATEWAY_TOKEN", "token"};
    remove_known_secrets(text);
    remove_after_prefix(text, "mc_service_", true);
    remove_after_prefix(text, "Bearer ", false);
    /* Every name ends in it, and hardly any text has it. */
    if (strcasestr(text, "token") == NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        remove_named_value(text, names[i]);
}
