#include "base/words.h"

#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t";

/* What is still to be read, and where the next byte of a word goes. */
struct splitter {
    const char *at;
    char *out;
};

static void take(struct splitter *splitter)
{
    *splitter->out++ = *splitter->at++;
}

static int take_single_quoted(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    while (*splitter->at != '\'' && *splitter->at != '\0')
        take(splitter);
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "has a ' without another one that closes it");
    splitter->at++;
    return 0;
}

static int take_double_quoted(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    while (*splitter->at != '"' && *splitter->at != '\0') {
        if (splitter->at[0] == '\\' && splitter->at[1] != '\0' &&
            strchr("\"\\$`", splitter->at[1]) != NULL)
            splitter->at++;
        take(splitter);
    }
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "has a \" without another one that closes it");
    splitter->at++;
    return 0;
}

static int take_escaped(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "ends with a backslash");
    take(splitter);
    return 0;
}

static int take_word(struct splitter *splitter, struct error *error)
{
    int result = 0;
    while (result == 0 && *splitter->at != '\0' && strchr(blanks, *splitter->at) == NULL) {
        if (*splitter->at == '\'')
            result = take_single_quoted(splitter, error);
        else if (*splitter->at == '"')
            result = take_double_quoted(splitter, error);
        else if (*splitter->at == '\\')
            result = take_escaped(splitter, error);
        else
            take(splitter);
    }
    *splitter->out++ = '\0';
    return result;
}

int words_split(const char *line, struct words *words, struct error *error)
{
    /* A word takes at least one byte of the line and one blank, but for the last one. */
    size_t length_bytes = strlen(line);
    size_t most_words = length_bytes / 2 + 1;
    *words = (struct words){0};
    words->bytes = malloc(length_bytes + 1);
    words->items = calloc(most_words + 1, sizeof words->items[0]);
    if (words->bytes == NULL || words->items == NULL) {
        words_fini(words);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the words of a command");
    }
    struct splitter splitter = {.at = line, .out = words->bytes};
    int result = 0;
    while (result == 0) {
        splitter.at += strspn(splitter.at, blanks);
        if (*splitter.at == '\0')
            return 0;
        words->items[words->count++] = splitter.out;
        result = take_word(&splitter, error);
    }
    words_fini(words);
    return result;
}

void words_fini(struct words *words)
{
    free(words->items);
    free(words->bytes);
    *words = (struct words){0};
}
