/*
 * Writing below a root in which agents work, who may put anything there: links to files of others,
 * folders in place of files, files that look like ours.
 *
 * Every folder is opened relative to the one above it, with O_NOFOLLOW, and has to be the runtime's
 * own; names are ours or have been checked to be single plain components. So no path leads out of
 * the root, whatever is renamed meanwhile. A file is written under a temporary name, which is
 * removed before and then created exclusively, so that nothing is written through a link, and
 * renamed over the name. One whose content must not be replaced is linked to its name instead,
 * which fails if the name exists. So, while the machine runs, nobody reads half a file.
 *
 * What a loss of power may take is what the board has: a file that is gone, empty or old then is
 * written again by the first sync after the start. So such files are not synced, which would be
 * thirteen waits for the disk for each new agent, nor is the first line of a memory, whose loss
 * leaves an empty file. Only what nobody can write again, or must not read in part before the
 * runtime has started, is saved (PROFILE_SAVE): the marker, and the gateway's list of agents.
 *
 * A file that already has the right content is not touched, unless it has a second name: the
 * gateway refuses hard links, and the other name may be another agent's.
 *
 * Whose a folder is stands in a marker file in it, since a slug may pass from one agent to another
 * and nobody is to inherit a memory. The table of markers is read once for each sync at most, when
 * an agent has no folder of its slug, and follows the renames made since.
 */
#include "agents/profile_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum { MAX_NAME_BYTES = 64, FOLDER_MODE = 0700, FILE_MODE = 0600, COMPARED_BYTES = 16384 };

static const char marker[] = ".mission-control-agent";

bool profile_name_is_safe(const char *name)
{
    size_t length = strspn(name, TEXT_LETTERS TEXT_DIGITS "_-");
    return length <= MAX_NAME_BYTES && name[length] == '\0' &&
           (text_is_letter(name[0]) || text_is_digit(name[0]));
}

/* path is made up to the byte at end, which is a slash or the end of it. */
static bool make_folder_up_to(char *path, char *end)
{
    char ending = *end;
    *end = '\0';
    bool made = mkdir(path, FOLDER_MODE) == 0 || errno == EEXIST;
    *end = ending;
    return made;
}

/* Failures show when the path is opened. */
static void make_root(const char *path)
{
    char copy[PATH_MAX];
    if (!text_copy(copy, sizeof copy, path))
        return;
    char *end = copy;
    do {
        end = strchrnul(end + 1, '/');
    } while (make_folder_up_to(copy, end) && *end != '\0');
}

int profile_root_open(const char *path, int *fd, struct error *error)
{
    static const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    *fd = open(path, flags);
    if (*fd < 0 && errno == ENOENT) {
        make_root(path);
        *fd = open(path, flags);
    }
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot open %s", path);
    return 0;
}

/* Whose a folder is that cannot be read is not known: for a moment, or until a person sees to it.
 */
static int code_of_unread(int failure)
{
    bool is_passing = failure == EMFILE || failure == ENFILE || failure == ENOMEM || failure == EIO;
    return is_passing ? ERROR_NO_MEMORY : ERROR_LOCKED;
}

/* *fd becomes -1 when there is nothing of that name. */
static int open_folder(int parent_fd, const char *name, int *fd, struct error *error)
{
    struct stat status;
    *fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT)
        return 0;
    if (*fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return error_set(error, ERROR_SYSTEM, "%s is not a folder", name);
    if (*fd < 0)
        return error_set_errno(
            error, code_of_unread(errno), errno, "cannot open the folder %s", name);
    if (fstat(*fd, &status) == 0 && status.st_uid == geteuid())
        return 0;
    close(*fd);
    *fd = -1;
    return error_set(error, ERROR_SYSTEM, "the folder %s belongs to another user", name);
}

int profile_folder_enter(int parent_fd, const char *name, int *fd, struct error *error)
{
    int result = open_folder(parent_fd, name, fd, error);
    if (result != 0 || *fd >= 0)
        return result;
    if (mkdirat(parent_fd, name, FOLDER_MODE) != 0 && errno != EEXIST)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot make the folder %s", name);
    result = open_folder(parent_fd, name, fd, error);
    if (result == 0 && *fd < 0)
        return error_set(error, ERROR_SYSTEM, "the folder %s vanished", name);
    return result;
}

/* A regular file of that name, open for reading, of which *status tells; -1 if there is none. */
static int open_file(int folder_fd, const char *name, struct stat *status)
{
    /* O_NONBLOCK: opening a FIFO without a writer would never return. */
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || (fstat(fd, status) == 0 && S_ISREG(status->st_mode)))
        return fd;
    close(fd);
    return -1;
}

