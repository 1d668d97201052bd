/*
 * Certificates with P-256 keys, created at run time, so no key is in the repository and none
 * expires.
 */
#include "certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { HOUR_S = 3600, MINUTE_S = 60 };

static void add_extension(X509 *x509, const X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, (X509 *)issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void set_names(X509 *x509, const X509 *issuer, bool authority)
{
    static long serial = 1;
    const char *common_name = authority ? "Test authority" : "Test server";
    X509_NAME *subject = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(issuer));
    ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
    X509_set_version(x509, X509_VERSION_3);
}

void certificate_create(struct certificate *certificate, const struct certificate *issuer,
    bool authority, const char *name, bool expired)
{
    X509 *x509 = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(x509);
    assert_non_null(key);
    const X509 *issued_by = issuer != NULL ? issuer->x509 : x509;
    set_names(x509, issued_by, authority);
    X509_gmtime_adj(X509_getm_notBefore(x509), -HOUR_S);
    X509_gmtime_adj(X509_getm_notAfter(x509), expired ? -MINUTE_S : HOUR_S);
    X509_set_pubkey(x509, key);
    add_extension(
        x509, issued_by, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (name != NULL)
        add_extension(x509, issued_by, NID_subject_alt_name, name);
    EVP_PKEY *signing_key = issuer != NULL ? issuer->key : key;
    assert_true(X509_sign(x509, signing_key, EVP_sha256()) > 0);
    *certificate = (struct certificate){.x509 = x509, .key = key};
}

void certificate_fini(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct certificate){0};
}

void certificate_save(const struct certificate *certificate, const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate->x509), 1);
    assert_int_equal(fclose(file), 0);
}
