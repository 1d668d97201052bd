/*
 * Three small JSON files in STATE_DIR, each written by one side only:
 *
 *     upgrade.json          by us for the next process; stays, as one request is obeyed once
 *     upgrade-request.json  by us for the installer, which removes it when it takes it
 *     upgrade-result.json   by the installer for us; removed once the request has ended
 *
 * A result names the request that it belongs to, so one that was left behind is never taken for
 * that of a later request; it is removed all the same before a new request is written. What the
 * installer says is text from outside and cleaned before it is kept.
 */
#include "report/upgrade_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/text.h"

enum { MAX_FILE_BYTES = 4096 };

static const char record_name[] = "upgrade.json";
static const char request_name[] = "upgrade-request.json";
static const char result_name[] = "upgrade-result.json";

/* The content of a file, a new reference; NULL if it is missing or not JSON. */
static json_t *load_upgrade_file(const char *state_dir, const char *name)
{
    char path[PATH_MAX];
    struct text content;
    json_t *document = NULL;
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    if (file_read(path, MAX_FILE_BYTES, &content, NULL, NULL) != 0)
        return NULL;
    if (json_guard_load(content.data, content.length_bytes, &document, NULL) != 0)
        document = NULL;
    text_fini(&content);
    return document;
}

/* Takes the reference, NULL when out of memory. */
static int save_upgrade_file(
    const char *state_dir, const char *name, json_t *document, struct error *error)
{
    char *bytes = json_write(document);
    json_decref(document);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for %s", name);
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = dir_fd >= 0 ? file_replace(dir_fd, name, bytes, strlen(bytes), true, error)
                             : error_set_errno(error, ERROR_SYSTEM, errno,
                                   "cannot open STATE_DIR %s", state_dir);
    if (dir_fd >= 0)
        close(dir_fd);
    free(bytes);
    return result;
}

static void remove_upgrade_file(const char *state_dir, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    unlink(path);
}

/* A text of the record; "" if it is absent. */
static void read_version(
    const json_t *document, const char *key, char version[static VERSION_BYTES])
{
    const char *text = json_guard_string(document, key);
    text_copy(version, VERSION_BYTES, text != NULL ? text : "");
}

void upgrade_record_load(const char *state_dir, struct upgrade_record *record)
{
    json_t *document = load_upgrade_file(state_dir, record_name);
    *record = (struct upgrade_record){0};
    if (json_guard_string(document, "fromOpenclaw") != NULL &&
        json_guard_string(document, "fromRuntime") != NULL &&
        json_guard_time_ms(document, "initiatedAt", 1, &record->initiated_at_ms)) {
        read_version(document, "fromOpenclaw", record->from_openclaw);
        read_version(document, "fromRuntime", record->from_runtime);
        read_version(document, "toOpenclaw", record->to_openclaw);
        read_version(document, "toRuntime", record->to_runtime);
    }
    json_decref(document);
}

int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *record, struct error *error)
{
    return save_upgrade_file(state_dir, record_name,
        json_pack("{s:I, s:s, s:s, s:s, s:s}", "initiatedAt", (json_int_t)record->initiated_at_ms,
            "fromOpenclaw", record->from_openclaw, "fromRuntime", record->from_runtime,
            "toOpenclaw", record->to_openclaw, "toRuntime", record->to_runtime),
        error);
}

int upgrade_request_save(
    const char *state_dir, const struct upgrade *upgrade, int64_t now_ms, struct error *error)
{
    remove_upgrade_file(state_dir, result_name);
    return save_upgrade_file(state_dir, request_name,
        json_pack("{s:I, s:I, s:s, s:s}", "initiatedAt", (json_int_t)upgrade->initiated_at_ms,
            "requestedAt", (json_int_t)now_ms, "targetOpenclawVersion", upgrade->openclaw,
            "targetRuntimeVersion", upgrade->runtime),
        error);
}

static enum installation_status read_installation_status(const json_t *document)
{
    static const char *const words[] = {
        [INSTALLATION_FAILED] = "failed",
        [INSTALLATION_ROLLED_BACK] = "rolled_back",
    };
    const char *status = json_guard_string(document, "status");
    for (int i = INSTALLATION_FAILED; status != NULL && i <= INSTALLATION_ROLLED_BACK; i++)
        if (strcmp(status, words[i]) == 0)
            return (enum installation_status)i;
    return INSTALLATION_NONE;
}

void installation_load(
    const char *state_dir, int64_t initiated_at_ms, struct installation *installation)
{
    json_t *document = load_upgrade_file(state_dir, result_name);
    const char *text = json_guard_string(document, "error");
    int64_t of_ms = 0;
    *installation = (struct installation){0};
    if (json_guard_time_ms(document, "initiatedAt", 1, &of_ms) && of_ms == initiated_at_ms) {
        installation->status = read_installation_status(document);
        if (text != NULL)
            text_quote(installation->error, sizeof installation->error, text, strlen(text));
    }
    json_decref(document);
}

void upgrade_files_remove(const char *state_dir)
{
    remove_upgrade_file(state_dir, request_name);
    remove_upgrade_file(state_dir, result_name);
}
