/*
 * What stands in the files of an agent's folder, which the gateway puts before each of its runs:
 * who it is and whom it works for, as the board has it (SOUL.md, USER.md, IDENTITY.md), how all
 * agents work (AGENTS.md, HEARTBEAT.md), and which skills it has (TOOLS.md and skills/). MEMORY.md
 * is the agent's own; it only gets a heading.
 *
 * Texts of the board are trimmed and end with a newline. A name or a description that becomes part
 * of a line loses its line breaks, so that it cannot begin a line of its own. Everything here is
 * pure.
 */
#include "agents/profiles.h"

#include <string.h>

#include "base/json.h"

enum { DESCRIPTION_UNITS = 200 };

static const char fence[] = "---\n";

static const char built_in_instructions[] =
    "# How you work\n"
    "\n"
    "You are one of several agents that work on a task board together with people. Each run of\n"
    "yours is about one notification or one wake-up, and what it says comes first.\n"
    "\n"
    "- Before you begin, read SOUL.md, USER.md, IDENTITY.md, TOOLS.md and memory/WORKING.md.\n"
    "- Do what the task asks for and nothing beyond it. If something is missing, ask in its "
    "thread.\n"
    "- Work on the board with the tools, or the HTTP API, that the run offers. If a call fails, "
    "say\n"
    "  so; never claim what you have not done.\n"
    "- A reply that reports work has the sections Summary, Work done, Artifacts, Risks / "
    "blockers,\n"
    "  Next step and Sources. Anything else is answered in one or two sentences.\n"
    "- Files that others are to have go to deliverables/, and into a document of the task.\n"
    "- What you will need later goes to memory/WORKING.md while you work on it, to today's file "
    "in\n"
    "  memory/ when it is done, and to MEMORY.md if it stays true. These files are yours.\n"
    "- The other files here come from the board: what you change in them is overwritten.\n";

static const char built_in_wake_up_routine[] =
    "# Wake-ups\n"
    "\n"
    "1. Read memory/WORKING.md and the tasks that the wake-up lists.\n"
    "2. If one of them can be moved on now, take one concrete step, and say in its thread what "
    "you\n"
    "   did.\n"
    "3. If you wait for somebody, do not ask again unless it has been long.\n"
    "4. Otherwise answer exactly HEARTBEAT_OK.\n";

/* object[key], trimmed, without NULs, and with a newline at its end; nothing if it is blank. */
static bool append_board_text(struct text *text, const json_t *object, const char *key)
{
    struct text_span own = json_guard_text(object, key);
    own = text_trim(own.bytes, own.length_bytes);
    if (own.length_bytes == 0)
        return false;
    text_append_without_nuls(text, own.bytes, own.length_bytes);
    text_append(text, "\n");
    return true;
}

/* Appends object[key] as part of a line, each of its control characters as a blank. */
static bool append_in_line(
    struct text *text, const json_t *object, const char *key, size_t limit_units)
{
    struct text_span own = json_guard_text(object, key);
    own = text_trim(own.bytes, own.length_bytes);
    own.length_bytes = text_utf16_cut(own.bytes, own.length_bytes, limit_units);
    for (size_t i = 0; i < own.length_bytes; i++) {
        char byte = own.bytes[i];
        if ((unsigned char)byte < ' ')
            byte = ' ';
        text_append_bytes(text, &byte, 1);
    }
    return own.length_bytes > 0;
}

static void append_soul(struct text *text, const struct profile_source *source)
{
    append_board_text(text, source->profile, "effectiveSoulContent");
}

static void append_user(struct text *text, const struct profile_source *source)
{
    if (!append_board_text(text, source->profile, "effectiveUserMd"))
        text_append(text, "# User\n\nThe board says nothing about the people you work for.\n");
}

static void append_identity(struct text *text, const struct profile_source *source)
{
    if (append_board_text(text, source->profile, "effectiveIdentityContent"))
        return;
    text_append(text, "# Identity\n\nYou are ");
    append_in_line(text, source->profile, "name", DESCRIPTION_UNITS);
    text_append(text, ".\n");
}

static void append_instructions(struct text *text, const struct profile_source *source)
{
    text_append(text, source->instructions != NULL ? source->instructions : built_in_instructions);
}

static void append_wake_up_routine(struct text *text, const struct profile_source *source)
{
    text_append(
        text, source->wake_up_routine != NULL ? source->wake_up_routine : built_in_wake_up_routine);
}

