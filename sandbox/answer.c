/*
 * The forms that responses have. Every handler ends by calling one of these exactly once, or by
 * making the exchange wait (server.h).
 */
#include "answer.h"

#include <stdarg.h>

#include "memory.h"

void answer_json_text(struct exchange *exchange, unsigned status, struct text *content)
{
    size_t length_bytes = content->length_bytes;
    char *body = text_take(content);
    exchange_add_header(exchange, "Content-Type", "application/json");
    exchange_answer(exchange, status, body, body == NULL ? 0 : length_bytes);
}

void answer_json(struct exchange *exchange, unsigned status, json_t *json)
{
    char *body = memory_json_dump(memory_json(json));
    json_decref(json);
    exchange_add_header(exchange, "Content-Type", "application/json");
    exchange_answer(exchange, status, body, strlen(body));
}

void answer_plain(struct exchange *exchange, unsigned status, const char *content)
{
    exchange_add_header(exchange, "Content-Type", "text/plain; charset=utf-8");
    exchange_answer(exchange, status, memory_copy(content), strlen(content));
}

void answer_refusal(
    struct exchange *exchange, unsigned status, const char *code, const char *format, ...)
{
    struct text message = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&message, format, arguments);
    va_end(arguments);
    json_t *text = memory_json_text(message.data == NULL ? "" : message.data);
    answer_json(exchange, status, json_pack("{s:s, s:o}", "code", code, "message", text));
    text_fini(&message);
}
