#include "remote/ca_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HASH_DIGITS = 8 };

/* As c_rehash and "openssl rehash" name certificates; revocation lists have an r behind the dot. */
static bool is_hashed_name(const char *name)
{
    const char *number = name + HASH_DIGITS + 1;
    return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
           number[0] != '\0' && strspn(number, "0123456789") == strlen(number);
}

static size_t count_in_folder(const char *path)
{
    size_t count = 0;
    const struct dirent *found;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread has this folder */
    while ((found = readdir(folder)) != NULL)
        if (is_hashed_name(found->d_name))
            count++;
    closedir(folder);
    return count;
}

static bool begins_certificate(const char *line)
{
    static const char plain[] = "-----BEGIN CERTIFICATE-----";
    static const char trusted[] = "-----BEGIN TRUSTED CERTIFICATE-----";
    static const char old[] = "-----BEGIN X509 CERTIFICATE-----";
    return strncmp(line, plain, sizeof plain - 1) == 0 ||
           strncmp(line, trusted, sizeof trusted - 1) == 0 ||
           strncmp(line, old, sizeof old - 1) == 0;
}

static size_t count_in_bundle(const char *path)
{
    size_t count = 0;
    char *line = NULL;
    size_t capacity_bytes = 0;
    FILE *bundle = fopen(path, "re");
    if (bundle == NULL)
        return 0;
    while (getline(&line, &capacity_bytes, bundle) >= 0)
        if (begins_certificate(line))
            count++;
    free(line);
    fclose(bundle);
    return count;
}

bool ca_folder_is_whole(const char *folder, const char *bundle)
{
    size_t in_bundle = count_in_bundle(bundle);
    return in_bundle > 0 && count_in_folder(folder) >= in_bundle;
}
