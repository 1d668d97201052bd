/*
 * redact() cleans every text before it leaves the process: log lines, errors quoted from servers,
 * HTTP responses, the output of a child. It works in place and never lengthens the text, so callers
 * need no buffer and it cannot fail. It removes two kinds of secrets:
 *
 * - Those that it knows, registered with redact_add_secret, however their bytes are written. Text
 *   and value are compared byte by byte through a decoder (redact_next_byte), once for each way of
 *   writing them: as they are, %XX, as HTML entities, or in hexadecimal. Backslashes count on
 *   neither side, which covers JSON, and JSON within JSON. For base64, where a byte has no place of
 *   its own, the value's three possible forms are kept beside it and are looked for like values. A
 *   text that was truncated may end in the first part of a value; six bytes of it are removed.
 * - Those that it recognizes by what is around them or by their form: "Bearer ...", "token=...",
 *   scheme://user:password@, mc_service_..., the keys of model providers, and the tags of agents'
 *   session keys ("~" and 26 letters).
 *
 * The list of values is bounded, since each rotation adds some; the oldest is dropped. All of this
 * is used from every thread. The list's lock is held during a scan, which only compares bytes; a
 * table of bytes that a written value can begin with lets the scan skip nearly all of a text.
 */
#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "base/sync.h"

/* Shorter values would blank out ordinary words, and shorter parts reveal next to nothing. */
enum { MAX_KNOWN = 64, MIN_SECRET_BYTES = 6 };

/* How many letters a tag has (agent_tools/capability.h). */
enum { TAG_LETTERS = 26 };

/* What base64 makes of a value depends on how many bytes precede it, modulo three. */
enum { BASE64_FORMS = 3 };

enum byte_form { FORM_PLAIN, FORM_PERCENT, FORM_HTML, FORM_HEX, BYTE_FORMS };

/* Instead of a byte: the text ends, perhaps within a byte's form, or is malformed. */
enum { TEXT_ENDED = -1, TEXT_MALFORMED = -2 };

struct known_secret {
    char *value;
    char *base64[BASE64_FORMS];
};

/* Guards what is below. Initialized statically, as the first log line may precede everything. */
static struct mutex redact_lock = MUTEX_INITIALIZER;
/* The first known_count are in use, the most recently added last. */
static struct known_secret known[MAX_KNOWN];
static size_t known_count;
/* The bytes with which a known value can begin, in any form. */
static bool may_begin[256];

static void known_free(struct known_secret *secret)
{
    free(secret->value);
    for (size_t i = 0; i < BASE64_FORMS; i++)
        free(secret->base64[i]);
    *secret = (struct known_secret){0};
}

/*
 * The part of the base64 of any text that the value determines, if it begins after that many bytes
 * modulo three; NULL when out of memory.
 */
static char *known_base64(const char *value, size_t before_bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t first = (before_bytes * 8 + 5) / 6;
    size_t end = (before_bytes + strlen(value)) * 8 / 6;
    char *form = malloc(end - first + 1);
    if (form == NULL)
        return NULL;
    for (size_t i = first; i < end; i++) {
        size_t bit = i * 6 - before_bytes * 8;
        unsigned pair = (unsigned)(unsigned char)value[bit / 8] << 8;
        /* The terminating NUL stands in for the byte after the last, of which no bit is used. */
        pair |= (unsigned char)value[bit / 8 + 1];
        form[i - first] = digits[pair >> (10 - bit % 8) & 0x3F];
    }
    form[end - first] = '\0';
    return form;
}

static bool known_init(struct known_secret *secret, const char *value)
{
    *secret = (struct known_secret){.value = strdup(value)};
    bool complete = secret->value != NULL;
    for (size_t i = 0; i < BASE64_FORMS; i++) {
        secret->base64[i] = known_base64(value, i);
        complete = complete && secret->base64[i] != NULL;
    }
    if (!complete)
        known_free(secret);
    return complete;
}

/* Adds the first byte as it is and as two hexadecimal digits. */
static void mark_beginnings_locked(const struct known_secret *secret)
{
    static const char digits[] = "0123456789abcdef";
    mutex_assert_held(&redact_lock);
    unsigned char first = (unsigned char)secret->value[0];
    unsigned char plain = (unsigned char)secret->value[strspn(secret->value, "\\")];
    may_begin[plain] = true;
    may_begin[(unsigned char)digits[first >> 4]] = true;
    may_begin[(unsigned char)toupper((unsigned char)digits[first >> 4])] = true;
    for (size_t i = 0; i < BASE64_FORMS; i++)
        may_begin[(unsigned char)secret->base64[i][0]] = true;
}

