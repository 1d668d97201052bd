/*
 * Models get arguments wrong, and what they send reaches a backend whose own errors are hidden on
 * production deployments. So each argument is checked against the tool's parameters first, and an
 * error names the argument and what would be right, in words by which a model can do better.
 *
 * A value of another type is an error everywhere, null included; so are words, numbers and lengths
 * that the backend would refuse. Keys that are not parameters are only named in the result, because
 * models like to add some. Blank texts count as absent where they could mean nothing, as models
 * fill in what they do not need with "".
 *
 * The general words are below; a parameter may have its own (catalog_table.c), which are those that
 * agents know from the first runtimes. Over HTTP a missing value or one of another type is a 400,
 * one that is not possible a 422.
 *
 * Everything here is pure apart from allocating.
 */
#include "agent_tools/arguments.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/containers.h"
#include "base/json.h"

enum { BAD_REQUEST = 400, FORBIDDEN = 403, UNPROCESSABLE = 422, MAX_IGNORED = 20 };

/* A check of one call in progress. */
struct argument_check {
    const struct tool *tool;
    const struct tool_call *call;
    json_t *checked;
    struct argument_problem *problem;
};

static const char *const priority_words[] = {"critical", "high", "medium", "low", "lowest", NULL};

/* Says that a required parameter has no value. Always false. */
static bool refuse_missing(
    const struct argument_check *check, const struct tool_parameter *parameter)
{
    const struct tool *tool = check->tool;
    const char *words = check->call->by_http ? tool->http_missing : tool->missing;
    if (parameter->missing != NULL)
        words = parameter->missing;
    if (words == NULL)
        words = "* is required";
    size_t before = strcspn(words, "*");
    struct text *text = &check->problem->text;
    check->problem->status = BAD_REQUEST;
    text_append_bytes(text, words, before);
    if (words[before] == '*') {
        text_append(text, parameter->name);
        text_append(text, words + before + 1);
    }
    return false;
}

static const char *const *words_of(
    const struct argument_check *check, const struct tool_parameter *parameter)
{
    bool has_own = check->call->by_http && parameter->http_words != NULL;
    return has_own ? parameter->http_words : parameter->words;
}

/* "a, b, c" after "one of", or "a, b, or c" over HTTP. */
static void append_choice(struct text *text, const char *const *words, bool by_http)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        bool is_last = words[i + 1] == NULL;
        text_append(text, i == 0 ? "" : by_http && is_last ? ", or " : ", ");
        text_append(text, words[i]);
    }
}

/* Says that a value cannot be, although its type is right. Always false. */
static bool refuse_invalid(
    const struct argument_check *check, const struct tool_parameter *parameter)
{
    struct text *text = &check->problem->text;
    const char *const *words = words_of(check, parameter);
    if (parameter->invalid_is_missing)
        return refuse_missing(check, parameter);
    check->problem->status = UNPROCESSABLE;
    if (parameter->invalid != NULL) {
        text_append(text, parameter->invalid);
    } else if (parameter->type == PARAMETER_WORD) {
        text_printf(
            text, "Invalid %s: must be %s", parameter->name, check->call->by_http ? "" : "one of ");
        append_choice(text, words, check->call->by_http);
    } else if (parameter->type == PARAMETER_ID) {
        text_printf(text,
            "Invalid %s: must be an id of the board, which has letters, digits, - and _",
            parameter->name);
    } else {
        text_printf(text, "Invalid %s: must be a whole number from %.0f to %.0f", parameter->name,
            parameter->min, parameter->max);
    }
    return false;
}

static const char *name_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static const char *name_wanted_type(const struct tool_parameter *parameter)
{
    switch (parameter->type) {
    case PARAMETER_NUMBER:
    case PARAMETER_LIMIT:
        return "a number";
    case PARAMETER_PRIORITY:
        return "a number or a word";
    case PARAMETER_TEXTS:
        return "an array of strings";
    case PARAMETER_TEXT:
    case PARAMETER_ID:
    case PARAMETER_WORD:
        break;
    }
    return "a string";
}

/* Says that a value has another type. Always false. */
static bool refuse_type(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    if (parameter->invalid_is_missing)
        return refuse_missing(check, parameter);
    check->problem->status = BAD_REQUEST;
    text_printf(&check->problem->text, "Invalid JSON %s: %s must be %s, not %s%s",
        check->call->by_http ? "body" : "arguments", parameter->name, name_wanted_type(parameter),
        json_is_array(value) && parameter->type == PARAMETER_TEXTS ? "an array of other values"
                                                                   : name_type(value),
        json_is_null(value) && !parameter->required ? "; leave it out if there is none" : "");
    return false;
}

/* Sets the value, taking the reference; false without memory. */
static bool set_checked(
    const struct argument_check *check, const struct tool_parameter *parameter, json_t *value)
{
    return json_object_set_new(check->checked, parameter->name, value) == 0;
}

/* A parameter without a value: fine, unless it is required and the run does not give it. */
static bool accept_absent(
    const struct argument_check *check, const struct tool_parameter *parameter)
{
    const char *task_id = check->call->task_id;
    if (parameter->defaults_to_run && task_id[0] != '\0')
        return set_checked(check, parameter, json_string(task_id));
    return !parameter->required || refuse_missing(check, parameter);
}

static bool check_length(const struct argument_check *check, const struct tool_parameter *parameter,
    const char *bytes, size_t length_bytes)
{
    if (parameter->max <= 0 ||
        text_utf16_cut(bytes, length_bytes, (size_t)parameter->max) == length_bytes)
        return true;
    check->problem->status = UNPROCESSABLE;
    if (parameter->too_long != NULL)
        text_append(&check->problem->text, parameter->too_long);
    else
        text_printf(&check->problem->text, "%s too long (max %.0f characters)", parameter->name,
            parameter->max);
    return false;
}

