#include "config/values.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file_read.h"
#include "base/redact.h"
#include "base/text.h"
#include "config/rules.h"

enum { VALUE_FILE_BYTES_MAX = 16 * 1024, FILE_NAME_BYTES = 64 };

/* A variable of the outside. text is borrowed; NULL is: not set, or its line was wrong. */
struct variable {
    const char *text;
    enum config_origin origin;
    bool wrong;
};

static struct variable find_variable(const struct values *values, const char *name)
{
    size_t length = strlen(name);
    char *const *at = values->environment;
    for (; at != NULL && *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return (struct variable){*at + length + 1, CONFIG_FROM_ENVIRONMENT, false};
    const struct env_entry *entry = env_file_find(&values->env_file, name);
    if (entry == NULL)
        return (struct variable){NULL, CONFIG_FROM_DEFAULT, false};
    return (struct variable){entry->value, CONFIG_FROM_ENV_FILE, entry->value == NULL};
}

const char *values_variable(const struct values *values, const char *name)
{
    return find_variable(values, name).text;
}

/* The part that counts (contract runtime-behaviour-v0, section 1, "Normalisation N"). */
static struct text_span normalise(const struct option *option, const char *text)
{
    if ((option->flags & OPTION_RAW) != 0)
        return (struct text_span){text, strlen(text)};
    struct text_span span = text_trim(text, strlen(text));
    if ((option->flags & OPTION_UNQUOTED) == 0 || span.length_bytes == 0)
        return span;
    char first = span.bytes[0];
    if ((first != '"' && first != '\'') || span.bytes[span.length_bytes - 1] != first)
        return span;
    if (span.length_bytes == 1)
        return (struct text_span){span.bytes, 0};
    return text_trim(span.bytes + 1, span.length_bytes - 2);
}

/* Sets the option's value from text, unless that is empty and an empty one does not count. */
static int take_text(
    struct values *values, enum option_id id, const char *text, enum config_origin origin)
{
    const struct option *option = &config_options[id];
    struct text_span span = normalise(option, text);
    if (span.length_bytes == 0 && (option->flags & OPTION_MAY_BE_EMPTY) == 0)
        return 0;
    char *copy = strndup(span.bytes, span.length_bytes);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    if ((option->flags & OPTION_SECRET) != 0 && !rules_remember_secret(id, copy)) {
        free(copy);
        return ERROR_NO_MEMORY;
    }
    values->by_option[id] = (struct value){VALUE_PRESENT, copy, origin};
    return 0;
}

static int refuse(struct values *values, enum option_id id)
{
    free(values->by_option[id].text);
    values->by_option[id] = (struct value){.state = VALUE_WRONG};
    return 0;
}

/* Sets the option's value from the content of the file at path, which file_name names. */
static int take_file(struct values *values, enum option_id id, const char *file_name,
    const char *path, struct problems *problems)
{
    struct file_content content;
    struct error error;
    int result = file_read(path, VALUE_FILE_BYTES_MAX, &content, &error);
    if (result == ERROR_NO_MEMORY)
        return result;
    if (result != 0) {
        problems_add(problems, PROBLEM_ERROR, "%s: %s; it must name a file that holds the value",
            file_name, error.text);
        return refuse(values, id);
    }
    bool is_text = strlen(content.bytes) == content.length_bytes;
    if (is_text)
        result = take_text(values, id, content.bytes, CONFIG_FROM_VALUE_FILE);
    free(content.bytes);
    const struct value *value = &values->by_option[id];
    if (result != 0 || (value->state == VALUE_PRESENT && value->text[0] != '\0'))
        return result;
    char quoted_path[256];
    text_quote(quoted_path, sizeof quoted_path, path, strlen(path));
    problems_add(problems, PROBLEM_ERROR, "%s: %s %s; it must name a file that holds the value",
        file_name, quoted_path, is_text ? "is empty" : "contains NUL bytes");
    return refuse(values, id);
}

/* Whether the variable says anything, for those whose NAME_FILE may stand beside an empty NAME. */
static bool says_something(const struct option *option, struct variable variable)
{
    return variable.text != NULL && normalise(option, variable.text).length_bytes > 0;
}

static int read_option(struct values *values, enum option_id id, struct problems *problems)
{
    const struct option *option = &config_options[id];
    struct variable direct = find_variable(values, option->name);
    struct variable file = {0};
    char file_name[FILE_NAME_BYTES];
    snprintf(file_name, sizeof file_name, "%s_FILE", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        file = find_variable(values, file_name);
    if (direct.wrong || file.wrong)
        return refuse(values, id);
    int result = 0;
    if (direct.text != NULL)
        result = take_text(values, id, direct.text, direct.origin);
    if (result != 0 || file.text == NULL || file.text[0] == '\0')
        return result;
    bool both = says_something(option, direct);
    refuse(values, id);
    if (!both)
        return take_file(values, id, file_name, file.text, problems);
    problems_add(problems, PROBLEM_ERROR, "%s and %s are both set; set one of them", option->name,
        file_name);
    return 0;
}

int values_read(
    struct values *values, const struct config_source *source, struct problems *problems)
{
    values->environment = source->environment;
    int result = 0;
    if (source->env_file != NULL)
        result = env_file_load(&values->env_file, source->env_file, problems);
    if (result == ERROR_NO_MEMORY)
        return result;
    bool is_complete = result == 0;
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        result = read_option(values, (enum option_id)i, problems);
        if (result != 0)
            return result;
        if (!is_complete && values->by_option[i].state == VALUE_ABSENT)
            refuse(values, (enum option_id)i);
    }
    return 0;
}

void values_fini(struct values *values)
{
    env_file_fini(&values->env_file);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        free(values->by_option[i].text);
    *values = (struct values){0};
}