static void list_beginnings_locked(void)
{
    mutex_assert_held(&redact_lock);
    memset(may_begin, 0, sizeof may_begin);
    for (size_t i = 0; i < known_count; i++)
        mark_beginnings_locked(&known[i]);
    /* Those of escapes, and what base64 for URLs writes instead of '+' and '/'. */
    for (const char *at = "%&\\-_"; *at != '\0'; at++)
        may_begin[(unsigned char)*at] = known_count > 0;
    may_begin[0] = false;
}

/* The index of value; known_count if it is not among them. */
static size_t known_find_locked(const char *value)
{
    mutex_assert_held(&redact_lock);
    size_t i = 0;
    while (i < known_count && strcmp(known[i].value, value) != 0)
        i++;
    return i;
}

/* Adding a known value again makes it the newest. The old one is freed outside the lock. */
bool redact_add_secret(const char *value)
{
    struct known_secret added;
    struct known_secret old = {0};
    if (strlen(value) < MIN_SECRET_BYTES)
        return true;
    if (!known_init(&added, value))
        return false;
    mutex_lock(&redact_lock);
    size_t place = known_find_locked(value);
    if (place == MAX_KNOWN)
        place = 0;
    if (place < known_count) {
        old = known[place];
        known_count--;
        memmove(&known[place], &known[place + 1], (known_count - place) * sizeof known[0]);
    }
    known[known_count++] = added;
    list_beginnings_locked();
    mutex_unlock(&redact_lock);
    known_free(&old);
    return true;
}

void redact_forget_all(void)
{
    struct known_secret old[MAX_KNOWN];
    mutex_lock(&redact_lock);
    memcpy(old, known, sizeof old);
    memset(known, 0, sizeof known);
    known_count = 0;
    list_beginnings_locked();
    mutex_unlock(&redact_lock);
    for (size_t i = 0; i < MAX_KNOWN; i++)
        known_free(&old[i]);
}

/* Replaces the length bytes at start by at most three stars and closes the gap. */
static void redact_bytes(char *start, size_t length)
{
    size_t stars = length < 3 ? length : 3;
    memset(start, '*', stars);
    memmove(start + stars, start + length, strlen(start + length) + 1);
}

static int hex_digit_value(char character)
{
    if (text_is_digit(character))
        return character - '0';
    int lower = tolower((unsigned char)character);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : TEXT_MALFORMED;
}

/* The number that two hexadecimal digits at *at write, which are skipped. */
static int take_hex_pair(const char **at)
{
    int high = hex_digit_value((*at)[0]);
    if (high < 0)
        return (*at)[0] == '\0' ? TEXT_ENDED : TEXT_MALFORMED;
    int low = hex_digit_value((*at)[1]);
    if (low < 0)
        return (*at)[1] == '\0' ? TEXT_ENDED : TEXT_MALFORMED;
    *at += 2;
    return high * 16 + low;
}

/* The byte that name, without '&' and ';', stands for in HTML. */
static int html_entity_value(const char *name, size_t length)
{
    static const struct {
        const char *name;
        char byte;
    } entities[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    char *end;
    for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++)
        if (strlen(entities[i].name) == length && memcmp(entities[i].name, name, length) == 0)
            return entities[i].byte;
    if (length < 2 || name[0] != '#')
        return TEXT_MALFORMED;
    bool is_hex = name[1] == 'x' || name[1] == 'X';
    unsigned long value = strtoul(name + (is_hex ? 2 : 1), &end, is_hex ? 16 : 10);
    return end == name + length && value < 256 ? (int)value : TEXT_MALFORMED;
}

/* The byte of the entity at *at, which is a '&' and stands for itself if there is none. */
static int take_html_entity(const char **at)
{
    enum { MAX_ENTITY_BYTES = 8 };
    size_t length = strspn(*at + 1, TEXT_LETTERS TEXT_DIGITS "#");
    char end = (*at)[1 + length];
    if (end == '\0' && length < MAX_ENTITY_BYTES)
        return TEXT_ENDED;
    int byte = end == ';' ? html_entity_value(*at + 1, length) : TEXT_MALFORMED;
    *at += byte >= 0 ? length + 2 : 1;
    return byte >= 0 ? byte : '&';
}

/* The byte of \\u00XX at *at, which is skipped; TEXT_MALFORMED for anything else. */
static int take_json_escape(const char **at)
{
    if (strncmp(*at, "\\u00", 4) != 0)
        return TEXT_MALFORMED;
    const char *digits = *at + 4;
    int byte = take_hex_pair(&digits);
    if (byte >= 0)
        *at = digits;
    return byte;
}

