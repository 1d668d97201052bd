/*
 * Checks arguments against a validator and writes Convex's ArgumentValidationError, which quotes
 * both the value and the validator's source text. The runtime must not log the error verbatim: the
 * value it quotes contains the service token. Tests rely on that.
 */
#include "validator.h"

#include "memory.h"

static const char error_prefix[] = "ArgumentValidationError: ";

/* A check in progress; path is its position within the arguments. */
struct check {
    const struct store *store;
    struct text *failure;
    char path[128];
};

static void write_fields(const struct field *fields, struct text *text);

static void write_literals(const char *const *literals, struct text *text)
{
    text_append(text, "v.union(");
    for (int i = 0; literals[i] != NULL; i++)
        text_printf(text, "%sv.literal(\"%s\")", i > 0 ? ", " : "", literals[i]);
    text_append(text, ")");
}

/* Writes a validator's source text, without v.optional. */
static void write_validator(const struct field *field, struct text *text)
{
    switch (field->kind) {
    case VALIDATE_STRING:
        text_append(text, "v.string()");
        break;
    case VALIDATE_NUMBER:
        text_append(text, "v.float64()");
        break;
    case VALIDATE_BOOLEAN:
        text_append(text, "v.boolean()");
        break;
    case VALIDATE_ID:
        text_printf(text, "v.id(\"%s\")", table_name(field->table));
        break;
    case VALIDATE_UNION:
        write_literals(field->literals, text);
        break;
    case VALIDATE_ARRAY:
        text_append(text, "v.array(");
        write_validator(field->item, text);
        text_append(text, ")");
        break;
    case VALIDATE_OBJECT:
        write_fields(field->fields, text);
        break;
    }
}

static void write_fields(const struct field *fields, struct text *text)
{
    text_append(text, "v.object({");
    for (int i = 0; fields[i].name != NULL; i++) {
        text_printf(text, "%s%s: %s", i > 0 ? ", " : "", fields[i].name,
            fields[i].optional ? "v.optional(" : "");
        write_validator(&fields[i], text);
        text_append(text, fields[i].optional ? ")" : "");
    }
    text_append(text, "})");
}

/* Writes a value as the backend does: JSON, but with unquoted object keys. */
static void write_value(const json_t *value, struct text *text)
{
    if (!json_is_object(value)) {
        char *dump = memory_json_dump(value);
        text_append(text, dump);
        free(dump);
        return;
    }
    const char *key;
    json_t *member;
    const char *separator = "";
    text_append(text, "{");
    json_object_foreach ((json_t *)value, key, member) {
        text_printf(text, "%s%s: ", separator, key);
        write_value(member, text);
        separator = ", ";
    }
    text_append(text, "}");
}

static void write_path(const struct check *check, struct text *text)
{
    if (check->path[0] != '\0')
        text_printf(text, "Path: %s\n", check->path);
}

static bool fail_mismatch(struct check *check, const struct field *field, const json_t *value)
{
    text_printf(check->failure, "%sValue does not match validator.\n", error_prefix);
    write_path(check, check->failure);
    text_append(check->failure, "Value: ");
    write_value(value, check->failure);
    text_append(check->failure, "\nValidator: ");
    write_validator(field, check->failure);
    return false;
}

static void write_object(
    const struct check *check, const struct field *fields, const json_t *object)
{
    text_append(check->failure, "\n\n");
    write_path(check, check->failure);
    text_append(check->failure, "Object: ");
    write_value(object, check->failure);
    text_append(check->failure, "\nValidator: ");
    write_fields(fields, check->failure);
}

static bool is_known_field(const struct field *fields, const char *name)
{
    while (fields->name != NULL && strcmp(fields->name, name) != 0)
        fields++;
    return fields->name != NULL;
}

static bool check_value(struct check *check, const struct field *field, const json_t *value);

