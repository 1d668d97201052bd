/* The backend's service actions, version 0: the functions that a runtime can call. */
#ifndef SANDBOX_SERVICE_H
#define SANDBOX_SERVICE_H

#include <jansson.h>

#include "sandbox.h"
#include "validator.h"

/* A call in progress. Its result is either value or failure. */
struct service_call {
    struct sandbox *sandbox;
    const json_t *arguments;  /* validated before run is called */
    struct document *account; /* set by service_authorize */
    double now_ms;
    struct text value;   /* the result as JSON; empty: null */
    struct text failure; /* the backend's error text, without the request id */
};

struct service_function {
    const char *name;
    const struct field *arguments;
    void (*run)(struct service_call *call);
};

/* All functions, ended by one without a name. */
extern const struct service_function service_functions[];

/* Their names, NULL-ended. */
const char *const *service_names(void);

/* The function called name, or NULL. */
const struct service_function *service_find(const char *name);

/*
 * Validates, authorizes and runs a call, whose sandbox and arguments are set. The caller frees its
 * texts.
 */
void service_run(const struct service_function *function, struct service_call *call);

/* Makes the call fail with "Uncaught Error: " and the formatted text. */
void service_fail(struct service_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sets the value to json; takes the reference. */
void service_answer(struct service_call *call, json_t *json);

/* Sets the value to {"success": true}. */
void service_answer_success(struct service_call *call);

/* Whether document belongs to the call's account. */
bool service_owns(const struct service_call *call, const struct document *document);

/* An argument's string, NULL when absent. Borrowed. */
const char *service_argument(const struct service_call *call, const char *name);

/*
 * Checks accountId and serviceToken in the backend's order and sets call->account. If it returns
 * false, the call has failed.
 */
bool service_authorize(struct service_call *call);

/* The hash of a token's secret as accounts store it: hexadecimal SHA-256. */
enum { SERVICE_HASH_BYTES = 65 };
void service_hash(const char *secret, char hash[static SERVICE_HASH_BYTES]);

/* The functions, described in docs/protocol.md, "Backend functions". */
void service_list_agents(struct service_call *call);
void service_list_undelivered(struct service_call *call);
void service_get_notification(struct service_call *call);
void service_mark_delivered(struct service_call *call);
void service_create_message(struct service_call *call);
void service_update_heartbeat(struct service_call *call);
void service_update_runtime(struct service_call *call);
void service_check_restart(struct service_call *call);
void service_get_upgrade(struct service_call *call);
void service_record_upgrade(struct service_call *call);

#endif
