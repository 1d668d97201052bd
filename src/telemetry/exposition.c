/*
 * The body of /metrics in the Prometheus text format, version 0.0.4, written family by family from
 * the cells without a lock. A histogram's buckets become cumulative here, and its count is the sum
 * of the buckets just read, so both always agree. Series of agents that do not exist yet are
 * omitted; all others are written even if they are 0, so that rates have a start.
 *
 * The standard process_* metrics belong to the table as well. They are read from the kernel into
 * their cells right before a scrape; a value that cannot be read keeps its last one.
 *
 * Everything runs on the thread of the HTTP server.
 */
#include "telemetry/exposition.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"

static void exposition_append_escaped(struct text *text, const char *string, const char *reserved)
{
    for (const char *at = string; *at != '\0'; at++) {
        if (*at == '\n')
            text_append(text, "\\n");
        else if (strchr(reserved, *at) != NULL)
            text_printf(text, "\\%c", *at);
        else
            text_append_bytes(text, at, 1);
    }
}

void exposition_append_help(struct text *text, const char *help)
{
    exposition_append_escaped(text, help, "\\");
}

void exposition_append_label_value(struct text *text, const char *value)
{
    exposition_append_escaped(text, value, "\\\"");
}

/* *separator is '{' before the first label and ',' afterwards. */
static void exposition_append_label(
    struct text *text, char *separator, const char *name, const char *value)
{
    text_printf(text, "%c%s=\"", *separator, name);
    exposition_append_label_value(text, value);
    text_append(text, "\"");
    *separator = ',';
}

/* le is the upper bound of a bucket; NULL for everything else. */
static void exposition_append_labels(struct text *text, const struct metrics *metrics,
    enum metric metric, size_t series, const char *le)
{
    const struct metric_label *labels = metric_families[metric].labels;
    char separator = '{';
    for (size_t i = 0; i < METRIC_LABELS; i++)
        if (labels[i].name != NULL)
            exposition_append_label(
                text, &separator, labels[i].name, metrics_label_value(metrics, metric, series, i));
    if (le != NULL)
        exposition_append_label(text, &separator, "le", le);
    text_append(text, separator == ',' ? "} " : " ");
}

static void exposition_append_number(struct text *text, bool is_time, int64_t number)
{
    if (is_time)
        text_printf(text, "%.6f\n", (double)number / 1e6);
    else
        text_printf(text, "%lld\n", (long long)number);
}

static void exposition_append_value(
    struct text *text, const struct metrics *metrics, enum metric metric, size_t series)
{
    text_append(text, metric_families[metric].name);
    exposition_append_labels(text, metrics, metric, series, NULL);
    exposition_append_number(
        text, metric_families[metric].is_time, metrics_cell(metrics, metric, series, 0));
}

static void exposition_append_histogram(
    struct text *text, const struct metrics *metrics, enum metric metric, size_t series)
{
    const struct metric_family *family = &metric_families[metric];
    int64_t count = 0;
    for (size_t bucket = 0; bucket <= family->bound_count; bucket++) {
        char le[32] = "+Inf";
        if (bucket < family->bound_count)
            snprintf(le, sizeof le, "%g", (double)family->bounds_us[bucket] / 1e6);
        count += metrics_cell(metrics, metric, series, bucket);
        text_printf(text, "%s_bucket", family->name);
        exposition_append_labels(text, metrics, metric, series, le);
        exposition_append_number(text, false, count);
    }
    text_printf(text, "%s_sum", family->name);
    exposition_append_labels(text, metrics, metric, series, NULL);
    exposition_append_number(
        text, family->is_time, metrics_cell(metrics, metric, series, family->bound_count + 1));
    text_printf(text, "%s_count", family->name);
    exposition_append_labels(text, metrics, metric, series, NULL);
    exposition_append_number(text, false, count);
}

