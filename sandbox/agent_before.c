/*
 * A run that was cut short after it had called tools is repeated, and the runtime's prompt lists
 * what it changed, one line each:
 *
 *   - document_upsert {"title": ..., ...} -> document_upsert {...}: {"success": true, ...}
 *
 * A sensible agent does not do that again. The arguments in the line are those of the call, cut at
 * some length, and with the numbers that the setting gateway_numbers appends to texts.
 */
#include "agent_before.h"

#include <ctype.h>
#include <string.h>

#include "agent_input.h"
#include "base/json.h"
#include "base/text.h"
#include "memory.h"

static const char arrow[] = " -> ";
static const char ellipsis[] = "\xE2\x80\xA6";

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* The length of " [call N.K]" at the beginning of text; 0: it does not begin with that. */
static size_t number_length(const char *text)
{
    static const char beginning[] = " [call ";
    if (!begins_with(text, beginning))
        return 0;
    size_t length = sizeof beginning - 1;
    while (isdigit((unsigned char)text[length]) || text[length] == '.')
        length++;
    return text[length] == ']' ? length + 1 : 0;
}

/* The output in a line if its arguments are the wished ones; NULL: they are not. */
static const char *output_of_same_call(const char *line, const char *wished)
{
    while (*wished != '\0') {
        size_t numbered = number_length(line);
        if (numbered > 0) {
            line += numbered;
        } else if (begins_with(line, ellipsis)) {
            break;
        } else if (*line++ != *wished++) {
            return NULL;
        }
    }
    line += begins_with(line, ellipsis) ? sizeof ellipsis - 1 : 0;
    return begins_with(line, arrow) ? line + sizeof arrow - 1 : NULL;
}

/* The output that a line has for a wish, or NULL: the line is about another call. */
static const char *find_output(const char *line, const json_t *wish)
{
    const char *name = json_guard_string(wish, "name");
    size_t name_length = strlen(name);
    if (!begins_with(line, name) || line[name_length] != ' ')
        return NULL;
    char *wished = memory_json_dump(json_object_get(wish, "arguments"));
    const char *output = output_of_same_call(line + name_length + 1, wished);
    free(wished);
    return output;
}

static void take_line(const char *line, json_t *wishes, json_t *ended)
{
    size_t index;
    json_t *wish;
    json_array_foreach (wishes, index, wish) {
        const char *output = find_output(line, wish);
        if (output == NULL)
            continue;
        json_array_append_new(ended,
            memory_json(
                json_pack("{s:O, s:O, s:o}", "name", json_object_get(wish, "name"), "arguments",
                    json_object_get(wish, "arguments"), "output", memory_json_text(output))));
        json_array_remove(wishes, index);
        return;
    }
}

void agent_before_leave_out(const char *input, json_t *wishes, json_t *ended)
{
    char *lines = agent_input_changes(input);
    char *position = NULL;
    for (char *line = lines == NULL ? NULL : strtok_r(lines, "\n", &position);
         line != NULL && begins_with(line, "- "); line = strtok_r(NULL, "\n", &position))
        take_line(line + 2, wishes, ended);
    free(lines);
}
