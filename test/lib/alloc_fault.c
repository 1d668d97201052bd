/*
 * Allocation faults. Test programs are linked with --wrap (Makefile), which sends every call from
 * this project's objects to the wrappers below; calls inside shared libraries are not affected.
 * The countdown is thread-local, so threads that the tested code starts never fail by accident.
 *
 * alloc_fault_sweep repeats an operation with the first, second, ... call failing until one run
 * has no failure, so that every error path is taken once.
 */
#include "alloc_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/error.h"

enum { MAX_CALLS = 10000 };

/* Calls left until one fails; 0: none fails. */
static _Thread_local unsigned countdown;
static _Thread_local enum error_code fired_code;
static _Thread_local bool sync_fails;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *string);
char *__real_strndup(const char *string, size_t max);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *string);
char *__wrap_strndup(const char *string, size_t max);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument);

static bool fires(enum error_code code)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    fired_code = code;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *string)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_strdup(string);
}

char *__wrap_strndup(const char *string, size_t max)
{
    return fires(ERROR_NO_MEMORY) ? NULL : __real_strndup(string, max);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument)
{
    return fires(ERROR_SYSTEM) ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

int __wrap_fsync(int fd)
{
    if (!sync_fails)
        return __real_fsync(fd);
    errno = EIO;
    return -1;
}

void sync_fault_set(bool fails)
{
    sync_fails = fails;
}

void alloc_fault_arm(unsigned number)
{
    countdown = number;
    fired_code = 0;
}

void alloc_fault_disarm(void)
{
    countdown = 0;
}

bool alloc_fault_fired(void)
{
    return fired_code != 0;
}

void alloc_fault_sweep(int (*attempt)(unsigned number))
{
    unsigned number = 1;
    for (;; number++) {
        assert_true(number < MAX_CALLS);
        int result = attempt(number);
        if (result != (int)fired_code)
            fail_msg(
                "call %u failed with %d, but the result was %d", number, (int)fired_code, result);
        if (fired_code == 0)
            break;
    }
    print_message("%u calls\n", number - 1);
    assert_true(number > 1);
}
