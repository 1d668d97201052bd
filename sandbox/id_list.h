/* JSON arrays of ids, as documents have them. NULL is an empty one. */
#ifndef SANDBOX_ID_LIST_H
#define SANDBOX_ID_LIST_H

#include <jansson.h>
#include <stdbool.h>

bool id_list_contains(const json_t *ids, const char *id);

/* All ids of both lists, each once, as a new array. */
json_t *id_list_merge(const json_t *one, const json_t *other);

/* The ids of one list that the other does not have, as a new array. */
json_t *id_list_without(const json_t *ids, const json_t *removed);

#endif
