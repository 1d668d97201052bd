/*
 * The table of metrics, docs/operations.md, the alert rules and the dashboard agree. Names are
 * found as words, wherever a file uses PromQL, so that a renamed or removed metric cannot stay in
 * an alert unnoticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/test_file.h"
#include "base/io.h"
#include "base/text.h"
#include "telemetry/metrics.h"

enum { WORD_BYTES = 256 };

static const char operations[] = "docs/operations.md";
static const char alerts[] = "deploy/prometheus/alerts.yml";
static const char recording_rules[] = "deploy/prometheus/recording-rules.yml";
static const char dashboard[] = "deploy/grafana/mission-control-runtime.json";

/* A label with a single value has that of this build, which is not documented. */
static void append_label(struct text *table, const struct metric_label *label)
{
    text_printf(table, "`%s`", label->name);
    for (size_t i = 0; label->count > 1 && i < label->count; i++)
        text_printf(table, "%s`%s`", i == 0 ? ": " : ", ", label->values[i]);
}

static void append_row(struct text *table, const struct metric_family *family)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    text_printf(table, "| `%s` | %s | %s |", family->name, types[family->type], family->help);
    for (size_t i = 0; i < METRIC_LABELS && family->labels[i].name != NULL; i++) {
        text_append(table, i == 0 ? " " : "; ");
        append_label(table, &family->labels[i]);
    }
    text_append(table, " |\n");
}

static void test_operations_document_every_metric(void **state)
{
    (void)state;
    char *docs = test_file_read(operations);
    struct text table = {0};
    text_append(&table, "| metric | type | meaning | labels |\n|---|---|---|---|\n");
    for (int metric = 0; metric < METRICS; metric++)
        append_row(&table, &metric_families[metric]);
    const char *found = strstr(docs, table.data);
    if (found == NULL) {
        fputs(table.data, stderr);
        fail_msg("%s must contain the table above", operations);
    }
    /* The documented table has no further row. */
    assert_int_equal(found[table.length_bytes], '\n');
    text_fini(&table);
    free(docs);
}

static void test_rows_are_complete(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRICS; metric++) {
        const struct metric_family *family = &metric_families[metric];
        assert_non_null(family->name);
        assert_non_null(family->help);
        assert_null(strpbrk(family->help, "|\n\\"));
        size_t length = strlen(family->name);
        bool total = length > 6 && strcmp(family->name + length - 6, "_total") == 0;
        assert_int_equal(total, family->type == METRIC_COUNTER);
        assert_int_equal(family->type == METRIC_HISTOGRAM, family->bounds_us != NULL);
        for (size_t i = 1; family->bounds_us != NULL && i < family->bound_count; i++)
            assert_true(family->bounds_us[i - 1] < family->bounds_us[i]);
    }
}

