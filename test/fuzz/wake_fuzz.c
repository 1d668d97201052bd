/*
 * What a wake-up reads of the board and hears from its agent. The input is JSON with the lists
 * "assigned" and "tracked", a "thread", and the agent's "words"; the first byte tells whether the
 * agent is the orchestrator. Nothing of it may fail, each line that gives the message its form is
 * there once, and a task that the words name is one of those shown.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/json.h"
#include "delivery/wake_board.h"
#include "prompt/wake_input.h"

static void has_one_line(const struct text *text, const char *beginning)
{
    size_t count = 0;
    const char *line = text->data;
    while (line != NULL) {
        count += strncmp(line, beginning, strlen(beginning)) == 0 ? 1 : 0;
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    assert(count == 1);
}

static void check_message(const json_t *tasks, const json_t *thread, bool is_orchestrator)
{
    struct text text = {0};
    const struct wake_prompt wake = {.tasks = tasks,
        .focus = json_array_get(tasks, 0),
        .thread = thread,
        .is_orchestrator = is_orchestrator};
    wake_input_append(&text, &wake);
    assert(!text.failed && strlen(text.data) == text.length_bytes);
    assert(utf8_is_valid(text.data, text.length_bytes));
    has_one_line(&text, "## Heartbeat Check");
    has_one_line(&text, is_orchestrator ? "Tracked tasks:" : "Assigned tasks:");
    has_one_line(&text, "Recent focus task thread updates:");
    has_one_line(&text, "Current time: ");
    if (wake.focus != NULL)
        has_one_line(&text, "Focus Task ID: ");
    text_fini(&text);
}

static void check_follow_up(const json_t *task, const json_t *thread)
{
    enum { MESSAGE_UNITS = 1000 };
    struct text text = {0};
    wake_board_heard_ms(task, thread);
    wake_follow_up_append(&text, task, 15);
    assert(!text.failed);
    assert(text_utf16_cut(text.data, text.length_bytes, MESSAGE_UNITS) == text.length_bytes);
    text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL;
    if (size == 0 || json_guard_load((const char *)data + 1, size - 1, &value, NULL) != 0)
        return 0;
    bool is_orchestrator = (data[0] & 1) != 0;
    const json_t *thread = json_object_get(value, "thread");
    const char *words = json_guard_string(value, "words");
    json_t *tasks = wake_board_sort(
        json_object_get(value, "assigned"), json_object_get(value, "tracked"), is_orchestrator);
    assert(tasks != NULL);
    check_message(tasks, thread, is_orchestrator);
    if (json_array_size(tasks) > 0)
        check_follow_up(json_array_get(tasks, 0), thread);
    const json_t *named = words != NULL ? wake_board_named_task(tasks, words) : NULL;
    assert(named == NULL || json_guard_id(named, "_id") != NULL);
    json_decref(tasks);
    json_decref(value);
    return 0;
}
