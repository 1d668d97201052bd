/* Carries out what an agent asks for: a call of a tool, or a request to its endpoint. */
#ifndef AGENT_TOOLS_RUN_H
#define AGENT_TOOLS_RUN_H

#include <jansson.h>

#include "agent_tools/catalog.h"
#include "backend/service.h"

/* The agent and what it may do. All of it is borrowed. */
struct tool_call {
    const struct service *service; /* its calls go out at most once each */
    const char *agent_id;
    const char *task_id; /* of the run, where a call names none; "" for none, as over HTTP */
    struct tool_audience audience;
    bool by_http; /* which words and shape the result has (docs/agent-tools.md) */
};

/*
 * What an agent is told of a changing call that may have been carried out: by tool_run when the
 * backend did not answer, and after a restart in the middle of one.
 */
#define TOOL_INTERRUPTED "interrupted: look before you try again"

enum { TOOL_RESULT_MAX_BYTES = 200 * 1000 }; /* of a result as JSON; longer ones are cut */

/* How a call ended. */
enum tool_end {
    TOOL_SUCCEEDED,
    TOOL_REFUSED,     /* by our own checks: nothing was asked of the backend */
    TOOL_REJECTED,    /* by the backend's function */
    TOOL_UNAVAILABLE, /* the backend did not answer; nothing was changed */
    TOOL_UNCERTAIN,   /* it may have been carried out: it must never be repeated */
    TOOL_ABORTED,     /* by the shutdown; nothing was changed */
};

/* Their words in metrics and the log, by value. */
extern const char *const tool_end_words[];

struct tool_result {
    enum tool_end end;
    int status;    /* of an HTTP response */
    json_t *value; /* the caller's: {"success": ...}; NULL without memory */
};

/*
 * Carries out a call of a tool by name, with its arguments as the model wrote them. A call that
 * cannot be understood has a result as well, which tells the model what is wrong. Blocks for the
 * backend. Any thread, each with its own service.
 */
void tool_run(const struct tool_catalog *catalog, const struct tool_call *call, const char *name,
    const char *arguments, struct tool_result *result);

/*
 * The same for the tool of an endpoint, with a request's body; call->by_http is set. Blocks
 * likewise.
 */
void tool_run_request(const struct tool *tool, const struct tool_call *call, const char *body,
    size_t body_bytes, struct tool_result *result);

/* Fills in a result that is an error, of that status over HTTP. */
void tool_fail(struct tool_result *result, enum tool_end end, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