static bool ends_as_histogram(const char *word, size_t base_bytes)
{
    static const char *const endings[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (strcmp(word + base_bytes, endings[i]) == 0)
            return true;
    return false;
}

/* Whether a series of that name is exported. */
static bool is_series(const char *word)
{
    for (int metric = 0; metric < METRICS; metric++) {
        const struct metric_family *family = &metric_families[metric];
        size_t length = strlen(family->name);
        if (strncmp(word, family->name, length) != 0)
            continue;
        if (family->type == METRIC_HISTOGRAM ? ends_as_histogram(word, length)
                                             : word[length] == '\0')
            return true;
    }
    return false;
}

static bool is_family(const char *word)
{
    for (int metric = 0; metric < METRICS; metric++)
        if (strcmp(word, metric_families[metric].name) == 0)
            return true;
    return false;
}

static bool starts_with(const char *word, const char *beginning)
{
    return strncmp(word, beginning, strlen(beginning)) == 0;
}

/* Whether a name that looks like one of our metrics or recording rules exists. */
static bool is_known_name(const char *word, const char *rules, bool families)
{
    char definition[WORD_BYTES + 16];
    if (strstr(word, ":mission_control_") != NULL) {
        snprintf(definition, sizeof definition, "- record: %s\n", word);
        return strstr(rules, definition) != NULL;
    }
    if (!starts_with(word, "mission_control_") && !starts_with(word, "process_"))
        return true;
    return is_series(word) || (families && is_family(word));
}

/* Copies the next PromQL identifier; false at the end. */
static bool next_word(const char **at, char word[static WORD_BYTES])
{
    size_t length = 0;
    while (**at != '\0' && !isalpha((unsigned char)**at))
        (*at)++;
    while (isalnum((unsigned char)(*at)[length]) || (*at)[length] == '_' || (*at)[length] == ':')
        length++;
    snprintf(word, WORD_BYTES, "%.*s", (int)length, *at);
    *at += length;
    return length > 0;
}

/*
 * Fails unless every metric named in text exists; with families, a histogram's base name does as
 * well. Returns how many names of ours there are.
 */
static size_t count_known_names(const char *path, const char *text, bool families)
{
    char *rules = test_file_read(recording_rules);
    char word[WORD_BYTES];
    size_t count = 0;
    while (next_word(&text, word)) {
        if (!is_known_name(word, rules, families))
            fail_msg("%s names %s, which does not exist", path, word);
        count += strstr(word, "mission_control_") != NULL ? 1 : 0;
    }
    free(rules);
    return count;
}

static void test_rules_use_existing_metrics(void **state)
{
    (void)state;
    static const char *const paths[] = {
        recording_rules, alerts, "deploy/prometheus/rules-test.yml"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *text = test_file_read(paths[i]);
        assert_true(count_known_names(paths[i], text, false) > 5);
        free(text);
    }
}

static void test_operations_name_existing_metrics(void **state)
{
    (void)state;
    char *text = test_file_read(operations);
    assert_true(count_known_names(operations, text, true) > METRICS / 2);
    free(text);
}

/* Checks the queries of all panels, variables and annotations; returns the number of names. */
static size_t check_queries(const json_t *json)
{
    size_t count = 0;
    size_t index;
    const char *key;
    const json_t *value;
    json_array_foreach (json, index, value)
        count += check_queries(value);
    json_object_foreach ((json_t *)json, key, value) {
        bool query = strcmp(key, "expr") == 0 || strcmp(key, "query") == 0;
        const char *text = query ? json_string_value(value) : NULL;
        if (text != NULL && strcmp(text, "prometheus") != 0) {
            count += count_known_names(dashboard, text, false);
        }
        count += check_queries(value);
    }
    return count;
}

static void test_dashboard_uses_existing_metrics(void **state)
{
    (void)state;
    json_error_t error;
    json_t *json = json_load_file(dashboard, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s: line %d: %s", dashboard, error.line, error.text);
    assert_true(json_array_size(json_object_get(json, "panels")) > 10);
    assert_true(check_queries(json) > 20);
    json_decref(json);
}

/* Copies the name of the next alert and advances *at; false at the end. */
static bool next_alert(const char **at, char name[static WORD_BYTES])
{
    static const char before[] = "- alert: ";
    const char *found = strstr(*at, before);
    if (found == NULL)
        return false;
    *at = found + strlen(before);
    return next_word(at, name);
}

static void test_every_alert_has_a_runbook_and_a_test(void **state)
{
    (void)state;
    char *rules = test_file_read(alerts);
    char *docs = test_file_read(operations);
    char *tests = test_file_read("deploy/prometheus/rules-test.yml");
    const char *at = rules;
    char name[WORD_BYTES];
    char part[WORD_BYTES + 32];
    size_t count = 0;
    while (next_alert(&at, name)) {
        snprintf(part, sizeof part, "\n### %s\n", name);
        if (strstr(docs, part) == NULL)
            fail_msg("%s has no section %s", operations, name);
        snprintf(part, sizeof part, "alertname: %s\n", name);
        if (strstr(tests, part) == NULL)
            fail_msg("%s is not tested", name);
        for (char *letter = name; *letter != '\0'; letter++)
            *letter = (char)tolower((unsigned char)*letter);
        snprintf(part, sizeof part, "runbook: docs/operations.md#%s\n", name);
        if (strstr(rules, part) == NULL)
            fail_msg("no alert links to its section with %s", part);
        count++;
    }
    assert_true(count > 10);
    free(rules);
    free(docs);
    free(tests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete),
        cmocka_unit_test(test_operations_document_every_metric),
        cmocka_unit_test(test_operations_name_existing_metrics),
        cmocka_unit_test(test_rules_use_existing_metrics),
        cmocka_unit_test(test_dashboard_uses_existing_metrics),
        cmocka_unit_test(test_every_alert_has_a_runbook_and_a_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
