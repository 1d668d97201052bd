#include "remote/ca_folder.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { HASH_DIGITS = 8 };

/* As c_rehash and "openssl rehash" name certificates; revocation lists have an r behind the dot. */
static bool is_hashed_name(const char *name)
{
    const char *number = name + HASH_DIGITS + 1;
    return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
           number[0] != '\0' && strspn(number, "0123456789") == strlen(number);
}

/* 0 when there are none, or the folder cannot be read. */
static off_t bytes_in_folder(const char *path)
{
    off_t bytes = 0;
    struct stat found;
    const struct dirent *entry;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread has this folder */
    while ((entry = readdir(folder)) != NULL)
        if (is_hashed_name(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &found, 0) == 0 && S_ISREG(found.st_mode))
            bytes += found.st_size;
    closedir(folder);
    return bytes;
}

bool ca_folder_is_whole(const char *folder, const char *bundle)
{
    struct stat found;
    if (stat(bundle, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size == 0)
        return false;
    return bytes_in_folder(folder) == found.st_size;
}
