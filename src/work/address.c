#include "work/address.h"

#include "base/json_guard.h"

/* The gateway lower-cases session keys, so two spellings would be one session. */
static void lower_case(struct text *text)
{
    for (size_t i = 0; i < text->length_bytes; i++)
        if (text->data[i] >= 'A' && text->data[i] <= 'Z')
            text->data[i] = (char)(text->data[i] - 'A' + 'a');
}

bool address_of(struct address *address, const struct directory *directory, const char *slug,
    const char *session_key)
{
    const char *fallback = directory->fallback_agent;
    *address = (struct address){0};
    text_copy(address->agent_slug, sizeof address->agent_slug, slug);
    if (fallback != NULL && !gateway_roster_has(directory->roster, slug)) {
        text_copy(address->agent_slug, sizeof address->agent_slug, fallback);
        text_printf(&address->session_key, "agent:%s:%s:%s", fallback, slug, directory->account_id);
        lower_case(&address->session_key);
    } else if (session_key[0] != '\0') {
        text_append(&address->session_key, session_key);
    } else {
        text_printf(&address->session_key, "agent:%s:%s", slug, directory->account_id);
    }
    return !address->session_key.failed;
}

bool address_of_agent(
    struct address *address, const struct directory *directory, const json_t *agent)
{
    const char *slug = json_guard_string(agent, "slug");
    const char *session_key = json_guard_string(agent, "sessionKey");
    return address_of(
        address, directory, slug != NULL ? slug : "", session_key != NULL ? session_key : "");
}

void address_fini(struct address *address)
{
    text_fini(&address->session_key);
}
