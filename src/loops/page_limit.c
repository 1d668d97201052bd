#include "page_limit.h"

#include "queue/send_queue.h"

void page_limit_init(struct page_limit *limit)
{
    *limit = (struct page_limit){.most_rows = SEND_QUEUE_MOST_HELD};
}

unsigned page_limit_rows(const struct page_limit *limit, size_t wanted)
{
    return wanted < limit->most_rows ? (unsigned)wanted : limit->most_rows;
}

void page_limit_failed(struct page_limit *limit, unsigned rows, int64_t now_ms)
{
    limit->most_rows = rows > 1 ? rows / 2 : 1;
    limit->grows_from_ms = limit->is_grown ? now_ms + PAGE_LIMIT_PAUSE_MS : now_ms;
    limit->is_grown = false;
}

bool page_limit_worked(struct page_limit *limit, unsigned rows, bool full, int64_t now_ms)
{
    unsigned before = limit->most_rows;
    bool binds = full && rows == before;
    limit->is_grown = binds && before < SEND_QUEUE_MOST_HELD && now_ms >= limit->grows_from_ms;
    if (!binds || (limit->is_grown && before > SEND_QUEUE_MOST_HELD / 2))
        limit->most_rows = SEND_QUEUE_MOST_HELD;
    else if (limit->is_grown)
        limit->most_rows = 2 * before;
    return limit->is_grown;
}
