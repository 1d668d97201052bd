/* The certificate authorities that TLS connections trust, shared by all of them. */
#ifndef HTTP_CA_STORE_H
#define HTTP_CA_STORE_H

#include <stdbool.h>

#include "base/error.h"

struct ca_store;

/*
 * Creates a store of the system's authorities (OpenSSL's default file and directory, or
 * SSL_CERT_FILE and SSL_CERT_DIR; those in the directory are read on first use), plus those in the
 * PEM file ca_file unless it is NULL. Returns 0, ERROR_INVALID if ca_file is missing or contains no
 * certificate, ERROR_SYSTEM if the system refuses to read it, or ERROR_NO_MEMORY. The caller
 * destroys *store after the last connection that uses it. Reads files.
 */
int ca_store_create(struct ca_store **store, const char *ca_file, struct error *error);
void ca_store_destroy(struct ca_store *store);

/* Makes an SSL_CTX of OpenSSL use the store, of which it takes a reference. Any thread. */
void ca_store_attach(struct ca_store *store, void *ssl_context);

/*
 * Whether dir can be used instead of bundle, a file of PEM certificates: the bundle is as long as
 * all files in dir together that have the names by which OpenSSL looks up certificates (eight
 * digits of a hash and a number). update-ca-certificates concatenates the bundle from just these
 * files; the sizes differ if either was modified since. False if either is unreadable or empty.
 * Any thread; reads the directory.
 */
bool ca_dir_matches_bundle(const char *dir, const char *bundle);

#endif
