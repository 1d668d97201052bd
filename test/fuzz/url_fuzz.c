/* Any string as a URL: refused with a reason, or split into parts that lie within the string. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/url.h"

static void check_parts(const char *string, const struct url *url)
{
    const char *end = string + strlen(string);
    assert(url->port >= 1 && url->port <= 65535);
    assert(url->host.length_bytes > 0);
    assert(url->host.bytes > string && url->host.bytes + url->host.length_bytes <= end);
    assert(strpbrk(string, " \t\r\n\"<>\\^`{|}?#") == NULL);
    char *host = strndup(url->host.bytes, url->host.length_bytes);
    assert(host != NULL && url_host_is(url, host));
    free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *string = strndup((const char *)data, size);
    assert(string != NULL);
    struct url url;
    const char *wrong = url_parse(string, &url);
    assert(wrong == NULL || wrong[0] != '\0');
    if (wrong == NULL)
        check_parts(string, &url);
    free(string);
    return 0;
}