/* False for a series of a place that no agent has yet, or that is not the current one. */
static bool series_is_in_use(const struct metrics *metrics, enum metric metric, size_t series)
{
    const struct metric_label *labels = metric_families[metric].labels;
    if (metric_families[metric].only_current && metrics_cell(metrics, metric, series, 0) == 0)
        return false;
    for (size_t i = 0; i < METRIC_LABELS; i++)
        if (labels[i].name != NULL && metrics_label_value(metrics, metric, series, i) == NULL)
            return false;
    return true;
}

static void exposition_append_family(
    struct text *text, const struct metrics *metrics, enum metric metric)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    const struct metric_family *family = &metric_families[metric];
    size_t count = metrics_series_count(metric);
    text_printf(text, "# HELP %s ", family->name);
    exposition_append_help(text, family->help);
    text_printf(text, "\n# TYPE %s %s\n", family->name, types[family->type]);
    for (size_t series = 0; series < count; series++) {
        if (!series_is_in_use(metrics, metric, series))
            continue;
        if (family->type == METRIC_HISTOGRAM)
            exposition_append_histogram(text, metrics, metric, series);
        else
            exposition_append_value(text, metrics, metric, series);
    }
}

void exposition_append(struct text *text, const struct metrics *metrics)
{
    for (int metric = 0; metric < METRICS; metric++)
        exposition_append_family(text, metrics, (enum metric)metric);
}

enum { US_PER_S = 1000 * 1000 };

static int64_t timeval_us(struct timeval time)
{
    return (int64_t)time.tv_sec * US_PER_S + time.tv_usec;
}

static void process_update_cpu(struct metrics *metrics)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics_set(metrics, METRIC_PROCESS_CPU, NULL,
            timeval_us(usage.ru_utime) + timeval_us(usage.ru_stime));
}

static int64_t process_limit(const struct rlimit *limit)
{
    return limit->rlim_cur == RLIM_INFINITY ? -1 : (int64_t)limit->rlim_cur;
}

static void process_update_limits(struct metrics *metrics)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_set(metrics, METRIC_PROCESS_MAX_FDS, NULL, process_limit(&limit));
    if (getrlimit(RLIMIT_AS, &limit) == 0)
        metrics_set(metrics, METRIC_PROCESS_VIRTUAL_MAX_BYTES, NULL, process_limit(&limit));
}

/* Does not count the descriptor of the listing itself. */
static void process_update_open_fds(struct metrics *metrics)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t count = -1;
    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.' ? 1 : 0;
    closedir(dir);
    metrics_set(metrics, METRIC_PROCESS_OPEN_FDS, NULL, count);
}

/* In Unix time; 0 if the clocks cannot be read. */
static int64_t process_start_time_us(int64_t start_ticks)
{
    struct timespec now;
    struct timespec since_start;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &since_start) != 0)
        return 0;
    int64_t boot_us = (int64_t)(now.tv_sec - since_start.tv_sec) * US_PER_S +
                      (now.tv_nsec - since_start.tv_nsec) / 1000;
    return boot_us + start_ticks * (US_PER_S / sysconf(_SC_CLK_TCK));
}

static void process_update_stat(struct metrics *metrics)
{
    struct process_stat stat;
    if (process_stat_read(getpid(), &stat) != PROCESS_RUNNING)
        return;
    metrics_set(metrics, METRIC_PROCESS_THREADS, NULL, stat.threads);
    metrics_set(metrics, METRIC_PROCESS_VIRTUAL_BYTES, NULL, stat.virtual_bytes);
    metrics_set(metrics, METRIC_PROCESS_RESIDENT_BYTES, NULL, stat.resident_bytes);
    /* Computed once, so that setting the wall clock later does not move the start. */
    if (metrics_cell(metrics, METRIC_PROCESS_START_TIME, 0, 0) == 0)
        metrics_set(
            metrics, METRIC_PROCESS_START_TIME, NULL, process_start_time_us(stat.start_ticks));
}

void process_metrics_update(struct metrics *metrics)
{
    process_update_cpu(metrics);
    process_update_limits(metrics);
    process_update_open_fds(metrics);
    process_update_stat(metrics);
}
