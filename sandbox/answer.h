/* JSON and plain-text responses. */
#ifndef SANDBOX_ANSWER_H
#define SANDBOX_ANSWER_H

#include <jansson.h>

#include "server.h"

/* Answers with json; takes ownership of the reference. */
void answer_json(struct exchange *exchange, unsigned status, json_t *json);

/* Answers with content, which is JSON already; takes its bytes and leaves it empty. */
void answer_json_text(struct exchange *exchange, unsigned status, struct text *content);

/* Answers with plain text, which is copied. */
void answer_plain(struct exchange *exchange, unsigned status, const char *content);

/* Answers {"code": code, "message": ...}, the error form of the backend and the control API. */
void answer_refusal(struct exchange *exchange, unsigned status, const char *code,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
