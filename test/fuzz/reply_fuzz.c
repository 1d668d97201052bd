/* Any JSON as the gateway's response: the reply taken from it can be posted as it is. */
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
    assert(strcmp(reply, "NO_REPLY") != 0);
    assert(utf8_is_valid(reply, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body = NULL;
    char *reply = NULL;
    if (json_guard_load((const char *)data, size, &body, NULL) != 0)
        return 0;
    assert(reply_read(body, &reply, NULL) == 0);
    check_reply(reply);
    free(reply);
    json_decref(body);
    return 0;
}
