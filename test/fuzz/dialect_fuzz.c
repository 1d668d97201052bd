/*
 * Any answer to the question whether a gateway takes tools: the first three bytes select failure
 * and status, the rest is the body. Only an answer that came whole can tell anything, and only a
 * 400 that tools are taken.
 */
#include <assert.h>
#include <stdint.h>

#include "gateway/dialect.h"

enum { HEAD_BYTES = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    const struct http_response answer = {
        .failure = (enum http_failure)(data[0] % (HTTP_NO_MEMORY + 1)),
        .status = 200 + (data[1] | data[2] << 8) % 400,
        .body = {(const char *)data + HEAD_BYTES, size - HEAD_BYTES},
    };
    enum tool_dialect dialect = dialect_read(&answer);
    assert(dialect == DIALECT_UNKNOWN || answer.failure == HTTP_ANSWERED);
    assert(dialect != DIALECT_FLAT || answer.status == 400);
    assert(dialect < DIALECT_COUNT);
    return 0;
}
