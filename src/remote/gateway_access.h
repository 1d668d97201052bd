/* What the files that speak with the gateway share: where it is and how to be let in. */
#ifndef REMOTE_GATEWAY_ACCESS_H
#define REMOTE_GATEWAY_ACCESS_H

#include "remote/gateway.h"

/* Never changed once made. */
struct gateway {
    char *endpoint;        /* of runs; NULL when disabled */
    char *models_endpoint; /* NULL when disabled */
    char *authorization;   /* the whole header; NULL for none */
};

#endif
