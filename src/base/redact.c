/*
 * redact() cleans every text before it leaves the process: log lines, errors quoted from servers,
 * HTTP responses, the output of a child. It works in place and never lengthens the text, so callers
 * need no buffer and it cannot fail. It removes two kinds of secrets: those that it knows
 * (known_secrets.c), and those that it recognizes by what is around them or by their form: "Bearer
 * ...", "token=...", scheme://user:password@, mc_service_..., the keys of model providers, and the
 * tags of agents' session keys ("~" and 26 letters). Any thread may call it.
 */
#include "base/redact.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"

/* How many letters a tag has (agent_tools/capability.h). */
enum { TAG_LETTERS = 26 };

void redact_bytes(char *start, size_t length)
{
    size_t stars = length < 3 ? length : 3;
    memset(start, '*', stars);
    memmove(start + stars, start + length, strlen(start + length) + 1);
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

/*
 * Redacts values in NAME=value, "name": "value" and the like. Unless may_end_word, name must not be
 * the end of a longer word.
 */
static void redact_named_value(char *text, const char *name, bool may_end_word)
{
    size_t name_bytes = strlen(name);
    char *found = text;
    while ((found = strcasestr(found, name)) != NULL) {
        bool word = may_end_word || found == text ||
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

/* Whether the text from at to end has a colon with something other than a port after it. */
static bool has_password(const char *at, const char *end)
{
    const char *colon = memchr(at, ':', (size_t)(end - at));
    if (*at == '[' || colon == NULL)
        return false;
    const char *rest = colon + 1 + strspn(colon + 1, TEXT_DIGITS);
    /* A sentence may end after the port. */
    return rest + strspn(rest, ".,;:!)]}*") < end;
}

/* The end of what precedes the host in a URL, at whose authority it is; NULL without credentials.
 */
static char *find_credentials_end(char *authority)
{
    /* A password may contain what should have been escaped, so the whole URL counts. */
    char *end = authority + strcspn(authority, " \t\r\n\"'<>`\\");
    char *authority_end = authority + strcspn(authority, "/?# \t\r\n\"'<>`\\");
    char *at_sign = memrchr(authority, '@', (size_t)(authority_end - authority));
    if (at_sign != NULL || !has_password(authority, authority_end))
        return at_sign;
    at_sign = memrchr(authority, '@', (size_t)(end - authority));
    /* Truncated before the '@'. */
    return at_sign == NULL && *end == '\0' ? end : at_sign;
}

/* Redacts user:password in scheme://user:password@host, also with the slashes of JSON. */
static void redact_url_credentials(char *text)
{
    for (char *at = strchr(text, ':'); at != NULL; at = strchr(at + 1, ':')) {
        size_t slashes = strncmp(at, "://", 3) == 0 ? 3 : 0;
        if (slashes == 0)
            slashes = strncmp(at, ":\\/\\/", 5) == 0 ? 5 : 0;
        char *end = slashes > 0 ? find_credentials_end(at + slashes) : NULL;
        if (end != NULL && end > at + slashes)
            redact_bytes(at + slashes, (size_t)(end - at) - slashes);
    }
}

/* The beginnings of keys of model providers and of other services that agents use. */
static const char *const key_prefixes[] = {"sk-", "sk_", "rk_", "AIza", "gsk_", "xai-", "hf_",
    "pplx-", "nvapi-", "vck_", "r8_", "tvly-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "github_pat_", "glpat-", "npm_", "xoxb-", "xoxp-", "xoxa-", "xapp-", "AKIA", "ASIA"};

static bool begins_like_key(const char *word)
{
    for (size_t i = 0; i < sizeof key_prefixes / sizeof key_prefixes[0]; i++)
        if (word[0] == key_prefixes[i][0] &&
            strncmp(word, key_prefixes[i], strlen(key_prefixes[i])) == 0)
            return true;
    return false;
}

static bool is_key_letter(char character)
{
    return text_is_letter(character) || text_is_digit(character) || character == '_' ||
           character == '-';
}

/* Redacts the words that begin like a key, have a digit, and are as long as a key. */
static void redact_provider_keys(char *text)
{
    enum { MIN_KEY_BYTES = 20, MIN_CUT_KEY_BYTES = 12 };
    for (char *at = text; *at != '\0'; at++) {
        bool has_digit = false;
        size_t length = 0;
        for (; is_key_letter(at[length]); length++)
            has_digit = has_digit || text_is_digit(at[length]);
        size_t min = at[length] == '\0' ? MIN_CUT_KEY_BYTES : MIN_KEY_BYTES;
        if (has_digit && length >= min && begins_like_key(at)) {
            redact_bytes(at, length);
            length = 3; /* the stars */
        }
        at += length > 0 ? length - 1 : 0;
    }
}

void redact(char *text)
{
    static const char *const names[] = {
        "SERVICE_TOKEN", "serviceToken", "OPENCLAW_GATEWAY_TOKEN", "token"};
    static const char *const key_names[] = {"api_key", "apikey", "api-key"};
    redact_known(text);
    redact_url_credentials(text);
    redact_after_prefix(text, "mc_service_", true);
    redact_after_prefix(text, "Bearer ", false);
    redact_after_prefix(text, "Authorization: Basic ", false);
    redact_tags(text);
    redact_provider_keys(text);
    /* Every name of this kind begins with "api", as hardly any text contains. */
    bool names_key = strcasestr(text, "api") != NULL;
    for (size_t i = 0; i < sizeof key_names / sizeof key_names[0] && names_key; i++)
        redact_named_value(text, key_names[i], true);
    /* Every name ends in "token", which hardly any text contains. */
    if (strcasestr(text, "token") == NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        redact_named_value(text, names[i], false);
}