/* Reads one byte in that form, or in plain, from *at and skips it. */
static int take_byte(const char **at, enum byte_form form)
{
    if (form == FORM_PERCENT && **at == '%') {
        const char *digits = *at + 1;
        int byte = take_hex_pair(&digits);
        if (byte >= 0)
            *at = digits;
        return byte;
    }
    if (form == FORM_HTML && **at == '&')
        return take_html_entity(at);
    if (**at == '\0')
        return TEXT_ENDED;
    return (unsigned char)*(*at)++;
}

/* The next byte that is not a backslash, or TEXT_ENDED or TEXT_MALFORMED. */
static int redact_next_byte(const char **at, enum byte_form form)
{
    if (form == FORM_HEX)
        return take_hex_pair(at);
    int byte = '\\';
    while (byte == '\\') {
        byte = **at == '\\' ? take_json_escape(at) : TEXT_MALFORMED;
        if (byte == TEXT_MALFORMED)
            byte = take_byte(at, form);
    }
    return byte;
}

/* Base64 for URLs has '-' and '_' for '+' and '/', and forms have '+' for a blank. */
static bool bytes_are_same(int byte, char wanted, enum byte_form form, bool is_base64)
{
    if (byte == (unsigned char)wanted)
        return true;
    if (is_base64)
        return (byte == '-' && wanted == '+') || (byte == '_' && wanted == '/');
    return form == FORM_PERCENT && byte == '+' && wanted == ' ';
}

/*
 * How many bytes of text write the value, or the first part of it up to the end of the text; 0 if
 * they do not.
 */
static size_t match_value(const char *text, const char *value, enum byte_form form, bool is_base64)
{
    const char *at = text;
    size_t matched = 0;
    size_t min_matched = is_base64 ? MIN_SECRET_BYTES * 8 / 6 : MIN_SECRET_BYTES;
    /* Backslashes before the value belong to something else. */
    if (*at == '\\' && at[1] != 'u')
        return 0;
    for (; *value != '\0'; value++) {
        if (*value == '\\' && form != FORM_HEX)
            continue;
        int byte = redact_next_byte(&at, form);
        if (byte == TEXT_ENDED && matched >= min_matched)
            return strlen(text);
        if (byte < 0 || !bytes_are_same(byte, *value, form, is_base64))
            return 0;
        matched++;
    }
    return matched > 0 ? (size_t)(at - text) : 0;
}

static size_t max_size(size_t one, size_t other)
{
    return one > other ? one : other;
}

/* Length of the longest form of a known value that text begins with, or 0. */
static size_t match_known_locked(const char *text)
{
    mutex_assert_held(&redact_lock);
    size_t max = 0;
    for (size_t i = 0; i < known_count; i++) {
        for (int form = 0; form < BYTE_FORMS; form++)
            max = max_size(max, match_value(text, known[i].value, (enum byte_form)form, false));
        for (size_t k = 0; k < BASE64_FORMS; k++) {
            max = max_size(max, match_value(text, known[i].base64[k], FORM_PLAIN, true));
            max = max_size(max, match_value(text, known[i].base64[k], FORM_PERCENT, true));
        }
    }
    return max;
}

static void redact_known(char *text)
{
    mutex_lock(&redact_lock);
    for (char *at = text; known_count > 0 && *at != '\0'; at++) {
        size_t length = may_begin[(unsigned char)*at] ? match_known_locked(at) : 0;
        if (length > 0)
            redact_bytes(at, length);
    }
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
    return *at != '[' && colon != NULL && colon + 1 < end &&
           colon + 1 + strspn(colon + 1, TEXT_DIGITS) < end;
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

/* Redacts the words that begin with prefix, have a digit, and are as long as a key. */
static void redact_provider_keys(char *text, const char *prefix)
{
    enum { MIN_KEY_BYTES = 16, MIN_CUT_KEY_BYTES = 8 };
    static const char letters[] = TEXT_LETTERS TEXT_DIGITS "_-";
    for (char *at = strstr(text, prefix); at != NULL; at = strstr(at + 1, prefix)) {
        size_t length = strspn(at, letters);
        size_t min = at[length] == '\0' ? MIN_CUT_KEY_BYTES : MIN_KEY_BYTES;
        bool begins_word = at == text || strchr(letters, at[-1]) == NULL;
        if (begins_word && length >= strlen(prefix) + min && strcspn(at, TEXT_DIGITS) < length)
            redact_bytes(at, length);
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
    for (size_t i = 0; i < sizeof key_prefixes / sizeof key_prefixes[0]; i++)
        redact_provider_keys(text, key_prefixes[i]);
    for (size_t i = 0; i < sizeof key_names / sizeof key_names[0]; i++)
        redact_named_value(text, key_names[i], true);
    /* Every name ends in "token", which hardly any text contains. */
    if (strcasestr(text, "token") == NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        redact_named_value(text, names[i], false);
}
