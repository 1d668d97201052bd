#include "base/process_stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Places in the line, counted from 1 (man 5 proc). */
enum {
    FIELD_STATE = 3,
    FIELD_GROUP = 5,
    FIELD_SESSION = 6,
    FIELD_THREADS = 20,
    FIELD_START_TICKS = 22,
    FIELD_VIRTUAL_BYTES = 23,
    FIELD_RESIDENT_PAGES = 24,
    FIELDS_READ = FIELD_RESIDENT_PAGES,
};

enum { LINE_BYTES = 1024, PATH_BYTES = sizeof "/proc/2147483647/statm" };

static bool read_number(const char **at, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(*at, &end, 10);
    bool read = end != *at && errno == 0;
    *at = end;
    return read;
}

bool process_stat_parse(const char *line, struct process_stat *stat)
{
    /* The name stands in brackets and may hold some itself. */
    const char *at = strrchr(line, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0' || at[3] != ' ')
        return false;
    int64_t numbers[FIELDS_READ + 1] = {0};
    stat->state = at[2];
    at += 3;
    for (int field = FIELD_STATE + 1; field <= FIELDS_READ; field++)
        if (!read_number(&at, &numbers[field]))
            return false;
    stat->group = (pid_t)numbers[FIELD_GROUP];
    stat->session = (pid_t)numbers[FIELD_SESSION];
    stat->threads = numbers[FIELD_THREADS];
    stat->start_ticks = numbers[FIELD_START_TICKS];
    stat->virtual_bytes = numbers[FIELD_VIRTUAL_BYTES];
    stat->resident_bytes = numbers[FIELD_RESIDENT_PAGES] * sysconf(_SC_PAGESIZE);
    return true;
}

/* Of what /proc did not give. What we may not read is no process of ours. */
static enum process_presence presence_after(int failure)
{
    bool is_short = failure == EMFILE || failure == ENFILE || failure == ENOMEM;
    return is_short ? PROCESS_UNKNOWN : PROCESS_GONE;
}

/* The line that is a file of the process; undefined unless that lives. */
static enum process_presence read_line(pid_t pid, const char *file, char line[static LINE_BYTES])
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return presence_after(errno);
    ssize_t length = read(fd, line, LINE_BYTES - 1);
    int failure = errno;
    close(fd);
    if (length <= 0)
        return length < 0 ? presence_after(failure) : PROCESS_GONE;
    line[length] = '\0';
    return PROCESS_LIVES;
}

enum process_presence process_stat_read(pid_t pid, struct process_stat *stat)
{
    char line[LINE_BYTES];
    enum process_presence presence = read_line(pid, "stat", line);
    if (presence == PROCESS_LIVES && !process_stat_parse(line, stat))
        return PROCESS_GONE;
    return presence;
}

int64_t process_resident_bytes(pid_t pid)
{
    char line[LINE_BYTES];
    const char *at = line;
    int64_t all_pages;
    int64_t resident_pages;
    if (read_line(pid, "statm", line) != PROCESS_LIVES || !read_number(&at, &all_pages) ||
        !read_number(&at, &resident_pages))
        return 0;
    return resident_pages * sysconf(_SC_PAGESIZE);
}

/* Whether the process of that name in /proc is one of the group. */
static enum process_presence look_at(const char *name, pid_t group, pid_t session)
{
    struct process_stat stat;
    char *end;
    long pid = strtol(name, &end, 10);
    if (pid <= 0 || pid > INT_MAX || *end != '\0')
        return PROCESS_GONE;
    enum process_presence presence = process_stat_read((pid_t)pid, &stat);
    if (presence != PROCESS_LIVES)
        return presence;
    bool is_member =
        stat.group == group && (session == PROCESS_ANY_SESSION || stat.session == session);
    return is_member && stat.state != 'Z' && stat.state != 'X' ? PROCESS_LIVES : PROCESS_GONE;
}

enum process_presence process_group_look(pid_t group, pid_t session)
{
    enum process_presence found = PROCESS_GONE;
    const struct dirent *entry;
    DIR *folder = opendir("/proc");
    if (folder == NULL)
        return PROCESS_UNKNOWN;
    while (found != PROCESS_LIVES && (entry = readdir(folder)) != NULL) {
        enum process_presence presence = look_at(entry->d_name, group, session);
        found = presence != PROCESS_GONE ? presence : found;
    }
    closedir(folder);
    return found;
}
