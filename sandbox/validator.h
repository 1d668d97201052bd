/* Strict validation of a function's arguments, with the backend's error texts. */
#ifndef SANDBOX_VALIDATOR_H
#define SANDBOX_VALIDATOR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "store.h"

enum validator_kind {
    VALIDATE_STRING,
    VALIDATE_NUMBER,
    VALIDATE_BOOLEAN,
    VALIDATE_ID,     /* of table */
    VALIDATE_UNION,  /* of the literals */
    VALIDATE_ARRAY,  /* of items */
    VALIDATE_OBJECT, /* with fields */
};

struct field {
    const char *name; /* NULL ends a list */
    enum validator_kind kind;
    bool optional;
    enum table table;
    const char *const *literals; /* NULL-ended */
    const struct field *fields;
    const struct field *item; /* of an array; its name is not used */
};

/*
 * Whether arguments contain exactly the fields of the list, each of its kind. If not, appends the
 * backend's error ("ArgumentValidationError: ..."), which quotes the arguments, to failure.
 */
bool validator_check(const struct store *store, const struct field *fields, const json_t *arguments,
    struct text *failure);

/* Appends validator_check's error for an id at path that is not one of table. */
void validator_explain_id(const struct store *store, enum table table, const char *path,
    const char *id, struct text *failure);

#endif
