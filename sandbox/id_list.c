/* Linear searches: the lists are assignees and recipients, a handful each. */
#include "id_list.h"

#include "memory.h"

bool id_list_contains(const json_t *ids, const char *id)
{
    size_t index;
    const json_t *item;
    json_array_foreach (ids, index, item) {
        if (strcmp(json_string_value(item), id) == 0)
            return true;
    }
    return false;
}

static void append_missing(json_t *list, const json_t *ids)
{
    size_t index;
    json_t *id;
    json_array_foreach (ids, index, id) {
        if (!id_list_contains(list, json_string_value(id)))
            json_array_append(list, id);
    }
}

json_t *id_list_merge(const json_t *one, const json_t *other)
{
    json_t *merged = memory_json(json_array());
    append_missing(merged, one);
    append_missing(merged, other);
    return merged;
}

json_t *id_list_without(const json_t *ids, const json_t *removed)
{
    json_t *kept = memory_json(json_array());
    size_t index;
    json_t *id;
    json_array_foreach (ids, index, id) {
        if (!id_list_contains(removed, json_string_value(id)))
            json_array_append(kept, id);
    }
    return kept;
}
