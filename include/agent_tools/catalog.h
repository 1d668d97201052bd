/*
 * What agents can do on the board besides replying: one table, from which the tools that the
 * gateway offers to a model, the HTTP endpoints, the capabilities in the prompt, the checks of
 * arguments and the documents are made (src/agent_tools/catalog.c).
 */
#ifndef AGENT_TOOLS_CATALOG_H
#define AGENT_TOOLS_CATALOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "backend/delivery_context.h"
#include "prompt/instructions.h"

struct tool_call;
struct tool_result;

enum tool_parameter_type {
    PARAMETER_TEXT,
    PARAMETER_WORD,     /* one of words */
    PARAMETER_NUMBER,   /* within min..max */
    PARAMETER_LIMIT,    /* a number of rows: any number, floored and clamped to min..max */
    PARAMETER_PRIORITY, /* 1..5, or one of words for these */
    PARAMETER_TEXTS,    /* an array of texts */
};

struct tool_parameter {
    const char *name;
    const char *description; /* for the model and for docs/agent-tools.md */
    enum tool_parameter_type type;
    bool required;
    bool may_be_blank;        /* of a text: "" and blanks are a value */
    const char *const *words; /* NULL-terminated; NULL: any */
    double min;
    double max; /* of a text: UTF-16 units that the backend takes; 0: no limit */
};

/* Who is offered a tool: an agent, and the run in which it is. */
struct tool_audience {
    struct behavior_flags flags;
    bool has_task; /* the run belongs to a task */
    bool is_orchestrator;
    bool may_mark_done; /* as delivery_context_may_mark_done for a run; the flag for HTTP */
};

/* A row of the table. Everything it points to is constant. */
struct tool {
    const char *name;        /* [a-z_]{1,64}, none of the gateway's own */
    const char *description; /* for the model: when to use it, what comes back */
    const char *label;       /* for the list of capabilities, after the name or path */
    const char *path;        /* of its HTTP endpoint, such as "/agent/task-status"; NULL: none */
    const struct tool_parameter *parameters; /* ended by one without a name */
    bool changes;                            /* the board: never carried out twice */
    const char *orchestrator_only; /* "Only the orchestrator can ..."; NULL: it is for all */
    bool (*is_offered)(const struct tool_audience *audience);
    /* Carries it out; arguments have been checked against parameters. Blocks for the backend. */
    void (*handle)(
        const struct tool_call *call, const json_t *arguments, struct tool_result *result);
};

enum { TOOLS_MAX = 64 };

/* Tests make catalogs of their own. */
struct tool_catalog {
    const struct tool *tools;
    size_t count; /* at most TOOLS_MAX */
};

extern const struct tool_catalog tool_catalog;

/* NULL when there is none. Pure. */
const struct tool *tool_find(const struct tool_catalog *catalog, const char *name);
const struct tool *tool_find_path(const struct tool_catalog *catalog, const char *path);

/*
 * The tools that the audience is offered, as a new array in the flat form of a responses request
 * (docs/protocol.md, "Tools"). NULL without memory.
 */
json_t *tool_schemas(const struct tool_catalog *catalog, const struct tool_audience *audience);

/*
 * Fills in actions, of which the caller keeps TOOLS_MAX, with what the audience is offered, for
 * the prompt; only what has an endpoint if by_http. Returns their number. Pure.
 */
size_t tool_actions(const struct tool_catalog *catalog, const struct tool_audience *audience,
    bool by_http, struct board_action *actions);

#endif
