#include "base/metrics.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

static const char other[] = "other";
static const char unnamed[] = "unknown";

static size_t cells_of_series(const struct metric_family *family)
{
    return family->type == METRIC_HISTOGRAM ? family->bound_count + 2 : 1;
}

static size_t value_count(const struct metric_label *label)
{
    if (label->name == NULL)
        return 1;
    return label->values != NULL ? label->count : METRICS_AGENTS + 1;
}

size_t metrics_series_count(enum metric metric)
{
    size_t count = 1;
    for (size_t i = 0; i < METRIC_LABELS; i++)
        count *= value_count(&metric_families[metric].labels[i]);
    return count;
}

void metrics_init(struct metrics *metrics)
{
    size_t cells = 0;
    memset(metrics, 0, sizeof *metrics);
    mutex_init(&metrics->lock);
    for (int metric = 0; metric < METRICS; metric++) {
        metrics->first[metric] = cells;
        cells +=
            metrics_series_count((enum metric)metric) * cells_of_series(&metric_families[metric]);
    }
    assert(cells <= METRICS_CELLS);
    atomic_store(&metrics->cells[metrics->first[METRIC_BUILD_INFO]], 1);
}

void metrics_fini(struct metrics *metrics)
{
    mutex_fini(&metrics->lock);
}

/* Returns count when there is none. */
static size_t find_agent(const struct metrics *metrics, size_t count, const char *slug)
{
    size_t place = 0;
    while (place < count && strcmp(metrics->slugs[place], slug) != 0)
        place++;
    return place;
}

static size_t add_agent(struct metrics *metrics, const char *slug)
{
    mutex_lock(&metrics->lock);
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_relaxed);
    size_t place = find_agent(metrics, count, slug);
    if (place == count && count < METRICS_AGENTS) {
        text_copy(metrics->slugs[place], ID_BYTES, slug);
        /* Who sees the number sees the slug. */
        atomic_store_explicit(&metrics->agents, count + 1, memory_order_release);
    }
    mutex_unlock(&metrics->lock);
    return place;
}

/* METRICS_AGENTS for those that have no place of their own. */
static size_t place_of_agent(struct metrics *metrics, const char *slug)
{
    char known[ID_BYTES];
    text_copy(known, sizeof known, slug[0] != '\0' ? slug : unnamed);
    if (strcmp(known, other) == 0)
        return METRICS_AGENTS;
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_acquire);
    size_t place = find_agent(metrics, count, known);
    return place < count || count == METRICS_AGENTS ? place : add_agent(metrics, known);
}

static size_t place_of_value(
    struct metrics *metrics, const struct metric_label *label, const char *value)
{
    assert((value == NULL) == (label->name == NULL));
    if (value == NULL)
        return 0;
    if (label->values == NULL)
        return place_of_agent(metrics, value);
    size_t place = 0;
    while (place + 1 < label->count && strcmp(label->values[place], value) != 0)
        place++;
    return place;
}

static atomic_llong *cells_of(
    struct metrics *metrics, enum metric metric, const char *first, const char *second)
{
    const struct metric_family *family = &metric_families[metric];
    size_t series = place_of_value(metrics, &family->labels[0], first);
    series = series * value_count(&family->labels[1]) +
             place_of_value(metrics, &family->labels[1], second);
    return &metrics->cells[metrics->first[metric] + series * cells_of_series(family)];
}

static void add_to(atomic_llong *cell, int64_t number)
{
    atomic_fetch_add_explicit(cell, number, memory_order_relaxed);
}

void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
    int64_t number)
{
    assert(metric_families[metric].type == METRIC_COUNTER);
    add_to(cells_of(metrics, metric, first, second), number);
}

void metrics_set(struct metrics *metrics, enum metric metric, const char *first, int64_t number)
{
    assert(metric_families[metric].type != METRIC_HISTOGRAM);
    atomic_store_explicit(cells_of(metrics, metric, first, NULL), number, memory_order_relaxed);
}

void metrics_observe(
    struct metrics *metrics, enum metric metric, const char *first, int64_t duration_us)
{
    const struct metric_family *family = &metric_families[metric];
    assert(family->type == METRIC_HISTOGRAM);
    atomic_llong *cells = cells_of(metrics, metric, first, NULL);
    size_t bucket = 0;
    while (bucket < family->bound_count && duration_us > family->bounds_us[bucket])
        bucket++;
    add_to(&cells[bucket], 1);
    add_to(&cells[family->bound_count + 1], duration_us > 0 ? duration_us : 0);
}

int64_t metrics_cell(const struct metrics *metrics, enum metric metric, size_t series, size_t cell)
{
    size_t start = metrics->first[metric] + series * cells_of_series(&metric_families[metric]);
    return atomic_load_explicit(&metrics->cells[start + cell], memory_order_relaxed);
}

int64_t metrics_total(const struct metrics *metrics, enum metric metric)
{
    int64_t total = 0;
    size_t count = metrics_series_count(metric);
    for (size_t series = 0; series < count; series++)
        total += metrics_cell(metrics, metric, series, 0);
    return total;
}

static const char *agent_at(const struct metrics *metrics, size_t place)
{
    size_t count = atomic_load_explicit(&metrics->agents, memory_order_acquire);
    if (place < count)
        return metrics->slugs[place];
    return place == METRICS_AGENTS ? other : NULL;
}

const char *metrics_label_value(
    const struct metrics *metrics, enum metric metric, size_t series, size_t label)
{
    const struct metric_label *labels = metric_families[metric].labels;
    size_t seconds = value_count(&labels[1]);
    size_t place = label == 0 ? series / seconds : series % seconds;
    if (labels[label].values != NULL)
        return labels[label].values[place];
    return agent_at(metrics, place);
}
