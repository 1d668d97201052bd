/* The handlers of the tools, and what they share. */
#ifndef AGENT_TOOLS_HANDLERS_H
#define AGENT_TOOLS_HANDLERS_H

#include <jansson.h>
#include <stdbool.h>

#include "agent_tools/catalog.h"
#include "agent_tools/run.h"

/* Which statuses over HTTP a function's errors have. */
enum refusal_statuses {
    REFUSED_PLAINLY,  /* 403 */
    REFUSED_STATUS,   /* by what the error says, else 500 */
    REFUSED_CREATION, /* by what the error says, else 403 */
};

/* A function of the backend, as tools call it. */
struct backend_action {
    const char *name;
    bool changes; /* the board; such a call goes out at most once */
    enum refusal_statuses statuses;
    const char *failed; /* the error over HTTP of a REFUSED_STATUS that says nothing known */
    const char *hint;   /* what may be wrong when the backend hides it */
};

/*
 * Calls a function, taking the reference to arguments (NULL: no memory). Returns whether it
 * succeeded: then *value is a new reference, otherwise the result is filled in. Blocks.
 */
bool tool_invoke(const struct tool_call *call, const struct backend_action *action,
    json_t *arguments, json_t **value, struct tool_result *result);

/*
 * Arguments for a function: those of the tool and who calls (NULL: nobody). A new reference; NULL
 * without memory.
 */
json_t *tool_pack(const struct tool_call *call, const json_t *arguments);

/*
 * Sets one of them, taking the reference to value. Without memory (value NULL as well) all of them
 * are dropped and *packed is NULL, so that no call goes out that lacks something.
 */
void tool_pack_set(json_t **packed, const char *key, json_t *value);

/* Ends a result as a success with value (NULL: no memory), taking the reference. */
void tool_succeed(struct tool_result *result, json_t *value);

/* The success {success, data: {key: value}}; takes the reference to value. */
void tool_succeed_with_data(struct tool_result *result, const char *key, json_t *value);

/*
 * The success {success, KEY: the string value[KEY]}. A value without that string was written by
 * something else than the backend, so the end of a changing call is unknown. Takes the reference.
 */
void tool_succeed_with_id(
    const struct tool_call *call, struct tool_result *result, const char *key, json_t *value);

/* Fills in a result whose call has changed nothing, as the backend did not answer. */
void tool_fail_unavailable(
    const struct tool_call *call, enum tool_end end, struct tool_result *result);

/* Fills in a result whose call may have been carried out, or not. */
void tool_fail_uncertain(const struct tool_call *call, struct tool_result *result);

typedef void tool_handler(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result);

tool_handler handle_task_status;
tool_handler handle_task_update;
tool_handler handle_task_create;
tool_handler handle_task_assign;
tool_handler handle_task_message;
tool_handler handle_task_delete;
tool_handler handle_task_link_pr;

tool_handler handle_document_upsert;
tool_handler handle_document_list;

tool_handler handle_response_request;
tool_handler handle_agent_skills;
tool_handler handle_task_load;
tool_handler handle_task_history;
tool_handler handle_task_list;
tool_handler handle_task_get;
tool_handler handle_task_thread;
tool_handler handle_task_search;

#endif
