/*
 * From what an operator wrote to a field of struct config, in two steps.
 *
 * values_read collects one text per option: from the environment, the env file, or the file that
 * NAME_FILE names, in this order of precedence. It strips the blanks and quotes that do not count
 * and registers secrets for redaction before anything is reported about them. Texts are kept apart
 * from struct config because rules need to know whether an option was set at all.
 *
 * option_store then checks one text by the option's row in the table and stores it in its field.
 * Rows address fields by offset, so the kind of an option must match the type of its field.
 *
 * Problems do not stop either step: everything that is wrong is reported in one run. Only running
 * out of memory does.
 */
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

enum { VALUE_FILE_BYTES_MAX = 16 * 1024, FILE_NAME_BYTES = 64 };

/*
 * Whether the variable is the address of a Kubernetes Service. For a Service named "health",
 * Kubernetes puts HEALTH_PORT=tcp://10.96.0.9:3001 into every container of the namespace.
 */
static bool variable_is_service_link(const char *name, const char *value)
{
    static const char suffix[] = "_PORT";
    size_t name_bytes = strlen(name);
    size_t suffix_bytes = sizeof suffix - 1;
    if (name_bytes < suffix_bytes || strcmp(name + name_bytes - suffix_bytes, suffix) != 0)
        return false;
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 ||
           strncmp(value, "sctp://", 7) == 0;
}

/* The variable's text in the environment, or NULL. Borrowed. */
static char *environment_find(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (char *const *at = environment; at != NULL && *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

/* Nobody set these for us, so they are not errors; but who did mean a port must learn why not. */
static void values_warn_of_service_links(const struct values *values, struct problems *problems)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option *option = &config_options[i];
        const char *text = environment_find(values->environment, option->name);
        if (text == NULL || !variable_is_service_link(option->name, text))
            continue;
        char shown[OPTION_SHOWN_BYTES];
        option_show(option, text, shown);
        problems_add(problems, PROBLEM_WARNING,
            "%s %s is ignored: Kubernetes sets it to the address of a Service; "
            "enableServiceLinks: false in the pod's spec prevents this",
            option->name, shown);
    }
}

/* A variable as it was written; unlike in the values of options, the text is borrowed. */
static struct value values_find_variable(const struct values *values, const char *name)
{
    char *text = environment_find(values->environment, name);
    if (text != NULL && !variable_is_service_link(name, text))
        return (struct value){VALUE_PRESENT, text, CONFIG_FROM_ENVIRONMENT};
    const struct env_entry *entry = env_file_find(&values->env_file, name);
    if (entry == NULL)
        return (struct value){.state = VALUE_ABSENT};
    return (struct value){
        entry->value != NULL ? VALUE_PRESENT : VALUE_WRONG, entry->value, CONFIG_FROM_ENV_FILE};
}

const char *values_variable(const struct values *values, const char *name)
{
    return values_find_variable(values, name).text;
}

/* The part of text that is the value: without outer blanks, and one pair of quotes if allowed. */
static struct text_span value_normalize(const struct option *option, const char *text)
{
    if ((option->flags & OPTION_RAW) != 0)
        return (struct text_span){text, strlen(text)};
    struct text_span span = text_trim(text, strlen(text));
    if ((option->flags & OPTION_UNQUOTED) == 0 || span.length_bytes == 0)
        return span;
    char first = span.bytes[0];
    if ((first != '"' && first != '\'') || span.bytes[span.length_bytes - 1] != first)
        return span;
    /* A lone quote opens and closes nothing: an empty value. */
    if (span.length_bytes == 1)
        return (struct text_span){span.bytes, 0};
    return text_trim(span.bytes + 1, span.length_bytes - 2);
}

