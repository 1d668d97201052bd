/*
 * Loading the settings, in three passes over the table of options: collect a text for each option
 * (config/values.h), check and store it in its field, then apply the rules between options
 * (config/rules.c). Problems accumulate in a list, so an operator sees all of them at once; the
 * load succeeds if none of them is an error.
 *
 * Afterwards struct config is never modified, so threads read it without a lock. SIGHUP loads a
 * second one and hands the few settings that can change to their users (src/signals.c).
 */
#include "config/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/options.h"
#include "config/values.h"

static bool problems_append(struct problems *problems, enum problem_severity severity, char *text)
{
    void *items = realloc(problems->items, (problems->count + 1) * sizeof problems->items[0]);
    if (items == NULL)
        return false;
    problems->items = items;
    problems->items[problems->count].severity = severity;
    problems->items[problems->count++].text = text;
    return true;
}

void problems_add(
    struct problems *problems, enum problem_severity severity, const char *format, ...)
{
    struct text line = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&line, format, arguments);
    va_end(arguments);
    char *text = text_take(&line);
    if (text == NULL || !problems_append(problems, severity, text)) {
        free(text);
        problems->failed = true;
    }
}

enum problem_severity problem_of_code(int code)
{
    return code == ERROR_SYSTEM || code == ERROR_NO_MEMORY ? PROBLEM_REFUSAL : PROBLEM_ERROR;
}

bool problems_have_error(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].severity != PROBLEM_WARNING)
            return true;
    return problems->failed;
}

bool problems_need_person(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].severity == PROBLEM_ERROR)
            return true;
    return false;
}

void problems_write(const struct problems *problems, FILE *stream)
{
    for (size_t i = 0; i < problems->count; i++)
        fprintf(stream, "%s: %s\n",
            problems->items[i].severity == PROBLEM_WARNING ? "warning" : "error",
            problems->items[i].text);
    if (problems->failed)
        fprintf(stream, "error: out of memory reporting problems with the settings\n");
}

void problems_fini(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].text);
    free(problems->items);
    *problems = (struct problems){0};
}

void option_show(
    const struct option *option, const char *value, char shown[static OPTION_SHOWN_BYTES])
{
    enum { QUOTED_BYTES = 80 };
    if ((option->flags & OPTION_SECRET) != 0) {
        text_copy(shown, OPTION_SHOWN_BYTES, "(secret, not shown)");
        return;
    }
    if (option->kind == OPTION_URL && strpbrk(value, "@?#") != NULL) {
        text_copy(shown, OPTION_SHOWN_BYTES, "(not shown, as it may contain a secret)");
        return;
    }
    char quoted[QUOTED_BYTES];
    text_quote(quoted, sizeof quoted, value, strlen(value));
    bool is_cut = strlen(value) >= sizeof quoted;
    /* Its own quotes are often what is wrong with it, and would not be told from ours. */
    char mark = strchr(quoted, '"') != NULL ? '\'' : '"';
    snprintf(shown, OPTION_SHOWN_BYTES, "%c%s%c%s", mark, quoted, mark, is_cut ? "..." : "");
}

/* Where the option's value was found, in parentheses; nothing for a default. */
static void append_origin(
    const struct values *values, const struct option *option, struct text *text)
{
    char quoted_path[256];
    const struct env_entry *entry;
    if (values == NULL || values->by_option[option - config_options].state != VALUE_PRESENT)
        return;
    switch (values->by_option[option - config_options].origin) {
    case CONFIG_FROM_ENVIRONMENT:
        text_append(text, " (from the environment)");
        return;
    case CONFIG_FROM_ENV_FILE:
        entry = env_file_find(&values->env_file, option->name);
        text_quote(
            quoted_path, sizeof quoted_path, values->env_file_path, strlen(values->env_file_path));
        text_printf(text, " (from %s line %u)", quoted_path, entry != NULL ? entry->line : 0);
        return;
    case CONFIG_FROM_VALUE_FILE:
        text_printf(text, " (from the file that %s_FILE names)", option->name);
        return;
    case CONFIG_FROM_DEFAULT:
        return;
    }
}

void problems_add_setting(struct problems *problems, enum option_id id, const char *format, ...)
{
    struct text text = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&text, format, arguments);
    va_end(arguments);
    append_origin(problems->values, &config_options[id], &text);
    char *line = text_take(&text);
    problems_add(problems, PROBLEM_ERROR, "%s", line != NULL ? line : config_options[id].name);
    free(line);
}

int option_report(const struct option *option, const char *value, struct problems *problems,
    const char *format, ...)
{
    char shown[OPTION_SHOWN_BYTES];
    struct text text = {0};
    va_list arguments;
    option_show(option, value, shown);
    va_start(arguments, format);
    text_vprintf(&text, format, arguments);
    va_end(arguments);
    append_origin(problems->values, option, &text);
    char *what = text_take(&text);
    problems_add(problems, PROBLEM_ERROR, "%s %s %s", option->name, shown,
        what != NULL ? what : "is not valid");
    free(what);
    return ERROR_INVALID;
}

