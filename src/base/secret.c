/*
 * A struct secret is one token that SIGHUP may replace while requests are in flight. Each request
 * copies the value under the lock into its own header, so the old string can be freed as soon as
 * the exchange is done, and a request already sent carries on with the old token.
 *
 * The other half of the header, which keeps secrets out of texts, is in redact.c and
 * known_secrets.c.
 */
#include "base/secret.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"

struct secret {
    struct mutex lock; /* guards value */
    char *value;       /* owned; NULL for none */
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
