#include "work/note.h"

#include <string.h>

#include "base/json_guard.h"

/* Also how a note is known again after a restart, so it stays as it is. */
static const char beginning[] = "**No reply.** The agent was asked ";

void note_append(struct text *text, unsigned runs, const char *reason)
{
    text_append(text, beginning);
    text_printf(text,
        "%u %s about this notification, without an answer to post (%s). It will not be asked %s"
        "by itself; post in this thread to ask it%s.",
        runs, runs == 1 ? "time" : "times", reason, runs > 0 ? "again " : "",
        runs > 0 ? " anew" : "");
}

bool note_is_ours(const json_t *message)
{
    const char *content = json_guard_string(message, "content");
    return content != NULL && strncmp(content, beginning, sizeof beginning - 1) == 0;
}