/* Names the option's purpose, as the operator may see the name for the first time. */
static void report_missing(const struct option *option, struct problems *problems)
{
    problems_add(problems, PROBLEM_ERROR, "%s is missing; set it to a value like %s (%s)",
        option->name, option->example, option->help);
}

/* A value that is wrong by itself is marked, so that no rule adds to it. */
static int store_option(
    struct config *config, struct values *values, enum option_id id, struct problems *problems)
{
    const struct option *option = &config_options[id];
    struct value *value = &values->by_option[id];
    config->origins[id] = value->origin;
    if (value->state == VALUE_ABSENT && (option->flags & OPTION_REQUIRED) != 0)
        report_missing(option, problems);
    const char *text = value->state == VALUE_PRESENT ? value->text : NULL;
    if (value->state == VALUE_ABSENT)
        text = option->fallback;
    if (text == NULL)
        return 0;
    int result = value->state == VALUE_PRESENT ? mistakes_check(option, text, problems) : 0;
    if (result == 0)
        result = option_store(option, text, config, problems);
    if (result == ERROR_INVALID)
        value->state = VALUE_WRONG;
    return result == ERROR_NO_MEMORY ? result : 0;
}

/* Once for the file, however many secrets it contains. */
static void warn_about_readable_secrets(
    const char *path, struct values *values, struct problems *problems)
{
    if (!values->env_file.world_readable)
        return;
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct env_entry *entry = env_file_find(&values->env_file, config_options[i].name);
        if ((config_options[i].flags & OPTION_SECRET) == 0 || entry == NULL ||
            entry->value == NULL || entry->value[0] == '\0')
            continue;
        values_note_exposed(values, path, problems);
        return;
    }
}

/* Collect, store, apply the rules; then the warnings, which need the complete values. */
static int load_values(struct config *config, char *const *environment, const char *env_file,
    struct values *values, struct problems *problems)
{
    problems->values = values;
    int result = values_read(values, environment, env_file, problems);
    for (size_t i = 0; i < CONFIG_OPTIONS && result == 0; i++)
        result = store_option(config, values, (enum option_id)i, problems);
    if (result == 0)
        result = rules_apply(config, values, problems);
    if (result != 0)
        return result;
    option_suggest(values, problems);
    warn_about_readable_secrets(env_file, values, problems);
    config->exposed_file = values->exposed_file;
    values->exposed_file = NULL;
    if (!problems_have_error(problems))
        return 0;
    return problems_need_person(problems) ? ERROR_INVALID : ERROR_SYSTEM;
}

int config_load(struct config *config, char *const *environment, const char *env_file,
    struct problems *problems)
{
    *config = (struct config){0};
    struct values values = {0};
    int result = load_values(config, environment, env_file, &values, problems);
    problems->values = NULL;
    values_fini(&values);
    if (result != 0)
        config_fini(config);
    return result;
}

void config_fini(struct config *config)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (option_is_string(&config_options[i]))
            free(*option_string(&config_options[i], config));
    free(config->exposed_file);
    *config = (struct config){0};
}

/* Whether the parser of env files would read the value differently if it were not quoted. */
static bool needs_quotes(const char *value)
{
    return value[strcspn(value, "\"'#")] != '\0' || value[0] == ' ' ||
           (value[0] != '\0' && value[strlen(value) - 1] == ' ');
}

/* In the double quotes of env files, where only these characters need a backslash. */
static void append_quoted(struct text *text, const char *value)
{
    text_append(text, "\"");
    for (; *value != '\0'; value++) {
        if (strchr("\"\\$", *value) != NULL)
            text_append(text, "\\");
        text_append_bytes(text, value, 1);
    }
    text_append(text, "\"");
}

static void describe_value(
    const struct option *option, const struct config *config, struct text *text)
{
    struct text field = {0};
    option_append_value(option, config, &field);
    char *value = text_take(&field);
    if (value == NULL) {
        text->failed = true;
        return;
    }
    /* A secret may also have been put into a setting that is not one, such as a command. */
    redact(value);
    if ((option->flags & OPTION_SECRET) != 0)
        text_append(text, value[0] != '\0' ? "***" : "");
    else if (needs_quotes(value))
        append_quoted(text, value);
    else
        text_append(text, value);
    free(value);
}

void config_describe(const struct config *config, struct text *text)
{
    static const char *const origins[] = {
        [CONFIG_FROM_DEFAULT] = "default",
        [CONFIG_FROM_ENVIRONMENT] = "environment",
        [CONFIG_FROM_ENV_FILE] = "env file",
    };
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = &config_options[i];
        text_printf(text, "%s=", option->name);
        describe_value(option, config, text);
        if (config->origins[i] == CONFIG_FROM_VALUE_FILE)
            text_printf(text, "  # %s_FILE\n", option->name);
        else
            text_printf(text, "  # %s\n", origins[config->origins[i]]);
    }
}