/* Sets the option's value from text, unless that is empty and the option treats this as not set. */
static int value_set_text(
    struct values *values, enum option_id id, const char *text, enum config_origin origin)
{
    const struct option *option = &config_options[id];
    struct text_span span = value_normalize(option, text);
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

/* The problem has been reported, and no rule or default applies to the option any more. */
static int value_set_wrong(struct values *values, enum option_id id)
{
    free(values->by_option[id].text);
    values->by_option[id] = (struct value){.state = VALUE_WRONG};
    return 0;
}

void values_note_exposed(struct values *values, const char *path, struct problems *problems)
{
    char quoted_path[256];
    text_quote(quoted_path, sizeof quoted_path, path, strlen(path));
    problems_add(problems, PROBLEM_WARNING,
        "%s contains a secret but is readable by all users; give it to the runtime's user and "
        "chmod 600 it",
        quoted_path);
    if (values->exposed_file == NULL)
        values->exposed_file = strdup(quoted_path);
}

/* Sets the option's value from the file at path; file_name is the variable that names it. */
static int value_set_from_file(struct values *values, enum option_id id, const char *file_name,
    const char *path, struct problems *problems)
{
    struct text content;
    struct error error;
    bool world_readable = false;
    int result = file_read(path, VALUE_FILE_BYTES_MAX, &content, &world_readable, &error);
    if (result == ERROR_NO_MEMORY)
        return result;
    if (result != 0) {
        problems_add(problems, problem_of_code(result),
            "%s: %s; it must name a file that contains the value", file_name, error.text);
        return value_set_wrong(values, id);
    }
    /* A value with a NUL byte would be silently truncated. */
    bool is_text = strlen(content.data) == content.length_bytes;
    if (is_text)
        result = value_set_text(values, id, content.data, CONFIG_FROM_VALUE_FILE);
    text_fini(&content);
    const struct value *value = &values->by_option[id];
    bool is_set = value->state == VALUE_PRESENT && value->text[0] != '\0';
    if (result == 0 && is_set && world_readable && (config_options[id].flags & OPTION_SECRET) != 0)
        values_note_exposed(values, path, problems);
    if (result != 0 || is_set)
        return result;
    char quoted_path[256];
    text_quote(quoted_path, sizeof quoted_path, path, strlen(path));
    problems_add(problems, PROBLEM_ERROR, "%s: %s %s; it must name a file that contains the value",
        file_name, quoted_path, is_text ? "is empty" : "contains NUL bytes");
    return value_set_wrong(values, id);
}

/* An empty NAME beside NAME_FILE is not a conflict: Compose files set variables to "". */
static bool variable_is_nonempty(const struct option *option, struct value variable)
{
    return variable.text != NULL && value_normalize(option, variable.text).length_bytes > 0;
}

/* An empty variable of the environment is one, too, so what the env file says does not count. */
static void warn_of_hidden_value(const struct values *values, const struct option *option,
    const char *name, struct problems *problems)
{
    char quoted_path[256];
    const char *text = environment_find(values->environment, name);
    const struct env_entry *entry = env_file_find(&values->env_file, name);
    if (values->env_file_path == NULL || text == NULL ||
        value_normalize(option, text).length_bytes > 0 || entry == NULL || entry->value == NULL ||
        value_normalize(option, entry->value).length_bytes == 0)
        return;
    text_quote(
        quoted_path, sizeof quoted_path, values->env_file_path, strlen(values->env_file_path));
    problems_add(problems, PROBLEM_WARNING,
        "%s is set to nothing in the environment, which hides its value in %s line %u; unset it "
        "for the file's value to count",
        name, quoted_path, entry->line);
}

static int values_read_option(struct values *values, enum option_id id, struct problems *problems)
{
    const struct option *option = &config_options[id];
    struct value direct = values_find_variable(values, option->name);
    struct value file = {0};
    char file_name[FILE_NAME_BYTES];
    snprintf(file_name, sizeof file_name, "%s_FILE", option->name);
    warn_of_hidden_value(values, option, option->name, problems);
    if ((option->flags & OPTION_OR_FILE) != 0) {
        warn_of_hidden_value(values, option, file_name, problems);
        file = values_find_variable(values, file_name);
    }
    if (direct.state == VALUE_WRONG || file.state == VALUE_WRONG)
        return value_set_wrong(values, id);
    int result = 0;
    if (direct.text != NULL)
        result = value_set_text(values, id, direct.text, direct.origin);
    if (result != 0 || file.text == NULL || file.text[0] == '\0')
        return result;
    bool both = variable_is_nonempty(option, direct);
    value_set_wrong(values, id);
    if (!both)
        return value_set_from_file(values, id, file_name, file.text, problems);
    problems_add(problems, PROBLEM_ERROR, "%s and %s are both set; set only one of them",
        option->name, file_name);
    return 0;
}

/* libcurl reads these from the environment, so only that counts. */
static bool register_proxies(char *const *environment)
{
    static const char *const names[] = {
        "http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *proxy = environment_find(environment, names[i]);
        if (proxy != NULL && !rules_register_proxy(proxy))
            return false;
    }
    return true;
}

int values_read(struct values *values, char *const *environment, const char *env_file,
    struct problems *problems)
{
    values->environment = environment;
    values->env_file_path = env_file;
    int result = 0;
    if (!register_proxies(environment))
        return ERROR_NO_MEMORY;
    if (env_file != NULL)
        result = env_file_load(&values->env_file, env_file, problems);
    if (result == ERROR_NO_MEMORY)
        return result;
    values_warn_of_service_links(values, problems);
    bool is_complete = result == 0;
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        result = values_read_option(values, (enum option_id)i, problems);
        if (result != 0)
            return result;
        /* A setting that the unreadable file may contain must not be reported as missing. */
        if (!is_complete && values->by_option[i].state == VALUE_ABSENT)
            value_set_wrong(values, (enum option_id)i);
    }
    return 0;
}

