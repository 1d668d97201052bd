/*
 * STATE_DIR/agent-runs.json keeps the counts over a restart:
 *
 *   {"version":1,
 *    "runs":[[id, runs, since, person, holder], ...],
 *    "messages":[[key, holder, since], ...]}
 *
 * with the members of struct run_tally, least recently used first. Ids need no escaping
 * (id_is_valid). Counts that are forgiven and pairs older than a day are left out, so the file is
 * small; it is replaced atomically but not synced, because its loss does no harm.
 *
 * The poller's thread writes the file now and then. The rows are copied under the lock, formatted
 * and written without it; meanwhile workers only mark the counts as changed. A file that is damaged
 * or not ours is logged at startup, ignored, and replaced by the next save.
 */
#include "delivery/agent_runs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"

static const char component[] = "Delivery";
static const char file_name[] = "agent-runs.json";

enum {
    FORMAT_VERSION = 1,
    MAX_FILE_BYTES = 8 * 1024 * 1024,
    SAVE_INTERVAL_MS = 1000,
    BYTES_PER_SECOND = 64 * 1024,
};

/* Writing. */

/* Copies what the file gets to rows: the counts, whose number is *counts, then the pairs. */
static size_t copy_rows_locked(
    struct agent_runs *runs, struct run_tally *rows, size_t capacity, size_t *counts)
{
    mutex_assert_held(&runs->lock);
    const struct lru_item *item;
    size_t total = 0;
    if (capacity < runs->counts.used + runs->pairs.used)
        atomic_store(&runs->changed, true);
    TAILQ_FOREACH (item, &runs->counts.order, in_order)
        if (total < capacity)
            rows[total++] = *CONTAINER_OF(item, struct run_tally, item);
    *counts = total;
    TAILQ_FOREACH (item, &runs->pairs.order, in_order)
        if (total < capacity)
            rows[total++] = *CONTAINER_OF(item, struct run_tally, item);
    return total;
}

static void format_rows(
    const struct run_tally *rows, size_t counts, size_t total, int64_t wall_ms, struct text *text)
{
    int64_t oldest_ms = wall_ms - AGENT_RUNS_HALF_MS;
    const char *separator = "";
    text_printf(text, "{\"version\":%d,\n\"runs\":[", FORMAT_VERSION);
    for (const struct run_tally *row = rows; row < rows + counts; row++) {
        if (row->runs == 0 && row->person_ms < oldest_ms)
            continue;
        text_printf(text, "%s\n[\"%s\",%u,%lld,%lld,\"%s\"]", separator, row->item.item.id,
            row->runs, (long long)row->since_ms, (long long)row->person_ms, row->holder);
        separator = ",";
    }
    text_append(text, "],\n\"messages\":[");
    separator = "";
    for (size_t i = counts; i < total; i++) {
        const struct run_tally *row = &rows[i];
        if (row->since_ms < oldest_ms)
            continue;
        text_printf(text, "%s\n[\"%s\",\"%s\",%lld]", separator, row->item.item.id, row->holder,
            (long long)row->since_ms);
        separator = ",";
    }
    text_append(text, "]}\n");
}

/* Copies the rows, as copy_rows_locked, into an array for the caller to free; NULL without memory.
 */
static struct run_tally *copy_rows(struct agent_runs *runs, size_t *total, size_t *counts)
{
    mutex_lock(&runs->lock);
    size_t capacity = runs->counts.used + runs->pairs.used;
    mutex_unlock(&runs->lock);
    struct run_tally *rows = calloc(capacity + 1, sizeof *rows);
    if (rows == NULL)
        return NULL;
    mutex_lock(&runs->lock);
    *total = copy_rows_locked(runs, rows, capacity, counts);
    mutex_unlock(&runs->lock);
    return rows;
}

