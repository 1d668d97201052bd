/*
 * `spool list` and `spool show`: read the records of spool/ and dead/ and lay them out as a table,
 * in full, or as JSON. They run beside a live runtime without its lock, so a record may move or
 * vanish meanwhile: spool/ is read before dead/, and a record that was moved is seen twice rather
 * than not at all. A damaged record, or one of a newer release, is shown by its id alone.
 *
 * Replies are an agent's text. On a terminal their control characters are escaped, so that a reply
 * cannot move the cursor or change the terminal; a pipe gets them unchanged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/sync.h"
#include "cli/cli.h"

/* A record as it is shown. */
struct row {
    bool dead;                  /* in dead/ rather than spool/ */
    enum error_code unreadable; /* 0, or why only its id is known */
    bool replied;
    size_t reply_bytes;
    struct spool_record record; /* without its reply in a list, which may hold thousands of rows */
};

struct table {
    struct row *rows;
    size_t count;
    size_t capacity;
    bool dead; /* the directory being read is dead/ */
    bool failed;
    /* Of the columns that vary in width, once they are measured. */
    int id_width;
    int agent_width;
    int state_width;
};

static struct row make_row(const struct spool_record *record, bool dead, enum error_code unreadable)
{
    return (struct row){
        .dead = dead,
        .unreadable = unreadable,
        .replied = record->reply != NULL,
        .reply_bytes = record->reply != NULL ? strlen(record->reply) : 0,
        .record = *record,
    };
}

static const char *row_dir(const struct row *row)
{
    return row->dead ? "dead" : "spool";
}

/* The words of the JSON form as well. */
static const char *row_state(const struct row *row)
{
    if (row->unreadable != 0)
        return row->unreadable == ERROR_NEWER ? "newer release" : "damaged";
    if (row->replied)
        return "replied";
    if (row->record.is_wake_up)
        return "waking";
    return row->dead ? "given up" : "asking";
}

/* A spool_found callback. One failed allocation makes the whole list fail: it must not look
 * complete. */
static void add_row(void *context, struct spool_record *record, const struct error *why)
{
    struct table *table = context;
    struct row row = make_row(record, table->dead, why != NULL ? why->code : 0);
    spool_record_fini(record);
    row.record.reply = NULL;
    row.record.rounds = NULL;
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
        struct row *rows = reallocarray(table->rows, capacity, sizeof *rows);
        table->failed = table->failed || rows == NULL;
        if (rows == NULL)
            return;
        table->rows = rows;
        table->capacity = capacity;
    }
    table->rows[table->count++] = row;
}

/* spool/ first, so that a record that moves to dead/ meanwhile is seen at least once. */
static int read_table(struct spool *spool, struct table *table, struct error *error)
{
    int result = spool_each(spool, add_row, table, error);
    table->dead = true;
    if (result == 0)
        result = spool_each_dead(spool, add_row, table, error);
    if (result == 0 && table->failed)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for the list");
    return result;
}

/* By directory, then by age; records whose age is unknown (0) come first. */
static int compare_rows(const void *one, const void *other)
{
    const struct row *left = one;
    const struct row *right = other;
    if (left->dead != right->dead)
        return left->dead ? 1 : -1;
    if (left->record.created_at_ms != right->record.created_at_ms)
        return left->record.created_at_ms < right->record.created_at_ms ? -1 : 1;
    return strcmp(left->record.id, right->record.id);
}

static json_t *row_as_json(const struct row *row)
{
    const struct spool_record *record = &row->record;
    if (row->unreadable != 0)
        return json_pack(
            "{s:s, s:s, s:s}", "where", row_dir(row), "id", record->id, "state", row_state(row));
    json_t *reply_bytes = row->replied ? json_integer((json_int_t)row->reply_bytes) : json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:s, s:o, s:s*}", "where",
        row_dir(row), "id", record->id, "state", row_state(row), "agent", record->agent_slug,
        "agentId", record->agent_id, "taskId", record->task_id, "createdAt",
        (json_int_t)record->created_at_ms, "runs", (int)record->runs, "failingMs",
        (json_int_t)record->failing_ms, "failure", record->failure, "replyBytes", reply_bytes,
        "reply", record->reply);
}

