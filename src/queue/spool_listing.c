#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_replace.h"
#include "base/text.h"
#include "queue/spool.h"
#include "spool_folders.h"

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name);
    size_t ending_length = strlen(ending);
    return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

/* The id in a file's name, or false for a file that is no record. */
static bool id_of(const char *name, char id[static ID_BYTES])
{
    size_t length = strlen(name);
    size_t ending = sizeof SPOOL_SUFFIX - 1;
    if (!ends_with(name, SPOOL_SUFFIX) || length - ending >= ID_BYTES)
        return false;
    memcpy(id, name, length - ending);
    id[length - ending] = '\0';
    return id_is_valid(id);
}

/* A view of its own on a folder, from its start; NULL with *error. */
static DIR *open_listing(int folder_fd, struct error *error)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder != NULL)
        return folder;
    error_set_errno(error, ERROR_SYSTEM, errno, "the spool cannot be read");
    if (fd >= 0)
        close(fd);
    return NULL;
}

typedef int load_record(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);

static int each(struct spool *spool, int folder_fd, load_record *load, spool_found *found,
    void *context, struct error *error)
{
    DIR *folder = open_listing(folder_fd, error);
    if (folder == NULL)
        return ERROR_SYSTEM;
    const struct dirent *file;
    int result = 0;
    while (result == 0 && (file = readdir(folder)) != NULL) {
        char id[ID_BYTES];
        struct spool_record record;
        struct error why;
        if (!spool->keeps_leftovers && ends_with(file->d_name, SPOOL_SUFFIX FILE_REPLACE_SUFFIX))
            unlinkat(folder_fd, file->d_name, 0);
        if (!id_of(file->d_name, id))
            continue;
        int loaded = load(spool, id, &record, &why);
        text_copy(record.id, sizeof record.id, id);
        why.code = loaded;
        if (loaded == ERROR_NO_MEMORY)
            result = error_set(error, loaded, "%s", why.text);
        else if (loaded != ERROR_CLOSED)
            found(context, &record, loaded != 0 ? &why : NULL);
    }
    closedir(folder);
    return result;
}

int spool_each(struct spool *spool, spool_found *found, void *context, struct error *error)
{
    return each(spool, spool->folder_fd, spool_load, found, context, error);
}

int spool_each_dead(struct spool *spool, spool_found *found, void *context, struct error *error)
{
    return each(spool, spool->dead_fd, spool_load_dead, found, context, error);
}

/* Adds up the folder and finds its oldest record; *oldest is "" when there is none. */
static int survey(
    int folder_fd, struct spool_usage *usage, char oldest[static ID_BYTES], struct error *error)
{
    struct timespec oldest_time = {0};
    DIR *folder = open_listing(folder_fd, error);
    if (folder == NULL)
        return ERROR_SYSTEM;
    *usage = (struct spool_usage){0};
    oldest[0] = '\0';
    const struct dirent *file;
    while ((file = readdir(folder)) != NULL) {
        char id[ID_BYTES];
        struct stat status;
        if (!id_of(file->d_name, id) ||
            fstatat(folder_fd, file->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        usage->files++;
        usage->bytes += status.st_size;
        if (oldest[0] == '\0' || status.st_mtim.tv_sec < oldest_time.tv_sec ||
            (status.st_mtim.tv_sec == oldest_time.tv_sec &&
                status.st_mtim.tv_nsec < oldest_time.tv_nsec)) {
            oldest_time = status.st_mtim;
            text_copy(oldest, ID_BYTES, id);
        }
    }
    closedir(folder);
    return 0;
}

int spool_trim_dead(struct spool *spool, struct spool_usage *usage,
    void (*removed)(void *context, const char *id), void *context, struct error *error)
{
    char oldest[ID_BYTES];
    for (;;) {
        int result = survey(spool->dead_fd, usage, oldest, error);
        if (result != 0 || (usage->files <= SPOOL_DEAD_FILES && usage->bytes <= SPOOL_DEAD_BYTES))
            return result;
        result = spool_remove_dead(spool, oldest, error);
        /* Somebody else may have removed it meanwhile. */
        if (result != 0 && result != ERROR_CLOSED)
            return result;
        if (result == 0)
            removed(context, oldest);
    }
}
