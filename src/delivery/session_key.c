/*
 * A v1 backend names sessions by task and generation and puts the agent in the middle:
 *
 *   task:{task}:agent:{slug}:{account}:v{n}      deliveries
 *   system:agent:{slug}:{account}:v{n}           wake-ups, and notifications without a task
 *
 * Gateways route by a key's beginning, so on the wire the agent comes first:
 *
 *   agent:{slug}:task:{task}:{account}:v{n}      agent:{slug}:system:{account}:v{n}
 *   agent:{fallback}:{slug}:task:...             when the fallback agent answers for it
 *
 * The slug on the wire is the agent's current one, not the one that the session was opened with:
 * the gateway knows only that one. A key of another form is kept whole behind the agent. All of it
 * is in lower case, as gateways make it so anyway: two spellings would be one session.
 *
 * Keys of different agents must never meet. They can only if a slug is a word that stands in that
 * place in other keys, holds a separator, or is another agent's, so such slugs are not used.
 */
#include "delivery/session_key.h"

#include <string.h>
#include <strings.h>

/* The parts of a backend's key that the wire key keeps; all point into the key. */
struct session_parts {
    struct text_span subject; /* "task:{task}" or "system" */
    struct text_span rest;    /* "{account}:v{n}" */
};

static bool is_generation(const char *text)
{
    size_t digits = text[0] == 'v' ? strspn(text + 1, TEXT_DIGITS) : 0;
    return digits > 0 && text[1 + digits] == '\0';
}

/* The last ':' in the length_bytes before end, or NULL when nothing follows or precedes it. */
static const char *last_separator(const char *begin, const char *end)
{
    const char *found = memrchr(begin, ':', (size_t)(end - begin));
    return found != NULL && found > begin && found + 1 < end ? found : NULL;
}

/* How many bytes of a key its subject takes; 0 when it has none. */
static size_t subject_bytes(const char *key)
{
    static const char task[] = "task:";
    static const char system_session[] = "system";
    size_t prefix = sizeof task - 1;
    if (strncmp(key, task, prefix) == 0) {
        size_t id = strcspn(key + prefix, ":");
        return id > 0 ? prefix + id : 0;
    }
    prefix = sizeof system_session - 1;
    return strncmp(key, system_session, prefix) == 0 ? prefix : 0;
}

/* Takes a key of the backend's form apart, from both ends, as a slug may hold separators. */
static bool parse_key(const char *key, struct session_parts *parts)
{
    static const char agent[] = ":agent:";
    size_t subject = subject_bytes(key);
    if (subject == 0 || strncmp(key + subject, agent, sizeof agent - 1) != 0)
        return false;
    const char *slug = key + subject + sizeof agent - 1;
    const char *end = slug + strlen(slug);
    const char *generation = last_separator(slug, end);
    if (generation == NULL || !is_generation(generation + 1))
        return false;
    const char *account = last_separator(slug, generation);
    if (account == NULL)
        return false;
    *parts = (struct session_parts){
        .subject = {key, subject},
        .rest = {account + 1, (size_t)(end - account) - 1},
    };
    return true;
}

static void append_part(struct text *wire, const char *bytes, size_t length_bytes)
{
    text_append(wire, ":");
    text_append_lower_case(wire, bytes, length_bytes);
}

void session_key_append(
    struct text *wire, const char *backend_key, const char *slug, const char *fallback_agent)
{
    struct session_parts parts;
    text_append(wire, "agent");
    if (fallback_agent != NULL)
        append_part(wire, fallback_agent, strlen(fallback_agent));
    append_part(wire, slug, strlen(slug));
    if (parse_key(backend_key, &parts)) {
        append_part(wire, parts.subject.bytes, parts.subject.length_bytes);
        append_part(wire, parts.rest.bytes, parts.rest.length_bytes);
    } else {
        append_part(wire, backend_key, strlen(backend_key));
    }
}

/* Splits the part before the next ':' off rest; false without one. */
static bool take_part(struct text_span *rest, struct text_span *part)
{
    const char *end = memchr(rest->bytes, ':', rest->length_bytes);
    if (end == NULL)
        return false;
    *part = (struct text_span){rest->bytes, (size_t)(end - rest->bytes)};
    rest->bytes = end + 1;
    rest->length_bytes -= part->length_bytes + 1;
    return true;
}

static bool part_is(const struct text_span *part, const char *word)
{
    return part->length_bytes == strlen(word) &&
           strncasecmp(part->bytes, word, part->length_bytes) == 0;
}

