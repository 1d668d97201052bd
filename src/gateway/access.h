/* What the files that speak with the gateway share: where it is and how to be let in. */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "base/secret.h"
#include "gateway/gateway.h"

/* Never changed once made, but for the token's value. */
struct gateway {
    char *endpoint;        /* of runs; NULL when disabled */
    char *models_endpoint; /* NULL when disabled */
    struct secret *token;
};

/* Appends the header "Authorization: ..." to text; nothing without a token. */
void gateway_append_authorization(const struct gateway *gateway, struct text *text);

#endif
