#include "config/values.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/io.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/url.h"

void option_show(
    const struct option *option, const char *value, char shown[static OPTION_SHOWN_BYTES])
{
    enum { QUOTED_BYTES = 80 };
    if ((option->flags & OPTION_SECRET) != 0) {
        text_copy(shown, OPTION_SHOWN_BYTES, "(a secret, not shown)");
        return;
    }
    if (option->kind == OPTION_URL && strpbrk(value, "@?#") != NULL) {
        text_copy(shown, OPTION_SHOWN_BYTES, "(not shown, it may hold a secret)");
        return;
    }
    char quoted[QUOTED_BYTES];
    text_quote(quoted, sizeof quoted, value, strlen(value));
    bool is_cut = strlen(value) >= sizeof quoted;
    snprintf(shown, OPTION_SHOWN_BYTES, "\"%s\"%s", quoted, is_cut ? "..." : "");
}

bool option_is_string(const struct option *option)
{
    return option->kind == OPTION_TEXT || option->kind == OPTION_URL || option->kind == OPTION_PATH;
}

char **option_string(const struct option *option, struct config *config)
{
    assert(option_is_string(option));
    return (char **)(void *)((char *)config + option->offset);
}

/* Says "NAME value wrong" and, from the row, what would be right. */
static int refuse_value(const struct option *option, const char *value, const char *wrong,
    const char *form, struct problems *problems)
{
    char shown[OPTION_SHOWN_BYTES];
    option_show(option, value, shown);
    struct text right = {0};
    option_append_range(option, &right);
    char *range = text_take(&right);
    problems_add(problems, PROBLEM_ERROR, "%s %s %s; right is %s%s", option->name, shown, wrong,
        form, range != NULL ? range : "");
    free(range);
    return ERROR_INVALID;
}

static int store_number(const struct option *option, const char *value, struct config *config,
    struct problems *problems)
{
    const char *form =
        option->kind == OPTION_DURATION ? "a whole number without a unit, " : "a whole number, ";
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || value[digits] != '\0')
        return refuse_value(option, value, "is not a whole number", form, problems);
    int64_t number = 0;
    for (size_t i = 0; i < digits && number <= option->max; i++)
        number = number * 10 + (value[i] - '0');
    if (number < option->min || number > option->max)
        return refuse_value(option, value, "is out of range", form, problems);
    void *field = (char *)config + option->offset;
    if (option->kind == OPTION_DURATION)
        *(int64_t *)field = number;
    else
        *(unsigned *)field = (unsigned)number;
    return 0;
}

static int store_choice(const struct option *option, const char *value, struct config *config,
    struct problems *problems)
{
    for (unsigned i = 0; option->choices[i] != NULL; i++)
        if (strcasecmp(option->choices[i], value) == 0) {
            memcpy((char *)config + option->offset, &i, sizeof i);
            return 0;
        }
    return refuse_value(option, value, "is not one of the choices", "one of: ", problems);
}

/* NULL, or what no string of a setting may have: it could not be sent on as JSON or a header. */
static const char *find_bad_bytes(const char *value)
{
    size_t length = strlen(value);
    for (size_t at = 0; at < length;) {
        size_t step = text_utf8_length(value + at, length - at);
        if (step == 0)
            return "contains bytes that are not UTF-8";
        if ((unsigned char)value[at] < ' ' || value[at] == 0x7F)
            return "contains a control character, such as a line end";
        at += step;
    }
    return NULL;
}

static int check_url(const struct option *option, const char *value, struct problems *problems)
{
    struct url url;
    bool may_be_empty = (option->flags & OPTION_MAY_BE_EMPTY) != 0;
    const char *wrong = value[0] == '\0' && may_be_empty ? NULL : url_parse(value, &url);
    if (wrong == NULL)
        return 0;
    char shown[OPTION_SHOWN_BYTES];
    option_show(option, value, shown);
    problems_add(problems, PROBLEM_ERROR, "%s %s %s. Invalid %s. Expected a valid URL like %s.",
        option->name, shown, wrong, option->name,
        option->fallback != NULL ? option->fallback : option->example);
    return ERROR_INVALID;
}

static int check_string(const struct option *option, const char *value, struct problems *problems)
{
    const char *wrong = find_bad_bytes(value);
    if (wrong != NULL)
        return refuse_value(option, value, wrong, "", problems);
    if (option->kind == OPTION_URL)
        return check_url(option, value, problems);
    if (option->kind == OPTION_PATH && value[0] == '~')
        return refuse_value(
            option, value, "begins with '~', which only a shell replaces", "a whole ", problems);
    return 0;
}

static int store_string(const struct option *option, const char *value, struct config *config,
    struct problems *problems)
{
    int result = check_string(option, value, problems);
    if (result != 0)
        return result;
    size_t length = strlen(value);
    if (option->kind != OPTION_TEXT)
        while (length > 1 && value[length - 1] == '/')
            length--;
    char *copy = strndup(value, length);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    char **field = option_string(option, config);
    free(*field);
    *field = copy;
    return 0;
}

int option_store(const struct option *option, const char *value, struct config *config,
    struct problems *problems)
{
    if (option->kind == OPTION_NUMBER || option->kind == OPTION_DURATION)
        return store_number(option, value, config, problems);
    if (option->kind == OPTION_CHOICE)
        return store_choice(option, value, config, problems);
    return store_string(option, value, config, problems);
}

void option_append_value(
    const struct option *option, const struct config *config, struct text *text)
{
    const void *field = (const char *)config + option->offset;
    if (option->kind == OPTION_NUMBER)
        text_printf(text, "%u", *(const unsigned *)field);
    else if (option->kind == OPTION_DURATION)
        text_printf(text, "%" PRId64, *(const int64_t *)field);
    else if (option->kind == OPTION_CHOICE)
        text_append(text, option->choices[*(const unsigned *)field]);
    else if (*(char *const *)field != NULL)
        text_append(text, *(char *const *)field);
}

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
    if ((option->flags & OPTION_SECRET) != 0 && !rules_register_secret(id, copy)) {
        free(copy);
        return ERROR_NO_MEMORY;
    }
    values->by_option[id] = (struct value){VALUE_PRESENT, copy, origin};
    return 0;
}

static int mark_refused(struct values *values, enum option_id id)
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
        return mark_refused(values, id);
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
    return mark_refused(values, id);
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
        return mark_refused(values, id);
    int result = 0;
    if (direct.text != NULL)
        result = take_text(values, id, direct.text, direct.origin);
    if (result != 0 || file.text == NULL || file.text[0] == '\0')
        return result;
    bool both = says_something(option, direct);
    mark_refused(values, id);
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
            mark_refused(values, (enum option_id)i);
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
