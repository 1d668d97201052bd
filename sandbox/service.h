/* The backend's service actions: the functions that a runtime can call. */
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

/* The functions of each version, ended by one without a name. */
extern const struct service_function service_functions_v0[];
extern const struct service_function service_functions_v1[];

/* The names of a version's functions, NULL-ended. */
const char *const *service_names(enum backend_version version);

/* The version's function called name, or NULL. */
const struct service_function *service_find(enum backend_version version, const char *name);

/* Whether the function changes the board for an agent, so that effects.h records it. */
bool service_is_change(const char *name);

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

/* Whether the call is to version 1. */
bool service_is_v1(const struct service_call *call);

/* The version whose functions the sandbox has at the moment. */
enum backend_version service_version(const struct sandbox *sandbox);

/* Whether document belongs to the call's account. */
bool service_owns(const struct service_call *call, const struct document *document);

/* An argument's string, NULL when absent. Borrowed. */
const char *service_argument(const struct service_call *call, const char *name);

/*
 * The agent that agentId, or another argument, names, and the task that taskId names; NULL means
 * that the call has failed, as there is none in the account.
 */
struct document *service_agent(struct service_call *call);
struct document *service_agent_in(struct service_call *call, const char *argument);
struct document *service_task(struct service_call *call);

/* The row of the account's runtime, NULL before its first report. */
struct document *service_runtime_row(struct service_call *call);

/* Sets the value to the account's undelivered notifications, at most limit. */
void service_write_undelivered(struct service_call *call, double limit);

/*
 * Checks accountId and serviceToken in the backend's order and sets call->account. If it returns
 * false, the call has failed.
 */
bool service_authorize(struct service_call *call);

/* The hash of a token's secret as accounts store it: hexadecimal SHA-256. */
enum { SERVICE_HASH_BYTES = 65 };
void service_hash(const char *secret, char hash[static SERVICE_HASH_BYTES]);

/*
 * The functions of version 0, described in docs/protocol.md, "Backend functions". Those on
 * heartbeats, restarts, upgrades and the status are the same in version 1, or part of its own.
 */
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
