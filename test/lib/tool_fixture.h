/* Calls of agents' tools in a compact form, against a backend made of canned answers or any other.
 */
#ifndef TEST_LIB_TOOL_FIXTURE_H
#define TEST_LIB_TOOL_FIXTURE_H

#include "agent_tools/run.h"
#include "base/sync.h"
#include "http/client.h"
#include "stub_server.h"

/* What a function of a canned backend answers. */
struct tool_answer {
    const char *function;
    const char *value; /* as JSON with ' in place of " */
    const char *error; /* NULL: none */
    const char *raw;   /* all of the response; "" closes the connection instead */
};

struct tool_fixture {
    struct stub_server *server; /* NULL: another backend */
    struct ca_store *store;
    struct http_client *client;
    struct convex *convex;
    struct service service;
    atomic_bool aborted;
    struct tool_call call; /* of agent "a1"; to be changed as needed */

    const struct tool_answer *answers; /* ended by one without a function */

    /* Guards what the server's thread writes. */
    struct mutex lock;
    json_t *calls; /* array of {function, arguments}, oldest first */
    char *answer;  /* the last one, until the next */
};

/* All flags on, a task, not the orchestrator, and no right to mark tasks as done. */
extern const struct tool_audience tool_fixture_worker;
extern const struct tool_audience tool_fixture_orchestrator;

/* Starts with a canned backend. answers is borrowed. Ended by tool_fixture_stop. */
void tool_fixture_start(struct tool_fixture *fixture, const struct tool_answer *answers);

/* The same with the backend at url. */
void tool_fixture_connect(
    struct tool_fixture *fixture, const char *url, const char *account, const char *token);
void tool_fixture_stop(struct tool_fixture *fixture);

/*
 * Calls a tool, or with call.by_http its endpoint, with arguments, which have ' in place of ". The
 * result's value is for the caller to free.
 */
struct tool_result tool_fixture_call(
    struct tool_fixture *fixture, const char *name, const char *arguments);

/* Fails the test unless value is the JSON of text, which has ' in place of ". */
void tool_value_must_be(const json_t *value, const char *text);

/* Calls; fails the test unless end, status and value are these. value has ' in place of ". */
void tool_must_give(struct tool_fixture *fixture, const char *name, const char *arguments,
    enum tool_end end, int status, const char *value);

/* Fails the test unless the functions that were called since the last look are these, in JSON. */
void tool_calls_must_be(struct tool_fixture *fixture, const char *calls);

#endif
