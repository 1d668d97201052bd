/* Keys and certificates generated for one test: authorities and leaves, valid and invalid. */
#ifndef TEST_LIB_CERTIFICATE_H
#define TEST_LIB_CERTIFICATE_H

#include <stdbool.h>

#include <openssl/ssl.h>

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
};

/*
 * Creates a certificate for name (a subject alternative name in OpenSSL's syntax, such as
 * "IP:127.0.0.1"; may be NULL), valid from an hour ago to an hour from now, or expired a minute
 * ago. Signed by issuer, or self-signed if that is NULL; authority makes it a CA. Fails the test
 * when it cannot. Freed with certificate_fini.
 */
void certificate_create(struct certificate *certificate, const struct certificate *issuer,
    bool authority, const char *name, bool expired);
void certificate_fini(struct certificate *certificate);

/* Writes the certificate, without its key, as PEM to path. */
void certificate_save(const struct certificate *certificate, const char *path);

#endif