/* The account in "task:{task}:{account}:v{n}" or "system:{account}:v{n}". */
static struct text_span find_account(struct text_span rest)
{
    struct text_span part;
    struct text_span account;
    bool found = take_part(&rest, &part) &&
                 (part_is(&part, "system") ||
                     (part_is(&part, "task") && take_part(&rest, &part) && part.length_bytes > 0));
    if (!found || !take_part(&rest, &account) || account.length_bytes == 0)
        return (struct text_span){0};
    size_t digits = 1;
    while (digits < rest.length_bytes && text_is_digit(rest.bytes[digits]))
        digits++;
    bool is_numbered = digits > 1 && digits == rest.length_bytes && rest.bytes[0] == 'v';
    return is_numbered ? account : (struct text_span){0};
}

bool session_key_parse(const char *wire, size_t wire_bytes, enum session_key_reading reading,
    const char *fallback_agent, struct session_key *key)
{
    struct text_span rest = {wire, wire_bytes};
    struct text_span part;
    if (!take_part(&rest, &part) || !part_is(&part, "agent"))
        return false;
    if (reading == KEY_OF_FALLBACK &&
        (fallback_agent == NULL || !take_part(&rest, &part) || !part_is(&part, fallback_agent)))
        return false;
    if (!take_part(&rest, &key->slug) || key->slug.length_bytes == 0 || rest.length_bytes == 0)
        return false;
    key->account = find_account(rest);
    return true;
}

const char *const slug_problem_words[] = {
    [SLUG_USABLE] = NULL,
    [SLUG_MALFORMED] = "malformed",
    [SLUG_RESERVED] = "reserved",
    [SLUG_SHARED] = "shared",
};

static bool is_malformed(const char *slug)
{
    for (const char *at = slug; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || strchr(":~", *at) != NULL)
            return true;
    return slug[0] == '\0';
}

bool slugs_are_same(const char *one, const char *other)
{
    return strcasecmp(one, other) == 0;
}

enum slug_problem slug_check(const char *slug, const char *fallback_agent)
{
    /* Where a slug stands in a key, other keys have these. */
    static const char *const reserved[] = {"task", "system", "subagent", "cron", "acp"};
    /* The gateway's own agent, under which the fallback's sessions are. */
    static const char gateway_agent[] = "main";
    if (is_malformed(slug))
        return SLUG_MALFORMED;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (slugs_are_same(slug, reserved[i]))
            return SLUG_RESERVED;
    bool serves_others = fallback_agent != NULL && slugs_are_same(fallback_agent, gateway_agent);
    return serves_others && slugs_are_same(slug, gateway_agent) ? SLUG_RESERVED : SLUG_USABLE;
}

enum slug_problem slug_check_among(
    const struct agent_list *agents, size_t index, const char *fallback_agent)
{
    const struct agent *agent = &agents->agents[index];
    enum slug_problem problem = slug_check(agent->slug, fallback_agent);
    for (size_t i = 0; problem == SLUG_USABLE && i < agents->count; i++) {
        const struct agent *other = &agents->agents[i];
        /* An agent that is listed twice is not another one. */
        if (slugs_are_same(agent->slug, other->slug) && strcmp(agent->id, other->id) != 0)
            problem = SLUG_SHARED;
    }
    return problem;
}

/*
 * Where deliveries and wake-ups send to. The two versions of the backend differ in how they name
 * sessions: v0 names them as the gateway wants them, v1's names have to be turned around
 * (session_key_append). Which agent is asked, and whether another one stands in for it, is the
 * same for both (gateway/roster.h).
 *
 * Under v1's names two agents can meet in one session if their slugs are alike, so such agents are
 * found before they are asked. The roster knows those of the last list; a slug that is wrong by
 * itself is found even if the agent is newer than that.
 */
bool session_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, enum backend_version version, const char *slug,
    const char *session_key)
{
    if (version != BACKEND_V1 || session_key == NULL || session_key[0] == '\0')
        return agent_address_make(address, config, roster, slug, session_key);
    const char *fallback = config->fallback_agent;
    bool stands_in = agent_address_begin(address, config, roster, slug);
    session_key_append(&address->session_key, session_key, slug, stands_in ? fallback : NULL);
    address->unusable =
        slug_check(slug, fallback) != SLUG_USABLE || gateway_roster_is_unusable(roster, slug);
    return !address->session_key.failed;
}
