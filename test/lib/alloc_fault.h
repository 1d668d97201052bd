/* Lets the N-th allocation, or start of a thread, fail. */
#ifndef TEST_LIB_ALLOC_FAULT_H
#define TEST_LIB_ALLOC_FAULT_H

#include <stdbool.h>

/*
 * From now on the number-th call by this thread of malloc, calloc, realloc, reallocarray, strdup,
 * strndup or pthread_create in the code of this project (and Jansson, after json_guard_start)
 * fails, once. Test programs are linked with --wrap for them; see the Makefile.
 */
void alloc_fault_arm(unsigned number);

/* From now on none fails. */
void alloc_fault_disarm(void);

/* Whether one has failed since alloc_fault_arm. */
bool alloc_fault_fired(void);

/*
 * Runs attempt for each number from 1 on until no call fails any more. attempt calls
 * alloc_fault_arm(number) before and alloc_fault_disarm behind what it tests, and returns the code
 * of that, which must be ERROR_NO_MEMORY when a call failed (or ERROR_SYSTEM, when it was the start
 * of a thread), and then 0.
 */
void alloc_fault_sweep(int (*attempt)(unsigned number));

#endif
