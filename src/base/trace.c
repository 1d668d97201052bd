#include "base/trace.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { ID_BITS = 128, SPAN_BITS = 64, HIGHEST_BYTES = ID_BITS / 8, STOCK_BYTES = 256 };

/* Random bytes for the next requests of a thread, so that not each of them costs a system call. */
static _Thread_local struct {
    uint8_t bytes[STOCK_BYTES];
    size_t left;
} stock;

/* count is at most STOCK_BYTES. */
static bool take_random(uint8_t *bytes, size_t count)
{
    if (stock.left < count) {
        if (getrandom(stock.bytes, STOCK_BYTES, 0) != STOCK_BYTES)
            return false;
        stock.left = STOCK_BYTES;
    }
    stock.left -= count;
    memcpy(bytes, stock.bytes + stock.left, count);
    return true;
}

/* So many random bits as digits; "" when there are none. All zero means "invalid" to readers. */
static void random_digits(char *digits, size_t bits)
{
    static const char hexadecimal[] = "0123456789abcdef";
    uint8_t bytes[HIGHEST_BYTES];
    size_t count = bits / 8;
    uint8_t any = 0;
    digits[0] = '\0';
    if (!take_random(bytes, count))
        return;
    for (size_t i = 0; i < count; i++) {
        digits[2 * i] = hexadecimal[bytes[i] >> 4];
        digits[2 * i + 1] = hexadecimal[bytes[i] & 15];
        any |= bytes[i];
    }
    digits[any != 0 ? 2 * count : 0] = '\0';
}

void trace_begin(struct trace *trace)
{
    random_digits(trace->id, ID_BITS);
}

bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES])
{
    char span[SPAN_BITS / 4 + 1];
    header[0] = '\0';
    if (trace == NULL || trace->id[0] == '\0')
        return false;
    random_digits(span, SPAN_BITS);
    if (span[0] == '\0')
        return false;
    snprintf(header, TRACE_HEADER_BYTES, "traceparent: 00-%s-%s-01", trace->id, span);
    return true;
}
