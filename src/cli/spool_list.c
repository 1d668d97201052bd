#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/sync.h"
#include "cli/cli.h"

/* A record as it is shown; of a damaged one only the id is known. */
struct row {
    bool dead;
    bool damaged;
    bool replied;
    size_t reply_bytes;
    struct spool_record record; /* its reply is the row's only in show */
};

struct table {
    struct row *rows;
    size_t count;
    size_t capacity;
    bool dead; /* the directory that is being read */
    bool failed;
};

static struct row row_of(const struct spool_record *record, bool dead, bool damaged)
{
    return (struct row){
        .dead = dead,
        .damaged = damaged,
        .replied = !damaged && record->reply != NULL,
        .reply_bytes = !damaged && record->reply != NULL ? strlen(record->reply) : 0,
        .record = *record,
    };
}

static const char *place_of(const struct row *row)
{
    return row->dead ? "dead" : "spool";
}

static const char *state_of(const struct row *row)
{
    if (row->damaged)
        return "damaged";
    if (row->replied)
        return "replied";
    return row->dead ? "given up" : "asking";
}

static void take_row(void *context, struct spool_record *record, const struct error *why)
{
    struct table *table = context;
    struct row row = row_of(record, table->dead, why != NULL);
    free(record->reply);
    row.record.reply = NULL;
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

/* spool/ first: a record that moves on to dead/ meanwhile is then seen at least once. */
static int read_table(struct spool *spool, struct table *table, struct error *error)
{
    int result = spool_each(spool, take_row, table, error);
    table->dead = true;
    if (result == 0)
        result = spool_each_dead(spool, take_row, table, error);
    if (result == 0 && table->failed)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for the list");
    return result;
}

/* By directory, then by age; damaged ones, whose age is unknown, stand first. */
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

static json_t *json_row(const struct row *row)
{
    const struct spool_record *record = &row->record;
    if (row->damaged)
        return json_pack(
            "{s:s, s:s, s:s}", "where", place_of(row), "id", record->id, "state", state_of(row));
    json_t *reply_bytes = row->replied ? json_integer((json_int_t)row->reply_bytes) : json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:s, s:o, s:s*}", "where",
        place_of(row), "id", record->id, "state", state_of(row), "agent", record->agent_slug,
        "agentId", record->agent_id, "taskId", record->task_id, "createdAt",
        (json_int_t)record->created_at_ms, "runs", (int)record->runs, "failingMs",
        (json_int_t)record->failing_ms, "failure", record->failure, "replyBytes", reply_bytes,
        "reply", record->reply);
}

/* A terminal gets no control character of C1 either; JSON itself escapes the others. */
static int append_json(
    struct text *out, const struct row *rows, size_t count, bool visible, struct error *error)
{
    json_t *array = json_array();
    bool failed = array == NULL;
    for (size_t i = 0; i < count && !failed; i++)
        failed = json_array_append_new(array, json_row(&rows[i])) != 0;
    char *bytes =
        failed ? NULL : json_dumps(array, JSON_INDENT(2) | (visible ? JSON_ENSURE_ASCII : 0));
    json_decref(array);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the answer");
    text_append(out, bytes);
    text_append(out, "\n");
    free(bytes);
    return 0;
}

/* A field of a record made fit for one line; "-" when there is nothing in it. */
static void quote_field(char quoted[static ID_BYTES], const char *field)
{
    text_quote(quoted, ID_BYTES, field, strlen(field));
    if (quoted[0] == '\0')
        text_copy(quoted, ID_BYTES, "-");
}

struct widths {
    int id;
    int agent;
};

static struct widths measure(const struct table *table)
{
    struct widths widths = {.id = (int)strlen("id"), .agent = (int)strlen("agent")};
    for (size_t i = 0; i < table->count; i++) {
        char agent[ID_BYTES];
        quote_field(agent, table->rows[i].record.agent_slug);
        int id_bytes = (int)strlen(table->rows[i].record.id);
        int agent_bytes = (int)strlen(agent);
        widths.id = id_bytes > widths.id ? id_bytes : widths.id;
        widths.agent = agent_bytes > widths.agent ? agent_bytes : widths.agent;
    }
    return widths;
}

static void append_line(struct text *out, const struct row *row, struct widths widths)
{
    const struct spool_record *record = &row->record;
    char agent[ID_BYTES];
    char failure[ID_BYTES];
    char created[CLOCK_ISO_BYTES] = "-";
    char runs[16] = "-";
    char reply_bytes[24] = "-";
    quote_field(agent, record->agent_slug);
    quote_field(failure, record->failure);
    if (!row->damaged) {
        clock_iso(record->created_at_ms, created);
        snprintf(runs, sizeof runs, "%u", record->runs);
    }
    if (row->replied)
        snprintf(reply_bytes, sizeof reply_bytes, "%zu", row->reply_bytes);
    text_printf(out, "%-5s  %-*s  %-*s  %-8s  %4s  %-24s  %11s  %s\n", place_of(row), widths.id,
        record->id, widths.agent, agent, state_of(row), runs, created, reply_bytes, failure);
}

