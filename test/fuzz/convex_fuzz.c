/*
 * Any response of the backend: the first three bytes select failure and status, the rest is the
 * body. The outcome must match the status, and every row of a list and every part of a context that
 * is accepted must be usable without further checks.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "backend/service.h"
#include "base/containers.h"

enum { HEAD_BYTES = 3 };

static const int64_t MAX_TIME_MS = INT64_C(8640000000000000);

static struct http_response response_from(const uint8_t *data, size_t size)
{
    return (struct http_response){
        .failure = (enum http_failure)(data[0] % (HTTP_NO_MEMORY + 1)),
        .status = 200 + (data[1] | data[2] << 8) % 400,
        .body = {(const char *)data + HEAD_BYTES, size - HEAD_BYTES},
        .reason = "reason",
        .sent = data[0] != HTTP_NOT_SENT,
    };
}

static bool outcome_fits(enum convex_outcome outcome, const struct http_response *answer)
{
    int status = answer->status;
    if (answer->failure != HTTP_ANSWERED)
        return outcome == (answer->failure == HTTP_ABORTED ? CONVEX_ABORTED : CONVEX_UNAVAILABLE);
    if (status == 200 || status == 560)
        return outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR ||
               outcome == CONVEX_UNAVAILABLE;
    if (status == 408 || status == 409 || status == 421 || status == 425 || status == 429 ||
        status >= 500)
        return outcome == CONVEX_UNAVAILABLE;
    return outcome == CONVEX_REJECTED;
}

static void check_error(const struct error *error)
{
    assert(error->code < 0);
    assert(strlen(error->text) < sizeof error->text);
    assert(strpbrk(error->text, "\r\n") == NULL);
}

static void check_page(const json_t *value)
{
    struct notification_page page;
    struct error error = {0};
    if (notification_page_read(value, &page, &error) != CONVEX_SUCCESS) {
        assert(!json_is_array(value));
        check_error(&error);
        return;
    }
    assert(page.listed == json_array_size(value));
    assert(page.count + page.refused == page.listed);
    for (size_t i = 0; i < page.count; i++) {
        const struct notification_row *row = &page.rows[i];
        assert(id_is_valid(row->id));
        assert(id_is_valid(row->agent_id));
        assert(row->created_at_ms >= 0 && row->created_at_ms <= MAX_TIME_MS);
    }
    notification_page_fini(&page);
}

static void check_context(json_t *value)
{
    struct delivery_context context;
    struct error error = {0};
    if (delivery_context_read(value, &context, &error) != CONVEX_SUCCESS) {
        check_error(&error);
        return;
    }
    assert(json_is_null(context.value) || json_is_object(context.notification));
    assert(context.agent == NULL || json_is_object(context.agent));
    assert(context.task == NULL || json_is_object(context.task));
    assert(context.message == NULL || json_is_object(context.message));
    assert(
        context.version == BACKEND_V1 || (context.thread == NULL && context.session_key == NULL));
    assert(context.version != BACKEND_V1 || json_is_array(context.thread));
    delivery_context_fini(&context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    struct http_response answer = response_from(data, size);
    struct error error = {0};
    json_t *value = NULL;
    enum convex_outcome outcome = convex_classify(&answer, CONVEX_LIST, &value, &error);
    assert(outcome_fits(outcome, &answer));
    assert((outcome == CONVEX_SUCCESS) == (value != NULL));
    if (outcome != CONVEX_SUCCESS) {
        check_error(&error);
        return 0;
    }
    check_page(value);
    check_context(value);
    return 0;
}
