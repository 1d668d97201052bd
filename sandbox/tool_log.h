/* A record of the calls of tools that answers of the gateway make, with what became of them. */
#ifndef SANDBOX_TOOL_LOG_H
#define SANDBOX_TOOL_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

enum { TOOL_LOG_CAPACITY = 20000, TOOL_LOG_TEXT_BYTES = 4096 };

TAILQ_HEAD(tool_record_list, tool_record);

/* Used by the server's thread only. Zero-initialise and call tool_log_init. */
struct tool_log {
    struct tool_record_list records; /* oldest first */
    struct map by_call_id;
    size_t kept;
    uint64_t last;  /* number of the last call */
    uint64_t asked; /* calls that came out of a run */
    uint64_t ended; /* of these, those that have a result */
    uint64_t told;  /* calls that only the model was told about */
};

/* Where a call was made. Copied. */
struct tool_origin {
    uint64_t run;
    uint64_t first_run;
    unsigned round;
    const char *agent;
    const char *session;
    const char *task_id; /* NULL: none */
};

void tool_log_init(struct tool_log *log);
void tool_log_fini(struct tool_log *log);

/* Records the calls of an answer, an array of {call_id, name, arguments}. */
void tool_log_ask(struct tool_log *log, const struct tool_origin *origin, const json_t *calls);

/* Records a call that did not come out of its run. */
void tool_log_tell(struct tool_log *log, const struct tool_origin *origin, const json_t *call);

/* Records results, an array of {call_id, output}, which came with a run. Unknown ids are skipped.
 */
void tool_log_end(struct tool_log *log, const json_t *results, uint64_t run);

/*
 * Returns the calls with a number above since as a new array, oldest first; only those of a task,
 * and of an agent, unless these are NULL; and of these the limit newest.
 */
json_t *tool_log_describe(const struct tool_log *log, uint64_t since, uint64_t limit,
    const char *task_id, const char *agent);

#endif
