#include "config/option_value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
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
static int refuse(const struct option *option, const char *value, const char *wrong,
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
        return refuse(option, value, "is not a whole number", form, problems);
    int64_t number = 0;
    for (size_t i = 0; i < digits && number <= option->most; i++)
        number = number * 10 + (value[i] - '0');
    if (number < option->least || number > option->most)
        return refuse(option, value, "is out of range", form, problems);
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
    return refuse(option, value, "is not one of the choices", "one of: ", problems);
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
        return refuse(option, value, wrong, "", problems);
    if (option->kind == OPTION_URL)
        return check_url(option, value, problems);
    if (option->kind == OPTION_PATH && value[0] == '~')
        return refuse(
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
