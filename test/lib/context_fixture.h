/* A context of a v1 backend, complete and valid, that tests change where they need to. */
#ifndef TEST_LIB_CONTEXT_FIXTURE_H
#define TEST_LIB_CONTEXT_FIXTURE_H

#include <jansson.h>

#include "backend/delivery_context.h"

/*
 * In it the user u1 writes in the task t1 (in progress), which has the agents a1 (the recipient,
 * slug jarvis) and a2 (friday) assigned; a9 (fury) is the orchestrator. The notification n1 is a
 * thread update.
 */

/*
 * The context with changes merged into it: a JSON object, of which objects are merged key by key
 * and everything else replaces what is there. "" changes nothing. A new reference.
 */
json_t *context_fixture_json(const char *changes);

/* The same, read; fails the test when the reader refuses it. Ends with delivery_context_fini. */
struct delivery_context context_fixture_read(const char *changes);

#endif
