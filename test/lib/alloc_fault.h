/* Makes the Nth allocation or thread creation fail, or each sync. */
#ifndef TEST_LIB_ALLOC_FAULT_H
#define TEST_LIB_ALLOC_FAULT_H

#include <stdbool.h>

/*
 * Arms the fault: the number-th call from now by this thread of malloc, calloc, realloc,
 * reallocarray, strdup, strndup or pthread_create in this project's code (and in Jansson, after
 * json_guard_start) fails, once. 0 disarms it.
 */
void alloc_fault_arm(unsigned number);

/* Disarms the fault; whether it fired is kept. */
void alloc_fault_disarm(void);

/* From now on fsync fails in this thread with EIO, or no longer does. */
void sync_fault_set(bool fails);

/* Whether a call has failed since alloc_fault_arm. */
bool alloc_fault_fired(void);

/*
 * Calls attempt with 1, 2, ... until no call fails. attempt brackets the tested operation with
 * alloc_fault_arm(number) and alloc_fault_disarm and returns its result, which must be
 * ERROR_NO_MEMORY if an allocation failed, ERROR_SYSTEM if the creation of a thread did, else 0.
 */
void alloc_fault_sweep(int (*attempt)(unsigned number));

#endif
