#include "remote/gateway_roster.h"

#include <stdlib.h>

#include "base/sync.h"

struct gateway_roster {
    /* Guards models. */
    struct mutex lock;
    struct gateway_models models;
};

int gateway_roster_create(struct gateway_roster **roster, struct error *error)
{
    struct gateway_roster *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway's agents");
    mutex_init(&created->lock);
    *roster = created;
    return 0;
}

void gateway_roster_destroy(struct gateway_roster *roster)
{
    if (roster == NULL)
        return;
    gateway_models_fini(&roster->models);
    mutex_fini(&roster->lock);
    free(roster);
}

void gateway_roster_update(struct gateway_roster *roster, struct gateway_models *models)
{
    mutex_lock(&roster->lock);
    struct gateway_models old = roster->models;
    roster->models = *models;
    mutex_unlock(&roster->lock);
    *models = (struct gateway_models){0};
    gateway_models_fini(&old);
}

bool gateway_roster_has(struct gateway_roster *roster, const char *agent_slug)
{
    mutex_lock(&roster->lock);
    bool has = gateway_models_have(&roster->models, agent_slug);
    mutex_unlock(&roster->lock);
    return has;
}
