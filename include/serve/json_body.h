/* JSON values as the bodies of answers. */
#ifndef SERVE_JSON_BODY_H
#define SERVE_JSON_BODY_H

#include <jansson.h>

#include "base/text.h"

/*
 * Appends json, written with Jansson's flags, and drops the reference. NULL, which is what building
 * it without memory gives, and a lack of memory here set body->failed.
 */
void json_body_append(struct text *body, json_t *json, size_t flags);

/*
 * Somebody else's words, without secrets, control characters and what is no UTF-8, at most
 * JSON_BODY_WORDS_BYTES of them; a new reference. Null for "" and NULL.
 */
enum { JSON_BODY_WORDS_BYTES = 512 };
json_t *json_body_words(const char *words);

#endif
