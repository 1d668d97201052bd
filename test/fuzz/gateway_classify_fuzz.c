/*
 * Any response of the gateway: the first four bytes select failure, status and Retry-After, the
 * rest is the body. Exactly the replies have a body and no error.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "gateway/gateway.h"

enum { HEAD_BYTES = 4 };

static struct http_response response_from(const uint8_t *data, size_t size)
{
    return (struct http_response){
        .failure = (enum http_failure)(data[0] % (HTTP_NO_MEMORY + 1)),
        .status = 200 + (data[1] | data[2] << 8) % 400,
        .body = {(const char *)data + HEAD_BYTES, size - HEAD_BYTES},
        .sent = (data[3] & 1) != 0,
        .has_retry_after = (data[3] & 2) != 0,
        .retry_after_ms = (data[3] & 2) != 0 ? (int64_t)(data[3] >> 2) * 100000 : 0,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    struct http_response answer = response_from(data, size);
    struct gateway_result result = {.outcome = GATEWAY_DISABLED};
    gateway_classify(&answer, &result);
    bool replied = result.outcome == GATEWAY_REPLIED;
    assert(result.outcome != GATEWAY_DISABLED);
    assert(replied == (result.body != NULL));
    assert(replied == (result.error.text[0] == '\0'));
    assert(strlen(result.error.text) < sizeof result.error.text);
    assert(result.retry_after_ms >= 0 && result.retry_after_ms <= 900000);
    assert(!replied || (answer.status < 300 && answer.failure == HTTP_ANSWERED));
    json_decref(result.body);
    return 0;
}