/* A new string of the bytes without NULs; NULL without memory. */
static json_t *make_string(const char *bytes, size_t length_bytes)
{
    struct text text = {0};
    text_append_without_nuls(&text, bytes, length_bytes);
    json_t *string =
        text.failed ? NULL : json_stringn(text.data != NULL ? text.data : "", text.length_bytes);
    text_fini(&text);
    return string;
}

static bool has_word(const char *const *words, const char *word)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* The word "done" is a right of its own. */
static bool check_word(
    const struct argument_check *check, const struct tool_parameter *parameter, const char *word)
{
    if (!has_word(words_of(check, parameter), word))
        return refuse_invalid(check, parameter);
    if (!parameter->done_needs_right || strcmp(word, "done") != 0 ||
        check->call->audience.may_mark_done)
        return true;
    check->problem->status = FORBIDDEN;
    text_append(&check->problem->text, "Forbidden: Not allowed to mark tasks as done");
    return false;
}

static bool check_string(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    if (!json_is_string(value))
        return refuse_type(check, parameter, value);
    struct text_span span = {json_string_value(value), json_string_length(value)};
    struct text_span trimmed = text_trim(span.bytes, span.length_bytes);
    if (trimmed.length_bytes == 0 && !parameter->may_be_blank)
        return accept_absent(check, parameter);
    if (parameter->type != PARAMETER_TEXT || parameter->is_trimmed)
        span = trimmed;
    if (!check_length(check, parameter, span.bytes, span.length_bytes))
        return false;
    json_t *string = make_string(span.bytes, span.length_bytes);
    const char *text = json_string_value(string);
    bool is_possible = text != NULL;
    if (is_possible && parameter->type == PARAMETER_WORD)
        is_possible = check_word(check, parameter, text);
    else if (is_possible && parameter->type == PARAMETER_ID && !id_is_valid(text))
        is_possible = refuse_invalid(check, parameter);
    if (is_possible)
        return set_checked(check, parameter, string);
    json_decref(string);
    return false;
}

static bool check_number(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    if (!json_is_number(value))
        return refuse_type(check, parameter, value);
    double number = json_number_value(value);
    if (parameter->type == PARAMETER_LIMIT)
        number = fmin(fmax(floor(number), parameter->min), parameter->max);
    if (!(number >= parameter->min && number <= parameter->max) || floor(number) != number)
        return refuse_invalid(check, parameter);
    return set_checked(check, parameter, json_real(number));
}

static bool check_priority(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    if (!json_is_string(value))
        return check_number(check, parameter, value);
    struct text_span word = text_trim(json_string_value(value), json_string_length(value));
    for (size_t i = 0; priority_words[i] != NULL; i++)
        if (strlen(priority_words[i]) == word.length_bytes &&
            strncasecmp(priority_words[i], word.bytes, word.length_bytes) == 0)
            return set_checked(check, parameter, json_real((double)i + 1));
    return refuse_invalid(check, parameter);
}

/* Appends the texts that are not blank. Returns whether all values are texts and were appended. */
static bool copy_texts(const json_t *value, json_t *texts)
{
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (!json_is_string(item))
            return false;
        size_t length_bytes = json_string_length(item);
        if (text_trim(json_string_value(item), length_bytes).length_bytes > 0 &&
            json_array_append_new(texts, make_string(json_string_value(item), length_bytes)) != 0)
            return false;
    }
    return true;
}

static bool check_texts(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    json_t *texts = json_array();
    if (texts == NULL)
        return false;
    bool is_possible = true;
    if (!json_is_array(value) || !copy_texts(value, texts))
        is_possible = refuse_type(check, parameter, value);
    else if (parameter->required && json_array_size(texts) == 0)
        is_possible = refuse_missing(check, parameter);
    if (is_possible)
        return set_checked(check, parameter, texts);
    json_decref(texts);
    return false;
}

static bool check_argument(
    const struct argument_check *check, const struct tool_parameter *parameter, const json_t *value)
{
    if (value == NULL)
        return accept_absent(check, parameter);
    switch (parameter->type) {
    case PARAMETER_NUMBER:
    case PARAMETER_LIMIT:
        return check_number(check, parameter, value);
    case PARAMETER_PRIORITY:
        return check_priority(check, parameter, value);
    case PARAMETER_TEXTS:
        return check_texts(check, parameter, value);
    case PARAMETER_TEXT:
    case PARAMETER_ID:
    case PARAMETER_WORD:
        break;
    }
    return check_string(check, parameter, value);
}

bool arguments_check(const struct tool *tool, const struct tool_call *call, const json_t *given,
    json_t **checked, struct argument_problem *problem)
{
    *problem = (struct argument_problem){.status = BAD_REQUEST};
    const struct argument_check check = {
        .tool = tool, .call = call, .checked = json_object(), .problem = problem};
    bool is_possible = check.checked != NULL;
    for (const struct tool_parameter *each = tool->parameters; is_possible && each->name != NULL;
         each++)
        is_possible = check_argument(&check, each, json_object_get(given, each->name));
    if (is_possible)
        *checked = check.checked;
    else
        json_decref(check.checked);
    return is_possible;
}

static bool is_parameter(const struct tool *tool, const char *name)
{
    for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++)
        if (strcmp(each->name, name) == 0)
            return true;
    return false;
}

json_t *arguments_ignored(const struct tool *tool, const json_t *given)
{
    json_t *ignored = NULL;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)given, key, value) {
        if (is_parameter(tool, key) || json_array_size(ignored) == MAX_IGNORED)
            continue;
        if (ignored == NULL)
            ignored = json_array();
        json_array_append_new(ignored, json_string(key));
    }
    return ignored;
}
