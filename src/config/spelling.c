#include "config/spelling.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/options.h"

enum { NAME_BYTES = 48, SHORT_NAME_BYTES = 9 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Insertions, deletions, replacements and exchanges of neighbours that make b of a (the optimal
 * string alignment distance); both are shorter than NAME_BYTES.
 */
static size_t distance(const char *a, const char *b)
{
    size_t rows[NAME_BYTES][NAME_BYTES];
    size_t a_bytes = strlen(a);
    size_t b_bytes = strlen(b);
    for (size_t i = 0; i <= a_bytes; i++)
        for (size_t j = 0; j <= b_bytes; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            size_t replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = least(replaced, least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    return rows[a_bytes][b_bytes];
}

/* Whether upper is near known, and nearer than *best, which then becomes the distance. */
static bool is_near(const char *upper, const char *known, size_t *best)
{
    size_t known_bytes = strlen(known);
    size_t upper_bytes = strlen(upper);
    size_t allowed = known_bytes < SHORT_NAME_BYTES ? 1 : 2;
    /* Each letter more is one step at least; most names are told apart by that alone. */
    if (upper_bytes > known_bytes + allowed || known_bytes > upper_bytes + allowed)
        return false;
    size_t found = distance(upper, known);
    if (found > allowed || found >= *best)
        return false;
    *best = found;
    return true;
}

const char *spelling_suggest(const char *name, size_t length_bytes)
{
    static const char *const with_file[] = {
        "ACCOUNT_ID_FILE", "SERVICE_TOKEN_FILE", "OPENCLAW_GATEWAY_TOKEN_FILE"};
    enum { WITH_FILE = sizeof with_file / sizeof with_file[0] };
    char upper[NAME_BYTES];
    if (length_bytes >= sizeof upper)
        return NULL;
    for (size_t i = 0; i < length_bytes; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    upper[length_bytes] = '\0';
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < CONFIG_OPTIONS + WITH_FILE; i++) {
        const char *known =
            i < CONFIG_OPTIONS ? config_options[i].name : with_file[i - CONFIG_OPTIONS];
        if (strlen(known) == length_bytes && memcmp(known, name, length_bytes) == 0)
            return NULL;
        if (is_near(upper, known, &best))
            nearest = known;
    }
    return nearest;
}

static void check_name(const char *name, size_t length_bytes, struct problems *problems)
{
    const char *meant = spelling_suggest(name, length_bytes);
    if (meant == NULL)
        return;
    char quoted[NAME_BYTES];
    text_quote(quoted, sizeof quoted, name, length_bytes);
    problems_add(problems, PROBLEM_WARNING, "%s is not a setting and has no effect; %s is one",
        quoted, meant);
}

void spelling_check(const struct values *values, struct problems *problems)
{
    char *const *at = values->environment;
    for (; at != NULL && *at != NULL; at++)
        check_name(*at, strcspn(*at, "="), problems);
    for (size_t i = 0; i < values->env_file.count; i++)
        check_name(
            values->env_file.entries[i].name, strlen(values->env_file.entries[i].name), problems);
}
