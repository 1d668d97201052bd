/* Any command line: refused, or split into words that survive being quoted and split again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void append_quoted(struct text *line, const char *word)
{
    text_append(line, " '");
    for (; *word != '\0'; word++)
        if (*word == '\'')
            text_append(line, "'\\''");
        else
            text_append_bytes(line, word, 1);
    text_append(line, "'");
}

static void check_words(const struct argv *words)
{
    struct text line = {0};
    struct argv again;
    text_append(&line, "");
    for (size_t i = 0; i < words->count; i++)
        append_quoted(&line, words->items[i]);
    assert(!line.failed && argv_parse(line.data, &again, NULL) == 0);
    assert(again.count == words->count && words->items[words->count] == NULL);
    for (size_t i = 0; i < words->count; i++)
        assert(strcmp(again.items[i], words->items[i]) == 0);
    argv_fini(&again);
    text_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = strndup((const char *)data, size);
    assert(line != NULL);
    struct argv words;
    struct error error;
    int result = argv_parse(line, &words, &error);
    assert(result == 0 || (result == ERROR_INVALID && words.items == NULL));
    if (result == 0)
        check_words(&words);
    argv_fini(&words);
    free(line);
    return 0;
}
