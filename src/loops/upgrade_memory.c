#include "loops/upgrade_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_read.h"
#include "base/file_replace.h"
#include "base/json_guard.h"
#include "base/json_write.h"
#include "base/text.h"

enum { FILE_BYTES_MAX = 4096 };

static const char file_name[] = "upgrade.json";

static void read_document(const json_t *document, struct upgrade_memory *memory)
{
    const char *openclaw = json_guard_string(document, "fromOpenclaw");
    const char *runtime = json_guard_string(document, "fromRuntime");
    if (openclaw == NULL || runtime == NULL ||
        !json_guard_time_ms(document, "initiatedAt", 1, &memory->initiated_at_ms))
        return;
    text_copy(memory->from_openclaw, sizeof memory->from_openclaw, openclaw);
    text_copy(memory->from_runtime, sizeof memory->from_runtime, runtime);
}

void upgrade_memory_load(const char *state_dir, struct upgrade_memory *memory)
{
    char path[PATH_MAX];
    struct file_content content;
    json_t *document;
    *memory = (struct upgrade_memory){0};
    snprintf(path, sizeof path, "%s/%s", state_dir, file_name);
    if (file_read(path, FILE_BYTES_MAX, &content, NULL) != 0)
        return;
    if (json_guard_load(content.bytes, content.length_bytes, &document, NULL) == 0) {
        read_document(document, memory);
        json_decref(document);
    }
    free(content.bytes);
}

int upgrade_memory_save(
    const char *state_dir, const struct upgrade_memory *memory, struct error *error)
{
    json_t *document =
        json_pack("{s:I, s:s, s:s}", "initiatedAt", (json_int_t)memory->initiated_at_ms,
            "fromOpenclaw", memory->from_openclaw, "fromRuntime", memory->from_runtime);
    char *bytes = json_write(document);
    json_decref(document);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to remember an upgrade");
    int folder_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = folder_fd >= 0
                     ? file_replace(folder_fd, file_name, bytes, strlen(bytes), true, error)
                     : error_set_errno(error, ERROR_SYSTEM, errno, "%s", state_dir);
    if (folder_fd >= 0)
        close(folder_fd);
    free(bytes);
    return result;
}
