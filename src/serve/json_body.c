#include "serve/json_body.h"

#include <string.h>

static int append_piece(const char *bytes, size_t length_bytes, void *context)
{
    struct text *body = context;
    text_append_bytes(body, bytes, length_bytes);
    return body->failed ? -1 : 0;
}

void json_body_append(struct text *body, json_t *json, size_t flags)
{
    if (json == NULL || json_dump_callback(json, append_piece, body, flags) != 0)
        body->failed = true;
    json_decref(json);
}

json_t *json_body_words(const char *words)
{
    char quoted[JSON_BODY_WORDS_BYTES];
    if (words == NULL || words[0] == '\0')
        return json_null();
    text_quote(quoted, sizeof quoted, words, strlen(words));
    return json_string(quoted);
}
