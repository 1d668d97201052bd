/* Creation of version 1's documents from what tests and the demo say about them. */
#ifndef SANDBOX_SEED_V1_H
#define SANDBOX_SEED_V1_H

#include <jansson.h>

#include "sandbox.h"

/*
 * Create an agent, a task or a document as board_make_* do. Besides fields, seed may have, for an
 * agent, "flags" (set in addition to the defaults), "skills" (an array of names) and "orchestrator"
 * (true: it becomes the account's), for a task "orchestratorChat" (true: it becomes that), for a
 * document "task" (a name).
 */
struct document *seed_v1_agent(struct sandbox *sandbox, const json_t *seed);
struct document *seed_v1_task(struct sandbox *sandbox, const json_t *seed);
struct document *seed_v1_document(struct sandbox *sandbox, const json_t *seed);

/* Creates the demo's board: an orchestrator, three agents, and tasks in several statuses. */
void seed_v1_demo(struct sandbox *sandbox);

#endif
