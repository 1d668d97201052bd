/*
 * Authorization of service calls, with the checks, order and texts of the backend
 * (docs/protocol.md, "Backend functions"). The doctor takes the text of the first failing check as
 * a hint for the operator; with the setting redact the texts are hidden, as in production.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "memory.h"
#include "service.h"
#include "utf16.h"

enum { MAX_TOKEN_UNITS = 512 };

static const char token_prefix[] = "mc_service_";

void service_hash(const char *secret, char hash[static SERVICE_HASH_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(secret, strlen(secret), digest, &length, EVP_sha256(), NULL) != 1)
        abort();
    for (unsigned i = 0; i < length; i++)
        snprintf(hash + (size_t)2 * i, 3, "%02x", digest[i]);
}

/* Whether secret is the account's; compared in constant time. */
static bool secret_matches(const struct document *account, const char *secret)
{
    char hash[SERVICE_HASH_BYTES];
    service_hash(secret, hash);
    const char *stored = document_string(account, "serviceTokenHash");
    return strlen(stored) == SERVICE_HASH_BYTES - 1 &&
           CRYPTO_memcmp(stored, hash, SERVICE_HASH_BYTES - 1) == 0;
}

/* Checks the account that a well-formed token names, and its secret. */
static bool authorize_account(
    struct service_call *call, const char *token_account, const char *secret)
{
    const struct store *store = &call->sandbox->store;
    const struct document *account = store_get(store, TABLE_ACCOUNTS, token_account);
    if (account == NULL)
        service_fail(call, "Not found: Account does not exist");
    else if (document_field(account, "serviceTokenHash") == NULL)
        service_fail(call, "Forbidden: Account has no service token configured");
    else if (!secret_matches(account, secret))
        service_fail(call, "Invalid service token");
    else if (strcmp(token_account, service_argument(call, "accountId")) != 0)
        service_fail(call, "Forbidden: Service token does not match account");
    else
        call->account = store_get(store, TABLE_ACCOUNTS, token_account);
    return call->account != NULL;
}

bool service_authorize(struct service_call *call)
{
    const char *token = service_argument(call, "serviceToken");
    if (service_is_v1(call) && utf16_exceeds(token, MAX_TOKEN_UNITS)) {
        service_fail(call, "Invalid service token");
        return false;
    }
    if (strncmp(token, token_prefix, sizeof token_prefix - 1) != 0) {
        service_fail(call, "Invalid service token format");
        return false;
    }
    const char *account = token + sizeof token_prefix - 1;
    const char *separator = strchr(account, '_');
    if (separator == NULL) {
        service_fail(call, "Invalid service token structure");
        return false;
    }
    char *token_account = memory_copy_bytes(account, (size_t)(separator - account));
    bool authorized = false;
    if (!store_id_is_of(&call->sandbox->store, TABLE_ACCOUNTS, token_account))
        validator_explain_id(
            &call->sandbox->store, TABLE_ACCOUNTS, ".accountId", token_account, &call->failure);
    else
        authorized = authorize_account(call, token_account, separator + 1);
    free(token_account);
    return authorized;
}
