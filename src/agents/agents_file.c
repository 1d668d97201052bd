/*
 * The file that tells the gateway which agents there are. The gateway includes it in its own
 * configuration, so it has to be whole and valid at every moment, also when the gateway starts
 * before the runtime after a loss of power: it is saved, replaced as a whole, and left alone when
 * it would say the same.
 *
 * Gateways of different generations want the agents in different forms. Until the gateway has been
 * asked for its release, which it may not answer for long, the file keeps the form that it has.
 */
#include "agents/profiles.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"

enum { AGENTS_FILE_BYTES = 2 * 1024 * 1024 }; /* the gateway includes no larger file */

static bool append_listed(json_t *list, const char *slug, json_t *entry)
{
    json_t *item = json_pack("{s:s}", "id", slug);
    bool complete = json_object_update(item, entry) == 0;
    return json_array_append_new(list, item) == 0 && complete;
}

/* For older gateways a list, in which each agent has its id. NULL without memory. */
static json_t *make_agents_document(json_t *entries, enum gateway_generation generation)
{
    const char *slug;
    json_t *entry;
    bool complete = true;
    if (generation != GATEWAY_OLD)
        return json_pack("{s:{s:O}}", "agents", "entries", entries);
    json_t *list = json_array();
    json_object_foreach (entries, slug, entry)
        complete = append_listed(list, slug, entry) && complete;
    json_t *document = complete ? json_pack("{s:{s:O}}", "agents", "list", list) : NULL;
    json_decref(list);
    return document;
}

static int put_agents_file(const char *path, struct text *text, bool *written, struct error *error)
{
    char parent[PATH_MAX];
    const char *name = strrchr(path, '/') + 1;
    if (text->failed)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    if (text->length_bytes > AGENTS_FILE_BYTES)
        return error_set(error, ERROR_TOO_LARGE,
            "too many agents: the gateway includes at most "
            "2 MiB");
    if (!text_copy(parent, sizeof parent, path))
        return error_set(error, ERROR_TOO_LARGE, "the path is too long");
    int fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot open its folder");
    int result = profile_file_put(
        fd, name, (struct text_span){text->data, text->length_bytes}, PROFILE_SAVE, written, error);
    close(fd);
    return result;
}

/* Whether the file is for an older gateway. What cannot be read is not. */
static bool has_old_form(const char *path)
{
    struct text content = {0};
    json_t *document = NULL;
    if (file_read_unlinked(path, AGENTS_FILE_BYTES, &content, NULL) == 0)
        json_guard_load(content.data, content.length_bytes, &document, NULL);
    bool is_old = json_is_array(json_object_get(json_object_get(document, "agents"), "list"));
    text_fini(&content);
    json_decref(document);
    return is_old;
}

int agents_file_write(const char *path, json_t *entries, enum gateway_generation generation,
    bool *written, struct error *error)
{
    struct text text = {0};
    /* Not asked yet, as after each start: the form stays, or an older gateway could not load it. */
    if (generation == GATEWAY_UNKNOWN && has_old_form(path))
        generation = GATEWAY_OLD;
    json_t *document = make_agents_document(entries, generation);
    json_append(&text, document);
    text_append(&text, "\n");
    json_decref(document);
    int result = put_agents_file(path, &text, written, error);
    text_fini(&text);
    return result;
}