static void append_totals(struct text *out, const struct table *table, bool dead)
{
    size_t records = 0;
    size_t replied = 0;
    size_t damaged = 0;
    size_t reply_bytes = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];
        if (row->dead != dead)
            continue;
        records++;
        replied += row->replied;
        damaged += row->damaged;
        reply_bytes += row->reply_bytes;
    }
    text_printf(out, "%s/: %zu record%s: %zu replied (%zu bytes), %zu %s, %zu damaged\n",
        dead ? "dead" : "spool", records, records == 1 ? "" : "s", replied, reply_bytes,
        records - replied - damaged, dead ? "given up" : "asking", damaged);
}

static void append_table(struct text *out, const struct table *table)
{
    struct widths widths = measure(table);
    if (table->count > 0)
        text_printf(out, "%-5s  %-*s  %-*s  %-8s  %4s  %-24s  %11s  %s\n", "where", widths.id, "id",
            widths.agent, "agent", "state", "runs", "created", "reply bytes", "last failure");
    for (size_t i = 0; i < table->count; i++)
        append_line(out, &table->rows[i], widths);
    append_totals(out, table, false);
    append_totals(out, table, true);
}

int spool_listing_print(const struct spool_listing *look, struct text *out, struct error *error)
{
    struct table table = {0};
    int result = read_table(look->spool, &table, error);
    if (result == 0 && table.count > 0)
        qsort(table.rows, table.count, sizeof *table.rows, compare_rows);
    if (result == 0 && look->json)
        result = append_json(out, table.rows, table.count, look->visible, error);
    else if (result == 0)
        append_table(out, &table);
    free(table.rows);
    return result;
}

static void append_reply(struct text *out, const struct row *row, bool visible)
{
    const char *reply = row->record.reply;
    text_append(out, "\n");
    if (visible)
        text_append_visible(out, reply, row->reply_bytes);
    else
        text_append_bytes(out, reply, row->reply_bytes);
    if (row->reply_bytes > 0 && reply[row->reply_bytes - 1] != '\n')
        text_append(out, "\n");
}

static void append_record(struct text *out, const struct row *row, bool visible)
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
    text_printf(out,
        "agent:        %s (%s)\n"
        "task:         %s\n"
        "created:      %s\n"
        "runs:         %u\n"
        "failing for:  %" PRId64 " ms\n"
        "last failure: %s\n",
        slug, agent, task, created, record->runs, record->failing_ms, failure);
    if (!row->replied) {
        text_append(out, "reply:        none\n");
        return;
    }
    text_printf(out, "reply:        %zu bytes\n", row->reply_bytes);
    append_reply(out, row, visible);
}

static void append_shown(const struct spool_listing *look, struct text *out, const struct row *row,
    const struct error *damage)
{
    text_printf(out,
        "id:           %s\n"
        "file:         %s/%s/%s.json\n"
        "state:        %s\n",
        row->record.id, look->state_dir, place_of(row), row->record.id, state_of(row));
    if (row->damaged)
        text_printf(out, "damage:       %s\n", damage->text);
    else
        append_record(out, row, look->visible);
}

/* One directory's record of the id; *row is filled unless this fails. A damaged one is no failure.
 */
static int load_row(
    const struct spool_listing *look, bool dead, struct row *row, struct error *error)
{
    struct spool_record record;
    int result = dead ? spool_load_dead(look->spool, look->id, &record, error)
                      : spool_load(look->spool, look->id, &record, error);
    if (result != 0 && result != ERROR_INVALID)
        return result;
    text_copy(record.id, sizeof record.id, look->id);
    *row = row_of(&record, dead, result != 0);
    return 0;
}

int spool_listing_show(const struct spool_listing *look, struct text *out, struct error *error)
{
    struct row rows[2];
    size_t count = 0;
    int result = 0;
    for (int dead = 0; dead < 2 && result == 0; dead++) {
        int loaded = load_row(look, dead != 0, &rows[count], error);
        if (loaded == 0 && !look->json) {
            text_append(out, count > 0 ? "\n" : "");
            append_shown(look, out, &rows[count], error);
        }
        count += loaded == 0 ? 1 : 0;
        result = loaded == ERROR_CLOSED ? 0 : loaded;
    }
    if (result == 0 && count == 0)
        result =
            error_set(error, ERROR_CLOSED, "neither spool/ nor dead/ has a record of %s", look->id);
    else if (result == 0 && look->json)
        result = append_json(out, rows, count, look->visible, error);
    for (size_t i = 0; i < count; i++)
        free(rows[i].record.reply);
    return result;
}
