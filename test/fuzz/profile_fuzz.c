/*
 * Any profile of an agent: what is written of it must be text without NULs, a skill must begin with
 * front matter that is closed, and no name or description may begin a line of its own.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "agents/profiles.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct text *text)
{
    assert(!text->failed);
    assert(text->length_bytes == 0 || strlen(text->data) == text->length_bytes);
}

static void check_skill(const json_t *skill)
{
    struct text text = {0};
    profile_append_skill(&text, skill);
    check_text(&text);
    if (text.length_bytes > 0) {
        assert(strncmp(text.data, "---\n", 4) == 0);
        assert(strstr(text.data + 3, "\n---\n") != NULL);
    }
    text_fini(&text);
}

static void check_tools(const struct text *text, const json_t *skills)
{
    size_t lines = 0;
    for (const char *at = strstr(text->data, "\n\n- "); at != NULL; at = strchr(at + 1, '\n'))
        lines++;
    /* The two line ends before the first skill, one after each. */
    size_t expected = json_array_size(skills) > 0 ? json_array_size(skills) : 1;
    assert(lines == expected + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *profile;
    size_t index;
    const json_t *skill;
    if (json_guard_load((const char *)data, size, &profile, NULL) != 0)
        return 0;
    const struct profile_source source = {.profile = profile};
    const json_t *skills = json_guard_array(profile, "resolvedSkills");
    for (size_t i = 0; i < PROFILE_FILES; i++) {
        struct text text = {0};
        profile_file_table[i].append(&text, &source);
        check_text(&text);
        if (strcmp(profile_file_table[i].name, "TOOLS.md") == 0)
            check_tools(&text, skills);
        text_fini(&text);
    }
    json_array_foreach (skills, index, skill)
        check_skill(skill);
    json_decref(profile);
    return 0;
}
