/* Any text, redacted and quoted: never longer, one line of UTF-8, and free of the known secret. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/secret.h"
#include "base/text.h"

static const char secret[] = "k57-secret\xC3\xA4";

static void check_redact(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    assert(text != NULL);
    size_t before = strlen(text);
    redact(text);
    assert(strlen(text) <= before);
    assert(strstr(text, secret) == NULL);
    assert(strcasestr(text, "mc_service_") == NULL);
    free(text);
}

static void check_quote(const uint8_t *data, size_t size, size_t room)
{
    char *quote = malloc(room);
    assert(quote != NULL);
    text_quote(quote, room, (const char *)data, size);
    size_t length = strlen(quote);
    assert(length < room);
    assert(strstr(quote, secret) == NULL);
    assert(utf8_is_one_line(quote, length));
    free(quote);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redact_forget_all();
    redact_add_secret(secret);
    check_redact(data, size);
    check_quote(data, size, size * 2 + 1);
    check_quote(data, size, size / 2 + 1);
    redact_forget_all();
    return 0;
}
