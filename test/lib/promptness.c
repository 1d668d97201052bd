/*
 * Two bounds, since a stall of the machine hits a single request, and a server that is held up all
 * of them.
 */
#include "promptness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "process.h"

enum { PROMPT_MS = 1000, HELD_UP_MS = 3000 };

void promptness_add(struct promptness *promptness, int64_t took_ms)
{
    promptness->count++;
    if (took_ms > (int64_t)PROMPT_MS * process_timeout_scale())
        promptness->late++;
    if (took_ms > promptness->slowest_ms)
        promptness->slowest_ms = took_ms;
}

void promptness_check(const struct promptness *promptness)
{
    assert_true(promptness->count > 0);
    assert_in_range(promptness->late, 0, 1 + promptness->count / 5);
    assert_in_range(promptness->slowest_ms, 0, (int64_t)HELD_UP_MS * process_timeout_scale());
}