void values_fini(struct values *values)
{
    env_file_fini(&values->env_file);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        free(values->by_option[i].text);
    free(values->exposed_file);
    *values = (struct values){0};
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

/* Reports what is wrong and what the option's row allows; form precedes the range. */
static int option_reject(const struct option *option, const char *value, const char *wrong,
    const char *form, struct problems *problems)
{
    struct text allowed = {0};
    option_append_range(option, &allowed);
    char *range = text_take(&allowed);
    int result = option_report(
        option, value, problems, "%s; expected %s%s", wrong, form, range != NULL ? range : "");
    free(range);
    return result;
}

static int option_store_number(const struct option *option, const char *value,
    struct config *config, struct problems *problems)
{
    const char *form =
        option->kind == OPTION_DURATION ? "a whole number without a unit, " : "a whole number, ";
    size_t digits = strspn(value, TEXT_DIGITS);
    if (digits == 0 || value[digits] != '\0')
        return option_reject(option, value, "is not a whole number", form, problems);
    int64_t number = 0;
    /* Stops at the first value over the maximum, before it can overflow. */
    for (size_t i = 0; i < digits && number <= option->max; i++)
        number = number * 10 + (value[i] - '0');
    if (number < option->min || number > option->max)
        return option_reject(option, value, "is out of range", form, problems);
    void *field = (char *)config + option->offset;
    if (option->kind == OPTION_DURATION)
        *(int64_t *)field = number;
    else
        *(unsigned *)field = (unsigned)number;
    return 0;
}

static int option_store_choice(const struct option *option, const char *value,
    struct config *config, struct problems *problems)
{
    for (unsigned i = 0; option->choices[i] != NULL; i++)
        if (strcasecmp(option->choices[i], value) == 0) {
            memcpy((char *)config + option->offset, &i, sizeof i);
            return 0;
        }
    return option_reject(option, value, "is not one of the choices", "one of: ", problems);
}

static int option_store_boolean(const struct option *option, const char *value,
    struct config *config, struct problems *problems)
{
    /* In pairs of false and true. */
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(words[i], value) == 0) {
            *(bool *)((char *)config + option->offset) = i % 2 == 1;
            return 0;
        }
    return option_reject(option, value, "is neither true nor false", "one of: ", problems);
}

/* What is wrong with the bytes, or NULL: strings end up in JSON and in HTTP headers. */
static const char *option_find_bad_bytes(const char *value)
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

static int option_check_url(
    const struct option *option, const char *value, struct problems *problems)
{
    struct url url;
    bool may_be_empty = (option->flags & OPTION_MAY_BE_EMPTY) != 0;
    const char *wrong = value[0] == '\0' && may_be_empty ? NULL : url_parse(value, &url);
    if (wrong == NULL)
        return 0;
    return option_report(option, value, problems, "%s. Invalid %s. Expected a valid URL like %s.",
        wrong, option->name, option->fallback != NULL ? option->fallback : option->example);
}

static int option_check_string(
    const struct option *option, const char *value, struct problems *problems)
{
    const char *wrong = option_find_bad_bytes(value);
    if (wrong != NULL)
        return option_reject(option, value, wrong, "", problems);
    if (option->kind == OPTION_URL)
        return option_check_url(option, value, problems);
    if (option->kind == OPTION_PATH && value[0] == '~')
        return option_reject(
            option, value, "begins with '~', which only a shell expands", "an expanded ", problems);
    return 0;
}

static int option_store_string(const struct option *option, const char *value,
    struct config *config, struct problems *problems)
{
    int result = option_check_string(option, value, problems);
    if (result != 0)
        return result;
    size_t length = strlen(value);
    /* What is appended to a URL or path begins with '/'. */
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
        return option_store_number(option, value, config, problems);
    if (option->kind == OPTION_CHOICE)
        return option_store_choice(option, value, config, problems);
    if (option->kind == OPTION_BOOLEAN)
        return option_store_boolean(option, value, config, problems);
    return option_store_string(option, value, config, problems);
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
    else if (option->kind == OPTION_BOOLEAN)
        text_append(text, *(const bool *)field ? "true" : "false");
    else if (*(char *const *)field != NULL)
        text_append(text, *(char *const *)field);
}
