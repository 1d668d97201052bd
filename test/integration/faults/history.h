/* What must hold of everything that happened to the notifications of one board, whatever failed. */
#ifndef TEST_INTEGRATION_FAULTS_HISTORY_H
#define TEST_INTEGRATION_FAULTS_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The sandbox's record in the form of docs/sandbox.md. The references are the history's. */
struct history {
    json_t *notifications; /* array, the board's table */
    json_t *messages;      /* array, the board's table */
    json_t *runs;          /* array of the gateway's recorded runs */
    json_t *spooled;       /* object: replies found in the spool, by the notification's id */
};

/* What the faults of a case may have brought about. */
struct history_rules {
    int max_runs;      /* DELIVERY_MAX_RUNS */
    bool lost_answers; /* answers may have got lost on their way, or with a killed runtime */
    bool notes;        /* a notification may have ended with the note that no reply came */
};

/* A history without anything in it; freed by history_fini. Fail the test without memory. */
void history_init(struct history *history);
void history_fini(struct history *history);

/*
 * Adds the replies of the records in STATE_DIR/spool, as they lie there while no runtime uses it; a
 * reply that was added before stays. Returns how many records lie there.
 */
size_t history_add_spool(struct history *history, const char *state_dir);

/*
 * Whether of every notification to an agent the following is true. If not, the first violation is
 * in reason, with the notification's id.
 *
 * - It ended: it is marked as delivered, and no run of it is under way.
 * - Exactly one message was written for it.
 * - Its agent was run at most max_runs times.
 * - The message is the reply of one of its own answered runs, and of the last of its runs: no agent
 *   was asked again once its reply had been received. Where notes are allowed it may be a note.
 * - Unless answers may get lost, no more than one run was answered, and none before a note.
 * - A reply that lay in the spool is the one that was written, word for word.
 *
 * Replies must end with the number of their run (the sandbox's setting gateway_numbers).
 */
bool history_holds(const struct history *history, const struct history_rules *rules, char *reason,
    size_t reason_bytes);

#endif
