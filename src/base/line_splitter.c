#include "base/line_splitter.h"

static void hand_out(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    size_t used = splitter->used_bytes;
    splitter->used_bytes = 0;
    if (used > 0 && splitter->bytes[used - 1] == '\r')
        used--;
    splitter->bytes[used] = '\0';
    if (used > 0)
        take(context, splitter->bytes);
}

void line_splitter_feed(struct line_splitter *splitter, const char *bytes, size_t length_bytes,
    line_splitter_take *take, void *context)
{
    for (size_t i = 0; i < length_bytes; i++) {
        if (bytes[i] == '\n') {
            hand_out(splitter, take, context);
            splitter->skipping = false;
        } else if (!splitter->skipping) {
            char byte = bytes[i];
            if (byte == '\0')
                byte = ' ';
            splitter->bytes[splitter->used_bytes++] = byte;
            splitter->skipping = splitter->used_bytes == LINE_SPLITTER_BYTES;
            if (splitter->skipping)
                hand_out(splitter, take, context);
        }
    }
}

void line_splitter_end(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    hand_out(splitter, take, context);
    splitter->skipping = false;
}
