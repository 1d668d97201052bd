/* Any bytes as an Accept header: a header that begins with application/json always gets JSON. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "serve/serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *header = strndup((const char *)data, size);
    assert(header != NULL);
    struct text first_json = {0};
    text_printf(&first_json, "application/json,%s", header);
    assert(!first_json.failed);
    bool metrics = accept_prefers_metrics(header);
    assert(!accept_prefers_metrics(first_json.data));
    assert(!metrics || strstr(header, "/") != NULL);
    text_fini(&first_json);
    free(header);
    return 0;
}
