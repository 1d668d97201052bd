/* Invariants over everything that happened to one board's notifications, whatever failed. */
#ifndef TEST_INTEGRATION_FAULTS_HISTORY_H
#define TEST_INTEGRATION_FAULTS_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The sandbox's record, in the format of docs/sandbox.md. The history owns the references. */
struct history {
    json_t *notifications; /* array, the board's table */
    json_t *messages;      /* array, the board's table, oldest first */
    json_t *runs;          /* array of the gateway's recorded runs */
    json_t *requests;      /* array of what the proxy saw of runs (wire_log_describe), in order */
    json_t *marks;         /* the same of marks */
    json_t *calls;         /* array of the tool calls of agents */
    json_t *effects;       /* array of what they, and replies, changed on the board */
    json_t *spooled;       /* object: replies found in the spool, by the notification's id */
};

/* What a test's faults may have caused. */
struct history_rules {
    int max_runs;       /* DELIVERY_MAX_RUNS */
    int max_agent_runs; /* DELIVERY_MAX_AGENT_RUNS, if agents may mention each other; else 0 */
    bool lost_answers;  /* answers may have been lost on the wire, or with a killed runtime */
    bool notes;         /* a notification may have ended with the note that no reply came */
};

/* An empty history, freed by history_fini. Fails the test when out of memory. */
void history_init(struct history *history);
void history_fini(struct history *history);

/*
 * Adds the replies of the records in STATE_DIR/spool, which no runtime may be using; the first
 * reply added for a notification stays. Returns the number of records.
 */
size_t history_add_spool(struct history *history, const char *state_dir);

/*
 * Whether all of the following holds. If not, the first violation is in reason, with the id of the
 * notification or the task. For every notification to an agent:
 *
 * - It has ended: it is marked as delivered, and no run of it is in flight.
 * - Exactly one message was written for it. None is needed for another notification of a message
 *   for which its agent was run; nor, with max_agent_runs, for what an agent's message caused.
 * - Its agent was run at most max_runs times, and asked as often without proof that it did not run.
 * - The message is the reply of an answered run of its own, and of the last one: no agent was run
 *   again once its reply had been received. Where notes are allowed it may be a note.
 * - Unless answers may be lost, at most one run was answered, and none before a note.
 * - A reply found in the spool is the one that was written, byte for byte.
 * - Its last mark was confirmed.
 *
 * Among agents (history_agents.h):
 *
 * - One message ran one agent for one notification.
 * - Agents caused at most max_agent_runs runs under one root, and in one task between two messages
 *   of people, and there is at most one note about that limit between these.
 *
 * No tool call was carried out twice, and no change made again by a later run (history_tools.h).
 *
 * Replies must end with the number of their run (the sandbox's setting gateway_numbers), and where
 * max_agent_runs is to hold, people must write only while no agent is at work.
 */
bool history_holds(const struct history *history, const struct history_rules *rules, char *reason,
    size_t reason_bytes);

#endif