void agent_runs_save(struct agent_runs *runs, int64_t monotonic_ms, bool now)
{
    struct error error;
    struct text text = {0};
    size_t total = 0;
    size_t counts = 0;
    bool due = now || monotonic_ms >= runs->next_save_ms;
    if (runs->dir_fd < 0 || !due || !atomic_exchange(&runs->changed, false))
        return;
    struct run_tally *rows = copy_rows(runs, &total, &counts);
    if (rows != NULL)
        format_rows(rows, counts, total, clock_wall_ms(), &text);
    int result = 0;
    if (rows == NULL || text.failed)
        result = error_set(&error, ERROR_NO_MEMORY, "no memory to save the counts of agent runs");
    else
        result = file_replace(runs->dir_fd, file_name, text.data, text.length_bytes, false, &error);
    if (result != 0)
        atomic_store(&runs->changed, true);
    if (result != 0 && !runs->broken)
        log_warn(
            component, "%s; a restart would forget how many runs agents have caused", error.text);
    runs->broken = result != 0;
    runs->next_save_ms =
        monotonic_ms + SAVE_INTERVAL_MS + (int64_t)text.length_bytes * 1000 / BYTES_PER_SECOND;
    free(rows);
    text_fini(&text);
}

/* Reading. */

static bool read_id(const json_t *row, size_t index, bool may_be_empty, char id[static ID_BYTES])
{
    const char *text = json_string_value(json_array_get(row, index));
    if (text == NULL || !(id_is_valid(text) || (may_be_empty && text[0] == '\0')))
        return false;
    return text_copy(id, ID_BYTES, text);
}

static bool read_time(const json_t *row, size_t index, int64_t *time_ms)
{
    enum { MAX_DAYS = 100 * 1000 * 1000 }; /* the latest JavaScript date */
    double number;
    if (!json_guard_number(json_array_get(row, index), 0, MAX_DAYS * 86400000.0, &number))
        return false;
    *time_ms = (int64_t)number;
    return true;
}

static bool read_count(const json_t *row, struct run_tally *read)
{
    double number;
    if (!json_guard_number(json_array_get(row, 1), 0, INT_MAX, &number))
        return false;
    read->runs = (unsigned)number;
    return read_id(row, 0, false, read->item.item.id) && read_time(row, 2, &read->since_ms) &&
           read_time(row, 3, &read->person_ms) && read_id(row, 4, true, read->holder);
}

static bool read_pair(const json_t *row, struct run_tally *read)
{
    return read_id(row, 0, false, read->item.item.id) && read_id(row, 1, false, read->holder) &&
           read_time(row, 2, &read->since_ms);
}

/* Reads the rows into lru, or with NULL only checks them. False if one of them is damaged. */
static bool read_rows(
    const json_t *rows, bool (*read_row)(const json_t *, struct run_tally *), struct id_lru *lru)
{
    size_t index;
    const json_t *row;
    json_array_foreach (rows, index, row) {
        struct run_tally read = {0};
        if (!read_row(row, &read))
            return false;
        if (lru == NULL)
            continue;
        struct run_tally *tally = id_lru_use(lru, read.item.item.id);
        tally->runs = read.runs;
        tally->since_ms = read.since_ms;
        tally->person_ms = read.person_ms;
        text_copy(tally->holder, sizeof tally->holder, read.holder);
    }
    return json_is_array(rows);
}

/* Takes all of the document or nothing. */
static bool read_document(struct agent_runs *runs, const json_t *document)
{
    const json_t *counts = json_object_get(document, "runs");
    const json_t *pairs = json_object_get(document, "messages");
    if (json_number_value(json_object_get(document, "version")) != FORMAT_VERSION)
        return false;
    if (!read_rows(counts, read_count, NULL) || !read_rows(pairs, read_pair, NULL))
        return false;
    read_rows(counts, read_count, &runs->counts);
    read_rows(pairs, read_pair, &runs->pairs);
    return true;
}

void agent_runs_load(struct agent_runs *runs, const char *state_dir)
{
    char path[PATH_MAX];
    struct error error = {0};
    struct text content;
    json_t *document = NULL;
    if (runs->dir_fd < 0 || faccessat(runs->dir_fd, file_name, F_OK, 0) != 0)
        return;
    snprintf(path, sizeof path, "%s/%s", state_dir, file_name);
    int result = file_read(path, MAX_FILE_BYTES, &content, NULL, &error);
    if (result == 0) {
        result = json_guard_load(content.data, content.length_bytes, &document, &error);
        text_fini(&content);
    }
    if (result == 0 && !read_document(runs, document))
        error_set(&error, ERROR_INVALID, "not in the format of this release");
    if (error.code != 0)
        log_warn(
            component, "cannot use %s: %s; agent runs are counted from zero", path, error.text);
    json_decref(document);
}