static bool fd_holds(int fd, struct text_span content)
{
    char bytes[COMPARED_BYTES];
    size_t compared = 0;
    ssize_t count;
    while ((count = read(fd, bytes, sizeof bytes)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 || (size_t)count > content.length_bytes - compared ||
            memcmp(bytes, content.bytes + compared, (size_t)count) != 0)
            return false;
        compared += (size_t)count;
    }
    return compared == content.length_bytes;
}

static bool file_holds(int folder_fd, const char *name, struct text_span content)
{
    struct stat status;
    int fd = open_file(folder_fd, name, &status);
    if (fd < 0)
        return false;
    bool same = status.st_nlink == 1 && status.st_size == (off_t)content.length_bytes &&
                fd_holds(fd, content);
    close(fd);
    return same;
}

/* On failure errno says why, and the file may be there in part. */
static bool write_temporary(
    int folder_fd, const char *temporary, struct text_span content, bool is_synced)
{
    if (unlinkat(folder_fd, temporary, 0) != 0 && errno == EISDIR)
        unlinkat(folder_fd, temporary, AT_REMOVEDIR);
    int fd = openat(
        folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return false;
    bool written =
        fd_write(fd, content.bytes, content.length_bytes) && (!is_synced || fsync(fd) == 0);
    int failure = errno;
    /* A file system on a network may tell only here that it has no space. */
    if (close(fd) != 0 && written)
        return false;
    errno = failure;
    return written;
}

static bool give_name(int folder_fd, const char *temporary, const char *name, enum profile_put put)
{
    if (put != PROFILE_KEEP)
        return renameat(folder_fd, temporary, folder_fd, name) == 0;
    bool named = linkat(folder_fd, temporary, folder_fd, name, 0) == 0 || errno == EEXIST;
    return named && unlinkat(folder_fd, temporary, 0) == 0;
}

int profile_file_put(int folder_fd, const char *name, struct text_span content,
    enum profile_put put, bool *written, struct error *error)
{
    char temporary[NAME_MAX + 1];
    struct stat status;
    if (put == PROFILE_KEEP && fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (put != PROFILE_KEEP && file_holds(folder_fd, name, content))
        return 0;
    snprintf(temporary, sizeof temporary, "%s" FILE_REPLACE_SUFFIX, name);
    if (write_temporary(folder_fd, temporary, content, put == PROFILE_SAVE) &&
        give_name(folder_fd, temporary, name, put)) {
        if (written != NULL)
            *written = true;
        return 0;
    }
    int failure = errno;
    unlinkat(folder_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "cannot write %s", name);
}

/*
 * The id in the marker of a folder; "" when there is none, or none that can be one. ERROR_LOCKED or
 * ERROR_NO_MEMORY when it cannot be read, as the folder may be anybody's then.
 */
static int read_marker(int folder_fd, char id[static ID_BYTES], struct error *error)
{
    struct stat status;
    ssize_t count = 0;
    id[0] = '\0';
    bool is_there = fstatat(folder_fd, marker, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there && errno != ENOENT)
        return error_set_errno(error, code_of_unread(errno), errno, "cannot read %s", marker);
    if (is_there && S_ISREG(status.st_mode)) {
        int fd = open_file(folder_fd, marker, &status);
        count = fd >= 0 ? read(fd, id, ID_BYTES - 1) : -1;
        int failure = errno;
        if (fd >= 0)
            close(fd);
        if (count < 0)
            return error_set_errno(
                error, code_of_unread(failure), failure, "cannot read %s", marker);
    }
    id[count] = '\0';
    id[strcspn(id, "\n")] = '\0';
    if (!id_is_valid(id))
        id[0] = '\0';
    return 0;
}

static int write_marker(int folder_fd, const char *id, struct error *error)
{
    char line[ID_BYTES + 1];
    bool written = false;
    snprintf(line, sizeof line, "%s\n", id);
    int result = profile_file_put(
        folder_fd, marker, (struct text_span){line, strlen(line)}, PROFILE_SAVE, &written, error);
    /* Unlike what comes from the board it cannot be found out again. */
    if (result == 0 && written && fsync(folder_fd) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot write %s", marker);
    return result;
}

/* Folders that are not ours count as nobody's. */
static int add_folder(struct profile_folders *folders, const char *name, struct error *error)
{
    char id[ID_BYTES] = "";
    int fd;
    int result = name[0] == '.' ? ERROR_SYSTEM : open_folder(folders->root_fd, name, &fd, error);
    if (result != 0 || fd < 0)
        return result == ERROR_NO_MEMORY ? result : 0;
    result = read_marker(fd, id, error);
    close(fd);
    if (result == ERROR_LOCKED)
        result = 0;
    if (result == 0 && id[0] != '\0' &&
        json_object_set_new(folders->by_id, id, json_string(name)) != 0)
        result = error_set(error, ERROR_NO_MEMORY, "out of memory for the folders");
    return result;
}

static int list_folders(struct profile_folders *folders, struct error *error)
{
    int fd = openat(folders->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (listing == NULL) {
        int failure = errno;
        if (fd >= 0)
            close(fd);
        return error_set_errno(error, code_of_unread(failure), failure, "cannot list the folders");
    }
    const struct dirent *item;
    int result = 0;
    while (result == 0 && (errno = 0, item = readdir(listing)) != NULL)
        result = add_folder(folders, item->d_name, error);
    if (result == 0 && errno != 0)
        result = error_set_errno(error, ERROR_NO_MEMORY, errno, "cannot list the folders");
    closedir(listing);
    return result;
}

/* Without the whole table an agent could get an empty folder although it has one. */
static int read_folders(struct profile_folders *folders, struct error *error)
{
    if (folders->by_id != NULL)
        return 0;
    folders->by_id = json_object();
    int result = folders->by_id != NULL
                     ? list_folders(folders, error)
                     : error_set(error, ERROR_NO_MEMORY, "out of memory for the folders");
    if (result != 0) {
        json_decref(folders->by_id);
        folders->by_id = NULL;
    }
    return result;
}

void profile_folders_fini(struct profile_folders *folders)
{
    json_decref(folders->by_id);
    *folders = (struct profile_folders){.root_fd = -1};
}

static bool rename_folder(
    struct profile_folders *folders, const char *from, const char *to, const char *agent_id)
{
    /* A folder that is in the way is replaced only if it is empty. */
    if (renameat(folders->root_fd, from, folders->root_fd, to) != 0)
        return false;
    json_object_set_new(folders->by_id, agent_id, json_string(to));
    return fsync(folders->root_fd) == 0;
}

/* Moves the folder slug, which is open as fd, out of the way if it is another agent's. */
static int make_way(struct profile_folders *folders, const char *slug, const char *agent_id,
    int *fd, struct error *error)
{
    char owner[ID_BYTES];
    char parked[MAX_NAME_BYTES + ID_BYTES + 1];
    int result = read_marker(*fd, owner, error);
    if (result == 0 && (owner[0] == '\0' || strcmp(owner, agent_id) == 0))
        return 0;
    close(*fd);
    *fd = -1;
    if (result != 0)
        return result;
    snprintf(parked, sizeof parked, "%s.%s", slug, owner);
    result = read_folders(folders, error);
    if (result != 0)
        return result;
    if (rename_folder(folders, slug, parked, owner))
        return 0;
    return error_set_errno(error, ERROR_LOCKED, errno,
        "the folder is that of the agent with the id %s and cannot be renamed to %s", owner,
        parked);
}

int profile_folder_check(int root_fd, const char *name, const char *agent_id, struct error *error)
{
    char owner[ID_BYTES] = "";
    int fd;
    int result = open_folder(root_fd, name, &fd, error);
    if (result != 0)
        return result;
    if (fd >= 0) {
        result = read_marker(fd, owner, error);
        close(fd);
    }
    if (result == 0 && strcmp(owner, agent_id) != 0)
        result = error_set(error, ERROR_CLOSED, "%s is not the folder of this agent", name);
    return result;
}

/* Gives the folder that the agent has under another name that of slug, if there is one. */
static int bring_folder(
    struct profile_folders *folders, const char *slug, const char *agent_id, struct error *error)
{
    char from[NAME_MAX + 1];
    /* Until it has its folder it is not to begin another. */
    int result = read_folders(folders, error);
    if (result != 0)
        return result;
    const char *found = json_string_value(json_object_get(folders->by_id, agent_id));
    if (found == NULL || strcmp(found, slug) == 0 || !text_copy(from, sizeof from, found) ||
        profile_folder_check(folders->root_fd, from, agent_id, NULL) != 0)
        return 0;
    if (rename_folder(folders, from, slug, agent_id))
        return 0;
    return error_set_errno(error, ERROR_LOCKED, errno, "cannot rename the folder %s", from);
}

/* Opens the folder slug once no other agent has it. */
static int open_own_folder(struct profile_folders *folders, const char *slug, const char *agent_id,
    int *fd, struct error *error)
{
    int result = open_folder(folders->root_fd, slug, fd, error);
    if (result == 0 && *fd >= 0)
        result = make_way(folders, slug, agent_id, fd, error);
    if (result != 0 || *fd >= 0)
        return result;
    result = bring_folder(folders, slug, agent_id, error);
    if (result != 0)
        return result;
    return profile_folder_enter(folders->root_fd, slug, fd, error);
}

int profile_folder_claim(struct profile_folders *folders, const char *slug, const char *agent_id,
    int *fd, struct error *error)
{
    int result = open_own_folder(folders, slug, agent_id, fd, error);
    if (result != 0)
        return result;
    result = write_marker(*fd, agent_id, error);
    if (result != 0)
        close(*fd);
    return result;
}
