/* A byte of circumstances and any JSON as the gateway's response: a reply can be posted as it is.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/json.h"
#include "base/text.h"
#include "delivery/reply.h"

static void check_reply(const char *reply)
{
    size_t length = strlen(reply);
    assert(length <= REPLY_LIMIT_BYTES);
    assert(text_trim(reply, length).length_bytes == length);
    assert(utf8_is_valid(reply, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body = NULL;
    struct reply reply;
    if (size == 0 || json_guard_load((const char *)data + 1, size - 1, &body, NULL) != 0)
        return 0;
    const struct reply_context context = {
        .is_wake_up = (data[0] & 1) != 0,
        .incomplete = (data[0] & 2) != 0,
        .generation = (enum gateway_generation)((data[0] >> 2) % 3),
    };
    assert(reply_read(body, &context, &reply, NULL) == 0);
    assert((reply.text[0] != '\0') == (reply.kind == REPLY_TEXT));
    check_reply(reply.text);
    free(reply.text);
    json_decref(body);
    return 0;
}