/* JSON escapes C0 control characters anyway; a terminal must not get those of C1 either. */
static void append_rows_as_json(
    struct text *text, const struct row *rows, size_t count, bool escape)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count && array != NULL; i++) {
        if (json_array_append_new(array, row_as_json(&rows[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    text_append_json(text, array, escape ? JSON_ENSURE_ASCII : 0);
}

/* A field of a record quoted for one line; "-" when it is empty. */
static void quote_field(char quoted[static ID_BYTES], const char *field)
{
    text_quote(quoted, ID_BYTES, field, strlen(field));
    if (quoted[0] == '\0')
        text_copy(quoted, ID_BYTES, "-");
}

static void widen(int *width, const char *value)
{
    int bytes = (int)strlen(value);
    *width = bytes > *width ? bytes : *width;
}

static void measure_columns(struct table *table)
{
    table->id_width = (int)strlen("id");
    table->agent_width = (int)strlen("agent");
    table->state_width = (int)strlen("given up");
    for (size_t i = 0; i < table->count; i++) {
        char agent[ID_BYTES];
        quote_field(agent, table->rows[i].record.agent_slug);
        widen(&table->id_width, table->rows[i].record.id);
        widen(&table->agent_width, agent);
        widen(&table->state_width, row_state(&table->rows[i]));
    }
}

static void append_row(struct text *text, const struct row *row, const struct table *table)
{
    const struct spool_record *record = &row->record;
    char agent[ID_BYTES];
    char failure[ID_BYTES];
    char created[CLOCK_ISO_BYTES] = "-";
    char runs[16] = "-";
    char reply_bytes[24] = "-";
    quote_field(agent, record->agent_slug);
    quote_field(failure, record->failure);
    if (row->unreadable == 0) {
        clock_iso(record->created_at_ms, created);
        snprintf(runs, sizeof runs, "%u", record->runs);
    }
    if (row->replied)
        snprintf(reply_bytes, sizeof reply_bytes, "%zu", row->reply_bytes);
    text_printf(text, "%-5s  %-*s  %-*s  %-*s  %4s  %-24s  %11s  %s\n", row_dir(row),
        table->id_width, record->id, table->agent_width, agent, table->state_width, row_state(row),
        runs, created, reply_bytes, failure);
}

/* One line for each directory, also when it is empty. */
static void append_totals(struct text *text, const struct table *table, bool dead)
{
    size_t records = 0;
    size_t replied = 0;
    size_t waking = 0;
    size_t damaged = 0;
    size_t newer = 0;
    size_t reply_bytes = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];
        if (row->dead != dead)
            continue;
        records++;
        replied += row->replied;
        waking += row->unreadable == 0 && !row->replied && row->record.is_wake_up;
        newer += row->unreadable == ERROR_NEWER;
        damaged += row->unreadable != 0 && row->unreadable != ERROR_NEWER;
        reply_bytes += row->reply_bytes;
    }
    text_printf(text, "%s/: %zu record%s: %zu replied (%zu bytes), %zu %s, %zu damaged",
        dead ? "dead" : "spool", records, records == 1 ? "" : "s", replied, reply_bytes,
        records - replied - waking - damaged - newer, dead ? "given up" : "asking", damaged);
    if (waking > 0)
        text_printf(text, ", %zu waking", waking);
    if (newer > 0)
        text_printf(text, ", %zu of a newer release", newer);
    text_append(text, "\n");
}

static void append_table(struct text *text, struct table *table)
{
    measure_columns(table);
    if (table->count > 0)
        text_printf(text, "%-5s  %-*s  %-*s  %-*s  %4s  %-24s  %11s  %s\n", "where",
            table->id_width, "id", table->agent_width, "agent", table->state_width, "state", "runs",
            "created", "reply bytes", "last failure");
    for (size_t i = 0; i < table->count; i++)
        append_row(text, &table->rows[i], table);
    append_totals(text, table, false);
    append_totals(text, table, true);
}

int spool_list_records(struct spool *spool, const struct config *config,
    const struct arguments *arguments, struct text *text, struct error *error)
{
    (void)config;
    struct table table = {0};
    int result = read_table(spool, &table, error);
    if (result == 0 && table.count > 0)
        qsort(table.rows, table.count, sizeof *table.rows, compare_rows);
    if (result == 0 && arguments->json)
        append_rows_as_json(text, table.rows, table.count, isatty(STDOUT_FILENO) == 1);
    else if (result == 0)
        append_table(text, &table);
    free(table.rows);
    return result;
}

static void append_reply_text(struct text *text, const struct row *row, bool escape)
{
    const char *reply = row->record.reply;
    text_append(text, "\n");
    if (escape)
        text_append_visible(text, reply, row->reply_bytes);
    else
        text_append_bytes(text, reply, row->reply_bytes);
    /* The shell prompt should begin on a line of its own. */
    if (row->reply_bytes > 0 && reply[row->reply_bytes - 1] != '\n')
        text_append(text, "\n");
}

/* The reply comes last, because it may be long. */
static void append_details(struct text *text, const struct row *row, bool escape)
{
    const struct spool_record *record = &row->record;
    char slug[ID_BYTES];
    char agent[ID_BYTES];
    char task[ID_BYTES];
    char failure[ID_BYTES];
    char created[CLOCK_ISO_BYTES];
    quote_field(slug, record->agent_slug);
    quote_field(agent, record->agent_id);
    quote_field(task, record->task_id);
    quote_field(failure, record->failure);
    clock_iso(record->created_at_ms, created);
    text_printf(text,
        "agent:        %s (%s)\n"
        "task:         %s\n"
        "created:      %s\n"
        "runs:         %u\n"
        "failing for:  %" PRId64 " ms\n"
        "last failure: %s\n",
        slug, agent, task, created, record->runs, record->failing_ms, failure);
    if (!row->replied) {
        text_append(text, "reply:        none\n");
        return;
    }
    text_printf(text, "reply:        %zu bytes\n", row->reply_bytes);
    append_reply_text(text, row, escape);
}

static void append_record(const struct config *config, struct text *text, const struct row *row,
    const struct error *unreadable)
{
    text_printf(text,
        "id:           %s\n"
        "file:         %s/%s/%s.json\n"
        "state:        %s\n",
        row->record.id, config->state_dir, row_dir(row), row->record.id, row_state(row));
    if (row->unreadable != 0)
        text_printf(text, "%s       %s\n",
            row->unreadable == ERROR_NEWER ? "reason:" : "damage:", unreadable->text);
    else
        append_details(text, row, isatty(STDOUT_FILENO) == 1);
}

/* Loads a record from one of the two directories. A record that cannot be read is a row, not an
 * error. */
static int load_row(
    struct spool *spool, const char *id, bool dead, struct row *row, struct error *error)
{
    struct spool_record record;
    int result =
        dead ? spool_load_dead(spool, id, &record, error) : spool_load(spool, id, &record, error);
    if (result != 0 && result != ERROR_INVALID && result != ERROR_NEWER)
        return result;
    text_copy(record.id, sizeof record.id, id);
    *row = make_row(&record, dead, result);
    return 0;
}

int spool_show_record(struct spool *spool, const struct config *config,
    const struct arguments *arguments, struct text *text, struct error *error)
{
    const char *id = arguments->operands[1];
    struct row rows[2];
    size_t count = 0;
    int result = 0;
    for (int dead = 0; dead < 2 && result == 0; dead++) {
        int loaded = load_row(spool, id, dead != 0, &rows[count], error);
        if (loaded == 0 && !arguments->json) {
            text_append(text, count > 0 ? "\n" : "");
            append_record(config, text, &rows[count], error);
        }
        count += loaded == 0 ? 1 : 0;
        result = loaded == ERROR_CLOSED ? 0 : loaded;
    }
    if (result == 0 && count == 0)
        result = error_set(error, ERROR_CLOSED, "%s: no record in spool/ or dead/", id);
    else if (result == 0 && arguments->json)
        append_rows_as_json(text, rows, count, isatty(STDOUT_FILENO) == 1);
    for (size_t i = 0; i < count; i++)
        free(rows[i].record.reply);
    return result;
}
