/*
 * What agents can do on the board besides replying: one table, from which the tools that the
 * gateway offers to a model, the HTTP endpoints, the capabilities in the prompt, the checks of
 * arguments and the documents are made (src/agent_tools/catalog_table.c).
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
    PARAMETER_ID,       /* of something on the board */
    PARAMETER_WORD,     /* one of words */
    PARAMETER_NUMBER,   /* a whole one, within min..max */
    PARAMETER_LIMIT,    /* a number of rows: any number, floored and clamped to min..max */
    PARAMETER_PRIORITY, /* 1..5, or one of words for these */
    PARAMETER_TEXTS,    /* an array of texts; blank ones are dropped */
};

struct tool_parameter {
    const char *name;
    const char *description;       /* for the model and for docs/agent-tools.md */
    const char *const *words;      /* NULL-terminated; NULL: any */
    const char *const *http_words; /* over HTTP; NULL: the same */
    double min;
    double max; /* of a text: UTF-16 units that the backend takes; 0: no limit */
    enum tool_parameter_type type;
    bool required;
    bool may_be_blank;       /* of a text: "" and blanks are a value; else they count as absent */
    bool is_trimmed;         /* of a text: white space around it does not count */
    bool defaults_to_run;    /* of a task's id: the run's task where a call names none */
    bool done_needs_right;   /* the word "done" is for audiences that may mark tasks as done */
    bool invalid_is_missing; /* a value that is not possible is answered as a missing one */

    /* What an agent is told where the general words do not do; NULL: those. */
    const char *missing;
    const char *invalid; /* a word or number that is not possible */
    const char *too_long;
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
    bool adds;         /* something new each time: a later try is given the result that there is */
    bool has_duration; /* over HTTP the answer says how long it took */
    bool (*is_offered)(const struct tool_audience *audience);
    const char *offered_to; /* the same in words, for the documents */

    /* Who may use it, whatever was offered. "Only the orchestrator can ...": NULL: all can. */
    const char *orchestrator_only;
    const char *http_orchestrator_only;                         /* over HTTP; NULL: the same */
    bool (*is_permitted)(const struct tool_audience *audience); /* NULL: everybody is */
    const char *forbidden; /* what those are told who are not permitted */

    /*
     * What is said when a required parameter is missing; "*" stands for its name. NULL: "* is
     * required".
     */
    const char *missing;
    const char *http_missing;

    /*
     * What a success holds besides "success", as "NAME:TYPE" separated by blanks; "NAME?" may be
     * absent, "data.NAME" is in an object "data". TYPE is text, number, boolean, object or any, or
     * one of these with "[]" after it.
     */
    const char *answer;
    const char *http_answer; /* NULL: the same */
    const char *example;     /* arguments, as JSON, for the documents */

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
 * The tools as a responses request has them (docs/protocol.md, "Tools"), written once, since every
 * request of a run repeats them. Constant once it is made; any thread may read it.
 */
struct tool_menu {
    const struct tool_catalog *catalog;
    char *schemas[TOOLS_MAX][2]; /* of each tool, without and with the right to mark as done */
};

/* Freed by tool_menu_fini, also if it fails, which is for want of memory. */
int tool_menu_init(struct tool_menu *menu, const struct tool_catalog *catalog, struct error *error);
void tool_menu_fini(struct tool_menu *menu);

/*
 * Fills in schemas with those of the tools that the audience is offered, in JSON and ended by NULL.
 * They live as long as the menu. Pure.
 */
void tool_menu_list(const struct tool_menu *menu, const struct tool_audience *audience,
    const char *schemas[static TOOLS_MAX + 1]);

/*
 * Fills in actions, of which the caller keeps TOOLS_MAX, with what the audience is offered, for
 * the prompt; only what has an endpoint if by_http. Returns their number. Pure.
 */
size_t tool_actions(const struct tool_catalog *catalog, const struct tool_audience *audience,
    bool by_http, struct board_action *actions);

#endif
