/*
 * The secrets that redact() knows, registered with redact_add_secret, and how they are found
 * however their bytes are written. Text and value are compared byte by byte through a decoder
 * (redact_next_byte), once for each way of writing them: as they are, %XX, as HTML entities, or in
 * hexadecimal. Backslashes count on neither side, which covers JSON, and JSON within JSON. For
 * base64, where a byte has no place of its own, the value's three possible forms are kept beside it
 * and are looked for like values. A text that was truncated may end in the first part of a value;
 * six bytes of it are removed.
 *
 * The list of values is bounded, since each rotation adds some; the oldest is dropped. It is used
 * from every thread. Its lock is held during a scan, which only compares bytes; a table of bytes
 * that a written value can begin with lets the scan skip nearly all of a text.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/redact.h"
#include "base/secret.h"
#include "base/sync.h"

/* Shorter values would blank out ordinary words, and shorter parts reveal next to nothing. */
enum { MAX_KNOWN = 64, MIN_SECRET_BYTES = 6 };

/* What base64 makes of a value depends on how many bytes precede it, modulo three. */
enum { BASE64_FORMS = 3 };

/* The last is that of a whole value, the others those of single bytes. */
enum byte_form { FORM_PLAIN, FORM_PERCENT, FORM_HTML, FORM_HEX, FORM_BASE64 };

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
/* For each byte, the forms in which a known value can begin with it: 1 << enum byte_form. */
static unsigned char may_begin[256];

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

static void mark_beginnings_locked(const struct known_secret *secret)
{
    static const char digits[] = "0123456789abcdef";
    mutex_assert_held(&redact_lock);
    const char *value = secret->value;
    unsigned char high_digit = (unsigned char)digits[(unsigned char)value[0] >> 4];
    /* A form for single bytes may have the first one as it is. Backslashes are skipped. */
    may_begin[(unsigned char)value[strspn(value, "\\")]] |=
        1 << FORM_PLAIN | 1 << FORM_PERCENT | 1 << FORM_HTML;
    may_begin[high_digit] |= 1 << FORM_HEX;
    may_begin[toupper(high_digit)] |= 1 << FORM_HEX;
    for (size_t i = 0; i < BASE64_FORMS; i++)
        may_begin[(unsigned char)secret->base64[i][0]] |= 1 << FORM_BASE64;
}

static void list_beginnings_locked(void)
{
    mutex_assert_held(&redact_lock);
    memset(may_begin, 0, sizeof may_begin);
    for (size_t i = 0; i < known_count; i++)
        mark_beginnings_locked(&known[i]);
    may_begin['\\'] |= 1 << FORM_PLAIN | 1 << FORM_BASE64;
    may_begin['%'] |= 1 << FORM_PERCENT | 1 << FORM_BASE64;
    may_begin['&'] |= 1 << FORM_HTML;
    /* In URLs base64 has these for '+' and '/'. */
    may_begin['-'] |= 1 << FORM_BASE64;
    may_begin['_'] |= 1 << FORM_BASE64;
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

/* The same for base64 of the value with anything around it, also URL-encoded. */
static size_t match_base64(const char *text, const struct known_secret *secret, bool is_escape)
{
    size_t max = 0;
    for (size_t i = 0; i < BASE64_FORMS; i++) {
        const char *form = secret->base64[i];
        if (text[0] != form[0] && !is_escape)
            continue;
        max = max_size(max, match_value(text, form, FORM_PLAIN, true));
        max = max_size(max, match_value(text, form, FORM_PERCENT, true));
    }
    return max;
}

/* Length of the longest known value that text begins with in one of the forms, or 0. */
static size_t match_known_locked(const char *text, unsigned forms)
{
    mutex_assert_held(&redact_lock);
    size_t max = 0;
    bool is_escape = strchr("%&\\-_", text[0]) != NULL;
    for (size_t i = 0; i < known_count; i++) {
        const char *value = known[i].value;
        bool is_first = is_escape || text[0] == value[0] || value[0] == '\\';
        for (unsigned form = FORM_PLAIN; form < FORM_BASE64; form++)
            if ((forms & 1U << form) != 0 && (is_first || form == FORM_HEX))
                max = max_size(max, match_value(text, value, (enum byte_form)form, false));
        if ((forms & 1U << FORM_BASE64) != 0)
            max = max_size(max, match_base64(text, &known[i], is_escape));
    }
    return max;
}

void redact_known(char *text)
{
    mutex_lock(&redact_lock);
    for (char *at = text; known_count > 0 && *at != '\0'; at++) {
        unsigned forms = may_begin[(unsigned char)*at];
        size_t length = forms != 0 ? match_known_locked(at, forms) : 0;
        if (length > 0)
            redact_bytes(at, length);
    }
    mutex_unlock(&redact_lock);
}
