/*
 * Shorthands for the validators of service functions: lists of struct field, ended by
 * END_OF_FIELDS. UNION takes its literals, ARRAY a pointer to the validator of an item.
 */
#ifndef SANDBOX_SERVICE_FIELDS_H
#define SANDBOX_SERVICE_FIELDS_H

#include "validator.h"

#define STRING(name_)                            \
    {                                            \
        .name = (name_), .kind = VALIDATE_STRING \
    }
#define OPTIONAL_STRING(name_)                                     \
    {                                                              \
        .name = (name_), .kind = VALIDATE_STRING, .optional = true \
    }
#define NUMBER(name_)                            \
    {                                            \
        .name = (name_), .kind = VALIDATE_NUMBER \
    }
#define OPTIONAL_NUMBER(name_)                                     \
    {                                                              \
        .name = (name_), .kind = VALIDATE_NUMBER, .optional = true \
    }
#define OPTIONAL_BOOLEAN(name_)                                     \
    {                                                               \
        .name = (name_), .kind = VALIDATE_BOOLEAN, .optional = true \
    }
#define ID(name_, table_)                                       \
    {                                                           \
        .name = (name_), .kind = VALIDATE_ID, .table = (table_) \
    }
#define OPTIONAL_ID(name_, table_)                                                \
    {                                                                             \
        .name = (name_), .kind = VALIDATE_ID, .table = (table_), .optional = true \
    }
#define UNION(name_, literals_)                                          \
    {                                                                    \
        .name = (name_), .kind = VALIDATE_UNION, .literals = (literals_) \
    }
#define OPTIONAL_UNION(name_, literals_)                                                   \
    {                                                                                      \
        .name = (name_), .kind = VALIDATE_UNION, .literals = (literals_), .optional = true \
    }
#define OPTIONAL_OBJECT(name_, fields_)                                                 \
    {                                                                                   \
        .name = (name_), .kind = VALIDATE_OBJECT, .fields = (fields_), .optional = true \
    }
#define ARRAY(name_, item_)                                      \
    {                                                            \
        .name = (name_), .kind = VALIDATE_ARRAY, .item = (item_) \
    }
#define OPTIONAL_ARRAY(name_, item_)                                               \
    {                                                                              \
        .name = (name_), .kind = VALIDATE_ARRAY, .item = (item_), .optional = true \
    }
#define END_OF_FIELDS \
    {                 \
        .name = NULL  \
    }

/* The arguments of every function. */
#define COMMON_FIELDS ID("accountId", TABLE_ACCOUNTS), STRING("serviceToken")

/* The arguments of functions that both versions have. */
extern const struct field service_common_arguments[];
extern const struct field service_page_arguments[];
extern const struct field service_one_notification_arguments[];
extern const struct field service_heartbeat_arguments[];
extern const struct field service_runtime_report_arguments[];
extern const struct field service_upgrade_result_arguments[];

#endif
