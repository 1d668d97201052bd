#include "remote/ca_store.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/*
 * libcurl would parse the whole bundle for each connection. The system's folder is looked up by
 * hash instead, only for the issuers that really occur, and each is kept once.
 */
struct ca_store {
    X509_STORE *authorities;
};

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
    X509_STORE_set_default_paths(created->authorities);
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