static void append_skill_line(struct text *text, const json_t *skill)
{
    text_append(text, "- **");
    append_in_line(text, skill, "name", DESCRIPTION_UNITS);
    text_append(text, "** (");
    append_in_line(text, skill, "slug", DESCRIPTION_UNITS);
    text_append(text, ")");
    struct text_span description = json_guard_text(skill, "description");
    if (text_trim(description.bytes, description.length_bytes).length_bytes > 0) {
        text_append(text, " — ");
        append_in_line(text, skill, "description", DESCRIPTION_UNITS);
    }
    text_append(text, "\n");
}

static void append_tools(struct text *text, const struct profile_source *source)
{
    const json_t *skills = json_guard_array(source->profile, "resolvedSkills");
    size_t index;
    const json_t *skill;
    text_append(text, "# Assigned skills\n\nUse only these skills. Each is described in "
                      "skills/<slug>/SKILL.md.\n\n");
    json_array_foreach (skills, index, skill)
        append_skill_line(text, skill);
    if (json_array_size(skills) == 0)
        text_append(text, "- No assigned skills\n");
}

static void append_memory(struct text *text, const struct profile_source *source)
{
    (void)source;
    text_append(text, "# Memory\n");
}

const struct profile_file profile_file_table[PROFILE_FILES] = {
    {"SOUL.md", PROFILE_REPLACE, append_soul},
    {"USER.md", PROFILE_REPLACE, append_user},
    {"IDENTITY.md", PROFILE_REPLACE, append_identity},
    {"AGENTS.md", PROFILE_REPLACE, append_instructions},
    {"HEARTBEAT.md", PROFILE_REPLACE, append_wake_up_routine},
    {"TOOLS.md", PROFILE_REPLACE, append_tools},
    {"MEMORY.md", PROFILE_KEEP, append_memory},
};

/* Whether one of the lines of a front matter sets key; matter ends with a newline. */
static bool matter_has(struct text_span matter, const char *key)
{
    size_t key_bytes = strlen(key);
    const char *line = matter.bytes;
    const char *end = matter.bytes + matter.length_bytes;
    while (line < end) {
        if ((size_t)(end - line) > key_bytes && memcmp(line, key, key_bytes) == 0 &&
            line[key_bytes] == ':')
            return true;
        line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
    }
    return false;
}

/* The lines between the fences at the start of the content, and where the rest of it begins. */
static struct text_span find_matter(struct text_span content, size_t *rest_at)
{
    struct text_span matter = {content.bytes, 0};
    size_t fence_bytes = strlen(fence);
    *rest_at = 0;
    if (content.length_bytes < fence_bytes || memcmp(content.bytes, fence, fence_bytes) != 0)
        return matter;
    matter.bytes += fence_bytes;
    const char *closing = memmem(
        content.bytes + fence_bytes - 1, content.length_bytes - fence_bytes + 1, "\n---\n", 5);
    if (closing == NULL)
        return (struct text_span){content.bytes, 0};
    matter.length_bytes = (size_t)(closing + 1 - matter.bytes);
    *rest_at = (size_t)(closing + 1 - content.bytes) + fence_bytes;
    return matter;
}

/* Appends "key: " and the value as a JSON string, which is one of YAML's too. */
static void append_matter_line(
    struct text *text, const char *key, const json_t *skill, const char *from)
{
    struct text value = {0};
    if (!append_in_line(&value, skill, from, DESCRIPTION_UNITS))
        append_in_line(&value, skill, "slug", DESCRIPTION_UNITS);
    text_printf(text, "%s: ", key);
    json_append_string(text, value.data, value.length_bytes);
    text_append(text, "\n");
    text->failed = text->failed || value.failed;
    text_fini(&value);
}

void profile_append_skill(struct text *text, const json_t *skill)
{
    struct text content = {0};
    size_t rest_at;
    if (!append_board_text(&content, skill, "contentMarkdown") || content.failed) {
        text->failed = text->failed || content.failed;
        text_fini(&content);
        return;
    }
    struct text_span whole = {content.data, content.length_bytes};
    struct text_span matter = find_matter(whole, &rest_at);
    text_append(text, fence);
    if (!matter_has(matter, "name"))
        append_matter_line(text, "name", skill, "name");
    if (!matter_has(matter, "description"))
        append_matter_line(text, "description", skill, "description");
    text_append_bytes(text, matter.bytes, matter.length_bytes);
    text_append(text, fence);
    if (rest_at == 0)
        text_append(text, "\n");
    text_append_bytes(text, whole.bytes + rest_at, whole.length_bytes - rest_at);
    text_fini(&content);
}
