/*
 * Recognises requests and answers by their words, without parsing HTTP or JSON: of a request the
 * last bytes are kept, which name the notification, of an answer the first, which have its status
 * and say what it is. An exchange is logged as soon as its request names a notification, since its
 * answer may never come.
 */
#include "wire_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

void wire_log_fini(struct wire_log *log)
{
    free(log->exchanges);
    *log = (struct wire_log){0};
}

json_t *wire_log_describe(const struct wire_log *log, enum wire_kind kind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < log->count; i++) {
        const struct wire_exchange *exchange = &log->exchanges[i];
        if (exchange->kind == kind)
            assert_int_equal(
                json_array_append_new(list, json_pack("{s:s, s:b}", "notification", exchange->id,
                                                "proof", exchange->proof)),
                0);
    }
    return list;
}

static size_t append_exchange(struct wire_log *log, enum wire_kind kind)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 64 : 2 * log->capacity;
        log->exchanges = realloc(log->exchanges, log->capacity * sizeof *log->exchanges);
        assert_non_null(log->exchanges);
    }
    log->exchanges[log->count] = (struct wire_exchange){.kind = kind};
    return log->count++;
}

/* Appends to kept, which stays a string; drops its first bytes, or does not take the last ones. */
static void keep_bytes(char kept[static WIRE_KEPT_BYTES], size_t *kept_bytes, const char *bytes,
    size_t length, bool drop_first)
{
    const size_t max_bytes = WIRE_KEPT_BYTES - 1;
    if (drop_first && length > max_bytes) {
        bytes += length - max_bytes;
        length = max_bytes;
    }
    if (drop_first && *kept_bytes + length > max_bytes) {
        size_t dropped = *kept_bytes + length - max_bytes;
        memmove(kept, kept + dropped, *kept_bytes - dropped);
        *kept_bytes -= dropped;
    }
    if (*kept_bytes + length > max_bytes)
        length = max_bytes - *kept_bytes;
    memcpy(kept + *kept_bytes, bytes, length);
    *kept_bytes += length;
    kept[*kept_bytes] = '\0';
}

/* Copies the id after the last mark that one follows completely. */
static bool find_id(const char *text, const char *mark, char id[static ID_BYTES])
{
    static const char letters[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
    bool found = false;
    while ((text = strstr(text, mark)) != NULL) {
        text += strlen(mark);
        size_t length = strspn(text, letters);
        if (length == 0 || length >= ID_BYTES || text[length] == '\0')
            continue;
        memcpy(id, text, length);
        id[length] = '\0';
        found = true;
    }
    return found;
}

void wire_reader_request(
    struct wire_reader *reader, struct wire_log *log, const char *bytes, size_t length)
{
    static const char *const marks[] = {
        [WIRE_RUN] = "Notification ID: ", [WIRE_MARK] = "\"notificationId\":\""};
    char id[ID_BYTES];
    if (reader->answer_bytes > 0)
        *reader = (struct wire_reader){0};
    keep_bytes(reader->request, &reader->request_bytes, bytes, length, true);
    enum wire_kind kind =
        strstr(reader->request, "markNotificationDelivered") != NULL ? WIRE_MARK : WIRE_RUN;
    if (!find_id(reader->request, marks[kind], id))
        return;
    if (!reader->logged)
        reader->index = append_exchange(log, kind);
    reader->logged = true;
    text_copy(log->exchanges[reader->index].id, ID_BYTES, id);
}

static bool contains(const char *text, const char *words)
{
    return strcasestr(text, words) != NULL;
}

/*
 * Whether it is one of the gateway's refusals before a run (docs/protocol.md, Gateway answers).
 * Stricter than the runtime where words alone tell: a test that has the gateway refuse with others
 * has to send these.
 */
static bool proves_no_run(const char *answer)
{
    long status = strncmp(answer, "HTTP/1.1 ", 9) == 0 ? strtol(answer + 9, NULL, 10) : 0;
    if (contains(answer, "\"object\":\"response\""))
        return false;
    switch (status) {
    case 400:
    case 405:
    case 411:
    case 413:
    case 414:
    case 415:
    case 429:
    case 431:
        return true;
    case 401:
        return contains(answer, "unauthorized");
    case 404:
        return contains(answer, "\r\n\r\nNot Found");
    case 503:
        return contains(answer, "\r\nRetry-After:") || contains(answer, "gateway_unavailable");
    default:
        return false;
    }
}

void wire_reader_answer(
    struct wire_reader *reader, struct wire_log *log, const char *bytes, size_t length)
{
    keep_bytes(reader->answer, &reader->answer_bytes, bytes, length, false);
    if (!reader->logged)
        return;
    struct wire_exchange *exchange = &log->exchanges[reader->index];
    exchange->proof = exchange->kind == WIRE_RUN ? proves_no_run(reader->answer)
                                                 : contains(reader->answer, "\"success\":true");
}
