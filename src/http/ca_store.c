/*
 * One X509_STORE for all TLS connections. libcurl on its own would parse the system's whole bundle
 * for each connection: 28 ms and a MiB, for the two issuers that actually occur. A store that is
 * pointed at the system's certificate directory instead looks up each issuer by hash when it first
 * occurs and keeps it.
 *
 * That is only correct if the directory holds the same authorities as the bundle, which is what
 * verification would otherwise use. ca_dir_matches_bundle compares their total sizes, which differ
 * as soon as an operator has added authorities to one of them; then the bundle is read.
 */
#include "http/ca_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

struct ca_store {
    X509_STORE *authorities;
};

/* As OpenSSL does: the environment overrides the built-in path. */
static const char *ca_find_path(const char *variable, const char *built_in)
{
    const char *path = getenv(variable);
    return path != NULL ? path : built_in;
}

static void ca_add_system_authorities(X509_STORE *authorities)
{
    const char *dir = ca_find_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
    const char *bundle =
        ca_find_path(X509_get_default_cert_file_env(), X509_get_default_cert_file());
    if (!ca_dir_matches_bundle(dir, bundle) || X509_STORE_load_path(authorities, dir) != 1)
        X509_STORE_set_default_paths(authorities);
}

/* OpenSSL does not tell a file without certificates from one that we may not read. */
static int refuse_ca_file(const char *ca_file, struct error *error)
{
    int fd = open(ca_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot read CA_FILE %s", ca_file);
    close(fd);
    return error_set(
        error, ERROR_INVALID, "CA_FILE %s: unreadable, or contains no PEM certificate", ca_file);
}

int ca_store_create(struct ca_store **store, const char *ca_file, struct error *error)
{
    struct ca_store *created = malloc(sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory creating the certificate store");
    created->authorities = X509_STORE_new();
    if (created->authorities == NULL) {
        free(created);
        return error_set(error, ERROR_NO_MEMORY, "out of memory creating the certificate store");
    }
    ca_add_system_authorities(created->authorities);
    if (ca_file != NULL && X509_STORE_load_file(created->authorities, ca_file) != 1) {
        ca_store_destroy(created);
        ERR_clear_error();
        return refuse_ca_file(ca_file, error);
    }
    /* Probing paths leaves errors in OpenSSL's queue, where libcurl would find them. */
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

/* As "openssl rehash" names certificates; revocation lists have an r after the dot. */
static bool ca_is_hashed_name(const char *name)
{
    const char *number = name + HASH_DIGITS + 1;
    return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
           number[0] != '\0' && strspn(number, TEXT_DIGITS) == strlen(number);
}

/* The total size of the certificates; 0 if there are none or the directory cannot be read. */
static off_t ca_dir_size(const char *path)
{
    off_t bytes = 0;
    struct stat found;
    const struct dirent *entry;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread uses this DIR */
    while ((entry = readdir(dir)) != NULL)
        if (ca_is_hashed_name(entry->d_name) &&
            fstatat(dirfd(dir), entry->d_name, &found, 0) == 0 && S_ISREG(found.st_mode))
            bytes += found.st_size;
    closedir(dir);
    return bytes;
}

bool ca_dir_matches_bundle(const char *dir, const char *bundle)
{
    struct stat found;
    if (stat(bundle, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size == 0)
        return false;
    return ca_dir_size(dir) == found.st_size;
}
