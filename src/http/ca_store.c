#include "http/ca_store.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * libcurl would parse the whole bundle for each connection. The system's directory is looked up by
 * hash instead, only for the issuers that really occur, and each is kept once.
 */
struct ca_store {
    X509_STORE *authorities;
};

/* As OpenSSL finds it: a variable comes before what is built in. */
static const char *find_path(const char *variable, const char *built_in)
{
    const char *path = getenv(variable);
    return path != NULL ? path : built_in;
}

/*
 * The whole bundle costs 28 ms and a MiB, for the two issuers that occur; so it is read only where
 * the directory is not made of the same.
 */
static void add_system_authorities(X509_STORE *authorities)
{
    const char *dir = find_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
    const char *bundle = find_path(X509_get_default_cert_file_env(), X509_get_default_cert_file());
    if (!ca_dir_is_readable(dir, bundle) || X509_STORE_load_path(authorities, dir) != 1)
        X509_STORE_set_default_paths(authorities);
}

int ca_store_create(struct ca_store **store, const char *ca_file, struct error *error)
{
    struct ca_store *created = malloc(sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the certificate store");
    created->authorities = X509_STORE_new();
    if (created->authorities == NULL) {
        free(created);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the certificate store");
    }
    add_system_authorities(created->authorities);
    if (ca_file != NULL && X509_STORE_load_file(created->authorities, ca_file) != 1) {
        ca_store_destroy(created);
        ERR_clear_error();
        return error_set(error, ERROR_INVALID,
            "CA_FILE %s: cannot be read, or holds no certificate in PEM form", ca_file);
    }
    ERR_clear_error();
    *store = created;
    return 0;
}

void ca_store_destroy(struct ca_store *store)
{
    if (store == NULL)
        return;
    X509_STORE_free(store->authorities);
    free(store);
}

void ca_store_attach(struct ca_store *store, void *ssl_context)
{
    SSL_CTX_set1_cert_store(ssl_context, store->authorities);
}

enum { HASH_DIGITS = 8 };

/* As c_rehash and "openssl rehash" name certificates; revocation lists have an r behind the dot. */
static bool is_hashed_name(const char *name)
{
    const char *number = name + HASH_DIGITS + 1;
    return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
           number[0] != '\0' && strspn(number, "0123456789") == strlen(number);
}

/* 0 when there are none, or the directory cannot be read. */
static off_t bytes_in_dir(const char *path)
{
    off_t bytes = 0;
    struct stat found;
    const struct dirent *entry;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread has this directory */
    while ((entry = readdir(dir)) != NULL)
        if (is_hashed_name(entry->d_name) && fstatat(dirfd(dir), entry->d_name, &found, 0) == 0 &&
            S_ISREG(found.st_mode))
            bytes += found.st_size;
    closedir(dir);
    return bytes;
}

bool ca_dir_is_readable(const char *dir, const char *bundle)
{
    struct stat found;
    if (stat(bundle, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size == 0)
        return false;
    return bytes_in_dir(dir) == found.st_size;
}
