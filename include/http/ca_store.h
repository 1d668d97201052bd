/* The certificate authorities that TLS connections trust, shared by all. */
#ifndef HTTP_CA_STORE_H
#define HTTP_CA_STORE_H

#include <stdbool.h>

#include "base/error.h"

struct ca_store;

/*
 * Makes a store of the system's authorities (OpenSSL's default file and directory, or SSL_CERT_FILE
 * and SSL_CERT_DIR; those of a directory are read when they first occur), plus those in the PEM
 * file ca_file unless it is NULL. Returns 0, or ERROR_INVALID when ca_file cannot be read or holds
 * no certificate, or ERROR_NO_MEMORY. *store is the caller's, destroyed after the last connection
 * that uses it.
 */
int ca_store_create(struct ca_store **store, const char *ca_file, struct error *error);
void ca_store_destroy(struct ca_store *store);

/* Gives a TLS context (an SSL_CTX of OpenSSL) a reference to the store. Any thread. */
void ca_store_attach(struct ca_store *store, void *ssl_context);

/* Whether the directory of certificates holds all that the bundle file holds. */

/*
 * True when bundle, a file of certificates in PEM form, is as long as all files together that
 * directory has under the names by which OpenSSL finds certificates (eight digits of a hash and a
 * number). Then the bundle need not be read: update-ca-certificates makes it of just these files.
 * The lengths differ when somebody has put authorities of his own into one of the two, or has
 * replaced it. False, too, when either cannot be read or holds nothing. Any thread; looks at files.
 */
bool ca_dir_is_readable(const char *dir, const char *bundle);

#endif
