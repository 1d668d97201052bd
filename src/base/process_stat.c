#include "base/process_stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Places in the line, counted from 1 (man 5 proc). */
enum { FIELD_STATE = 3, FIELD_GROUP = 5, FIELD_SESSION = 6, FIELD_START_TICKS = 22 };

enum { LINE_BYTES = 1024, PATH_BYTES = sizeof "/proc/2147483647/stat" };

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
    int64_t numbers[FIELD_START_TICKS + 1] = {0};
    stat->state = at[2];
    at += 3;
    for (int field = FIELD_STATE + 1; field <= FIELD_START_TICKS; field++)
        if (!read_number(&at, &numbers[field]))
            return false;
    stat->group = (pid_t)numbers[FIELD_GROUP];
    stat->session = (pid_t)numbers[FIELD_SESSION];
    stat->start_ticks = numbers[FIELD_START_TICKS];
    return true;
}

/* Of what /proc did not give. What we may not read is no process of ours. */
static enum process_presence presence_after(int failure)
{
    bool is_short = failure == EMFILE || failure == ENFILE || failure == ENOMEM;
    return is_short ? PROCESS_UNKNOWN : PROCESS_GONE;
}

enum process_presence process_stat_read(pid_t pid, struct process_stat *stat)
{
    char path[PATH_BYTES];
    char line[LINE_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return presence_after(errno);
    ssize_t length = read(fd, line, sizeof line - 1);
    int failure = errno;
    close(fd);
    if (length <= 0)
        return length < 0 ? presence_after(failure) : PROCESS_GONE;
    line[length] = '\0';
    return process_stat_parse(line, stat) ? PROCESS_LIVES : PROCESS_GONE;
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
