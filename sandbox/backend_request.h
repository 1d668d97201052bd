/* Parsing of function calls: headers, body, path and arguments, refused as Convex refuses them. */
#ifndef SANDBOX_BACKEND_REQUEST_H
#define SANDBOX_BACKEND_REQUEST_H

#include <jansson.h>

#include "server.h"

/* Free with function_call_fini. */
struct function_call {
    json_t *body;
    char *path;        /* canonical: directory/module:function */
    const char *name;  /* the function, in path; NULL for one outside service/actions */
    json_t *arguments; /* an object, borrowed from body */
    bool has_known_format;
};

/* The error of a call that is refused before any function runs. */
struct refusal {
    unsigned status;
    const char *code;
    char message[256];
};

/* Parses a request into *call. If it returns false, *refusal is set and *call needs no freeing. */
bool function_call_read(
    const struct exchange *exchange, struct function_call *call, struct refusal *refusal);

void function_call_fini(struct function_call *call);

#endif