static bool check_member(struct check *check, const struct field *field, const json_t *value)
{
    size_t length = strlen(check->path);
    snprintf(check->path + length, sizeof check->path - length, ".%s", field->name);
    bool valid = check_value(check, field, value);
    check->path[length] = '\0';
    return valid;
}

/* Fields are checked in the order of the validator, extra ones last. */
static bool check_object(struct check *check, const struct field *fields, const json_t *object)
{
    for (const struct field *field = fields; field->name != NULL; field++) {
        const json_t *value = json_object_get(object, field->name);
        if (value != NULL && !check_member(check, field, value))
            return false;
        if (value == NULL && !field->optional) {
            text_printf(check->failure,
                "%sObject is missing the required field `%s`. Consider wrapping the field "
                "validator in `v.optional(...)` if this is expected.",
                error_prefix, field->name);
            write_object(check, fields, object);
            return false;
        }
    }
    const char *key;
    json_t *member;
    json_object_foreach ((json_t *)object, key, member) {
        if (is_known_field(fields, key))
            continue;
        text_printf(check->failure,
            "%sObject contains extra field `%s` that is not in the validator.", error_prefix, key);
        write_object(check, fields, object);
        return false;
    }
    return true;
}

static bool check_array(struct check *check, const struct field *field, const json_t *array)
{
    size_t length = strlen(check->path);
    size_t index;
    const json_t *item;
    json_array_foreach (array, index, item) {
        snprintf(check->path + length, sizeof check->path - length, "[%zu]", index);
        bool valid = check_value(check, field->item, item);
        check->path[length] = '\0';
        if (!valid)
            return false;
    }
    return true;
}

static bool is_literal(const struct field *field, const json_t *value)
{
    const char *text = json_string_value(value);
    for (int i = 0; text != NULL && field->literals[i] != NULL; i++)
        if (strcmp(field->literals[i], text) == 0)
            return true;
    return false;
}

void validator_explain_id(const struct store *store, enum table table, const char *path,
    const char *id, struct text *failure)
{
    enum table found = store_id_table(store, id);
    if (found != TABLE_COUNT) {
        text_printf(failure,
            "%sFound ID \"%s\" from table `%s`, which does not match the table name in validator "
            "`v.id(\"%s\")`.\nPath: %s",
            error_prefix, id, table_name(found), table_name(table), path);
        return;
    }
    struct check check = {.store = store, .failure = failure};
    snprintf(check.path, sizeof check.path, "%s", path);
    json_t *value = memory_json_text(id);
    fail_mismatch(&check, &(struct field){.name = "", .kind = VALIDATE_ID, .table = table}, value);
    json_decref(value);
}

static bool check_id(struct check *check, const struct field *field, const json_t *value)
{
    if (!json_is_string(value))
        return fail_mismatch(check, field, value);
    if (store_id_is_of(check->store, field->table, json_string_value(value)))
        return true;
    validator_explain_id(
        check->store, field->table, check->path, json_string_value(value), check->failure);
    return false;
}

static bool check_value(struct check *check, const struct field *field, const json_t *value)
{
    bool valid = false;
    switch (field->kind) {
    case VALIDATE_STRING:
        valid = json_is_string(value);
        break;
    case VALIDATE_NUMBER:
        valid = json_is_number(value);
        break;
    case VALIDATE_BOOLEAN:
        valid = json_is_boolean(value);
        break;
    case VALIDATE_UNION:
        valid = is_literal(field, value);
        break;
    case VALIDATE_ID:
        return check_id(check, field, value);
    case VALIDATE_ARRAY:
        if (json_is_array(value))
            return check_array(check, field, value);
        break;
    case VALIDATE_OBJECT:
        if (json_is_object(value))
            return check_object(check, field->fields, value);
        break;
    }
    return valid || fail_mismatch(check, field, value);
}

bool validator_check(const struct store *store, const struct field *fields, const json_t *arguments,
    struct text *failure)
{
    struct check check = {.store = store, .failure = failure};
    return check_object(&check, fields, arguments);
}
