/* Any bytes as the authority of a request: its name is in it, and listing a name allows it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of exactly that size, so that a byte too many is found. */
    char *bytes = malloc(size > 0 ? size : 1);
    char *list = strndup((const char *)data, size);
    assert(bytes != NULL && list != NULL);
    memcpy(bytes, data, size);
    struct text_span name = host_name((struct text_span){bytes, size});
    assert(name.bytes >= bytes && name.bytes + name.length_bytes <= bytes + size);
    assert(host_is_same(name, name));
    assert(!host_is_domain(name) || memchr(name.bytes, '.', name.length_bytes) != NULL);
    bool is_one_item = name.length_bytes > 0 && strpbrk(list, ", \t:[") == NULL &&
                       strstr(list, "..") == NULL && strlen(list) == size;
    assert(!is_one_item || host_is_listed(name, list));
    host_is_listed(name, list);
    free(list);
    free(bytes);
    return 0;
}
