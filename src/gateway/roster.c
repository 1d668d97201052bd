/*
 * What is known of the gateway: its agents, its release and whether it takes tools. And as whom an
 * agent of the board is asked there.
 *
 * The roster is a copy of the gateway's last model list behind a lock. The agent syncer replaces it
 * every minute, and a prober right before it closes the circuit; workers read it for each send, the
 * HTTP server for /health. Until a list has come, and for older releases that have none, every
 * agent counts as present. Nothing blocks: a new list is fetched outside and swapped in.
 *
 * The address of an agent is its slug and its session key (docs/protocol.md, "Sessions and
 * agents"). An agent that the gateway lacks is sent to the fallback agent if there is one, in a
 * session of its own that its slug is part of, so that two such agents never share a conversation.
 */
#include "gateway/roster.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/log.h"
#include "base/sync.h"

/* An answer that is not clear seldom gets clearer, and the agent syncer comes by every minute. */
enum { MAX_DIALECT_RETRIES = 5 };

static const char component[] = "Gateway";
static const char model_prefix[] = "openclaw/";

struct gateway_roster {
    /* Guards the fields below. */
    struct mutex lock;
    struct gateway_models models;
    json_t *missing;  /* array of slugs; NULL for none */
    json_t *unusable; /* array of {slug, problem}; NULL for none */
    struct gateway_release release;
    enum tool_dialect dialect;
    bool dialect_is_unclear;  /* the last answer did not say it */
    unsigned dialect_retries; /* since the last clear answer */
    bool tools_collide;
};

int gateway_roster_create(struct gateway_roster **roster, struct error *error)
{
    struct gateway_roster *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the agent roster");
    mutex_init(&created->lock);
    *roster = created;
    return 0;
}

