#include "serve/accept.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RANGE_BYTES = 256 };

/* How exactly a range names JSON; a more exact one overrides what others say (RFC 9110, 12.5.1). */
enum { NOT_NAMED, ANYTHING, ANY_APPLICATION, BY_NAME };

struct wishes {
    double metrics;
    double json;
    int json_exactness;
};

/* Cuts the next piece off *rest, without blanks at its ends. NULL at the end. */
static char *next_piece(char **rest, const char *separator)
{
    char *piece = strsep(rest, separator);
    if (piece == NULL)
        return NULL;
    piece += strspn(piece, " \t");
    size_t length = strlen(piece);
    while (length > 0 && strchr(" \t", piece[length - 1]) != NULL)
        length--;
    piece[length] = '\0';
    return piece;
}

/* From 0 to 1; whatever is no such number is 0. */
static double read_weight(const char *text)
{
    char *end;
    double weight = strtod(text, &end);
    bool fits = end != text && *end == '\0' && weight >= 0 && weight <= 1;
    return fits ? weight : 0;
}

static int json_exactness(const char *type)
{
    if (strcasecmp(type, "application/json") == 0)
        return BY_NAME;
    if (strcasecmp(type, "application/*") == 0)
        return ANY_APPLICATION;
    return strcmp(type, "*/*") == 0 ? ANYTHING : NOT_NAMED;
}

static void take_range(struct wishes *wishes, char *range)
{
    const char *type = next_piece(&range, ";");
    double weight = 1;
    bool our_version = false;
    for (char *parameter; (parameter = next_piece(&range, ";")) != NULL;) {
        if (strncasecmp(parameter, "q=", 2) == 0)
            weight = read_weight(parameter + 2);
        else if (strcasecmp(parameter, "version=0.0.4") == 0)
            our_version = true;
    }
    bool metrics = strcasecmp(type, "application/openmetrics-text") == 0 ||
                   (our_version && strcasecmp(type, "text/plain") == 0);
    if (metrics && weight > wishes->metrics)
        wishes->metrics = weight;
    int exactness = json_exactness(type);
    if (exactness > wishes->json_exactness) {
        wishes->json_exactness = exactness;
        wishes->json = weight;
    }
}

bool accept_prefers_metrics(const char *accept)
{
    struct wishes wishes = {0};
    while (*accept != '\0') {
        char range[RANGE_BYTES];
        size_t length = strcspn(accept, ",");
        if (length < sizeof range) {
            memcpy(range, accept, length);
            range[length] = '\0';
            take_range(&wishes, range);
        }
        accept += length + (accept[length] == ',');
    }
    return wishes.metrics > wishes.json;
}
