#include "serve/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/process_stat.h"

enum { MICROSECONDS = 1000 * 1000 };

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * MICROSECONDS + time.tv_usec;
}

static void update_cpu(struct metrics *metrics)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics_set(metrics, METRIC_PROCESS_CPU, NULL,
            microseconds(usage.ru_utime) + microseconds(usage.ru_stime));
}

static int64_t limit_of(const struct rlimit *limit)
{
    return limit->rlim_cur == RLIM_INFINITY ? -1 : (int64_t)limit->rlim_cur;
}

static void update_limits(struct metrics *metrics)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_set(metrics, METRIC_PROCESS_MAX_FDS, NULL, limit_of(&limit));
    if (getrlimit(RLIMIT_AS, &limit) == 0)
        metrics_set(metrics, METRIC_PROCESS_VIRTUAL_MAX_BYTES, NULL, limit_of(&limit));
}

/* Without the descriptor that the listing itself needs. */
static void update_open_fds(struct metrics *metrics)
{
    DIR *folder = opendir("/proc/self/fd");
    int64_t count = -1;
    if (folder == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.' ? 1 : 0;
    closedir(folder);
    metrics_set(metrics, METRIC_PROCESS_OPEN_FDS, NULL, count);
}

/* In Unix time; 0 when the clocks cannot be read. */
static int64_t start_time_us(int64_t start_ticks)
{
    struct timespec now;
    struct timespec since_start;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &since_start) != 0)
        return 0;
    int64_t boot_us = (int64_t)(now.tv_sec - since_start.tv_sec) * MICROSECONDS +
                      (now.tv_nsec - since_start.tv_nsec) / 1000;
    return boot_us + start_ticks * (MICROSECONDS / sysconf(_SC_CLK_TCK));
}

static void update_stat(struct metrics *metrics)
{
    struct process_stat stat;
    if (process_stat_read(getpid(), &stat) != PROCESS_LIVES)
        return;
    metrics_set(metrics, METRIC_PROCESS_THREADS, NULL, stat.threads);
    metrics_set(metrics, METRIC_PROCESS_VIRTUAL_BYTES, NULL, stat.virtual_bytes);
    metrics_set(metrics, METRIC_PROCESS_RESIDENT_BYTES, NULL, stat.resident_bytes);
    /* Once: a clock that is set later does not change when the process began. */
    if (metrics_cell(metrics, METRIC_PROCESS_START_TIME, 0, 0) == 0)
        metrics_set(metrics, METRIC_PROCESS_START_TIME, NULL, start_time_us(stat.start_ticks));
}

void process_metrics_update(struct metrics *metrics)
{
    update_cpu(metrics);
    update_limits(metrics);
    update_open_fds(metrics);
    update_stat(metrics);
}