void gateway_roster_destroy(struct gateway_roster *roster)
{
    if (roster == NULL)
        return;
    gateway_models_fini(&roster->models);
    json_decref(roster->missing);
    json_decref(roster->unusable);
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

void gateway_roster_set_release(
    struct gateway_roster *roster, const struct gateway_release *release)
{
    mutex_lock(&roster->lock);
    roster->release = *release;
    mutex_unlock(&roster->lock);
}

struct gateway_release gateway_roster_release(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    struct gateway_release release = roster->release;
    mutex_unlock(&roster->lock);
    return release;
}

bool gateway_roster_set_dialect(struct gateway_roster *roster, enum tool_dialect dialect)
{
    mutex_lock(&roster->lock);
    bool is_clear = dialect != DIALECT_UNKNOWN;
    bool changed = is_clear && roster->dialect != dialect;
    roster->dialect_is_unclear = !is_clear;
    if (is_clear) {
        roster->dialect = dialect;
        roster->dialect_retries = 0;
    }
    mutex_unlock(&roster->lock);
    return changed;
}

enum tool_dialect gateway_roster_dialect(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    enum tool_dialect dialect = roster->dialect;
    mutex_unlock(&roster->lock);
    return dialect;
}

bool gateway_roster_asks_dialect(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    bool asks = roster->dialect_is_unclear && roster->dialect_retries < MAX_DIALECT_RETRIES;
    if (asks)
        roster->dialect_retries++;
    mutex_unlock(&roster->lock);
    return asks;
}

void gateway_roster_note_collision(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    bool is_new = !roster->tools_collide;
    roster->tools_collide = true;
    mutex_unlock(&roster->lock);
    if (is_new)
        log_error(component,
            "the gateway refuses our tools, because one of them has the name of a tool of its own; "
            "until it has been away, agents get none and are told of the HTTP API instead");
}

void gateway_roster_begin_circuit(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    roster->tools_collide = false;
    roster->dialect_retries = 0;
    mutex_unlock(&roster->lock);
}

bool gateway_roster_has_collision(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    bool collide = roster->tools_collide;
    mutex_unlock(&roster->lock);
    return collide;
}

bool gateway_roster_takes_tools(struct gateway_roster *roster)
{
    mutex_lock(&roster->lock);
    bool takes = roster->dialect == DIALECT_FLAT && !roster->tools_collide;
    mutex_unlock(&roster->lock);
    return takes;
}

static void replace_list(struct gateway_roster *roster, json_t **place, json_t *list)
{
    mutex_lock(&roster->lock);
    json_t *old = *place;
    *place = list;
    mutex_unlock(&roster->lock);
    json_decref(old);
}

/* Copied under the lock: a shared reference would let two threads change Jansson's counts. */
static json_t *copy_list(struct gateway_roster *roster, json_t *const *place)
{
    mutex_lock(&roster->lock);
    json_t *copy = *place != NULL ? json_deep_copy(*place) : json_array();
    mutex_unlock(&roster->lock);
    return copy;
}

void gateway_roster_set_missing(struct gateway_roster *roster, json_t *missing)
{
    replace_list(roster, &roster->missing, missing);
}

json_t *gateway_roster_missing(struct gateway_roster *roster)
{
    return copy_list(roster, &roster->missing);
}

void gateway_roster_set_unusable(struct gateway_roster *roster, json_t *unusable)
{
    replace_list(roster, &roster->unusable, unusable);
}

json_t *gateway_roster_unusable(struct gateway_roster *roster)
{
    return copy_list(roster, &roster->unusable);
}

bool gateway_roster_is_unusable(struct gateway_roster *roster, const char *agent_slug)
{
    bool found = false;
    size_t index;
    const json_t *item;
    mutex_lock(&roster->lock);
    json_array_foreach (roster->unusable, index, item) {
        const char *slug = json_string_value(json_object_get(item, "slug"));
        found = found || (slug != NULL && strcasecmp(slug, agent_slug) == 0);
    }
    mutex_unlock(&roster->lock);
    return found;
}

bool gateway_models_have(const struct gateway_models *models, const char *agent_slug)
{
    size_t index;
    const json_t *item;
    if (!models->known)
        return true;
    json_array_foreach (models->list, index, item) {
        const char *id = json_string_value(item);
        if (strncmp(id, model_prefix, sizeof model_prefix - 1) == 0 &&
            strcasecmp(id + sizeof model_prefix - 1, agent_slug) == 0)
            return true;
    }
    return false;
}

bool gateway_roster_has(struct gateway_roster *roster, const char *agent_slug)
{
    mutex_lock(&roster->lock);
    bool has = gateway_models_have(&roster->models, agent_slug);
    mutex_unlock(&roster->lock);
    return has;
}

/* The agent in a model's id; NULL if it names none, or one that fits no slug. */
static const char *listed_agent(const char *id)
{
    if (id == NULL || strncmp(id, model_prefix, sizeof model_prefix - 1) != 0)
        return NULL;
    const char *agent = id + sizeof model_prefix - 1;
    bool names_agent = agent[0] != '\0' && strcmp(agent, "default") != 0;
    return names_agent && strlen(agent) < ID_BYTES ? agent : NULL;
}

void gateway_roster_first_agent(struct gateway_roster *roster, char slug[static ID_BYTES])
{
    size_t index;
    const json_t *item;
    slug[0] = '\0';
    mutex_lock(&roster->lock);
    json_array_foreach (roster->models.list, index, item) {
        const char *agent = listed_agent(json_string_value(item));
        if (agent != NULL && slug[0] == '\0')
            text_copy(slug, ID_BYTES, agent);
    }
    mutex_unlock(&roster->lock);
}

/* The gateway lower-cases keys, so two spellings of a slug are one session. */
static void text_lower_case(struct text *text)
{
    for (size_t i = 0; i < text->length_bytes; i++)
        if (text->data[i] >= 'A' && text->data[i] <= 'Z')
            text->data[i] = (char)(text->data[i] - 'A' + 'a');
}

bool agent_address_begin(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, const char *slug)
{
    *address = (struct agent_address){0};
    mutex_lock(&roster->lock);
    address->unknown = !gateway_models_have(&roster->models, slug);
    address->generation = roster->release.generation;
    mutex_unlock(&roster->lock);
    bool stands_in = address->unknown && config->fallback_agent != NULL;
    text_copy(
        address->agent_slug, sizeof address->agent_slug, stands_in ? config->fallback_agent : slug);
    if (stands_in)
        address->unknown = false;
    return stands_in;
}

bool agent_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, const char *slug, const char *session_key)
{
    const char *fallback = config->fallback_agent;
    if (agent_address_begin(address, config, roster, slug)) {
        text_printf(&address->session_key, "agent:%s:%s:%s", fallback, slug, config->account_id);
        text_lower_case(&address->session_key);
    } else if (session_key != NULL && session_key[0] != '\0') {
        text_append(&address->session_key, session_key);
    } else {
        text_printf(&address->session_key, "agent:%s:%s", slug, config->account_id);
    }
    return !address->session_key.failed;
}
