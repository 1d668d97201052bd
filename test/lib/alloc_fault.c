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

/* Calls until one fails; 0: none does. */
static _Thread_local unsigned countdown;
static _Thread_local enum error_code struck;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *string);
char *__real_strndup(const char *string, size_t max);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *string);
char *__wrap_strndup(const char *string, size_t max);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument);

static bool strikes(enum error_code code)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    struck = code;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *string)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_strdup(string);
}

char *__wrap_strndup(const char *string, size_t max)
{
    return strikes(ERROR_NO_MEMORY) ? NULL : __real_strndup(string, max);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *argument), void *argument)
{
    return strikes(ERROR_SYSTEM) ? EAGAIN
                                 : __real_pthread_create(thread, attributes, run, argument);
}

void alloc_fault_arm(unsigned number)
{
    countdown = number;
    struck = 0;
}

void alloc_fault_disarm(void)
{
    countdown = 0;
}

bool alloc_fault_fired(void)
{
    return struck != 0;
}

void alloc_fault_sweep(int (*attempt)(unsigned number))
{
    unsigned number = 1;
    for (;; number++) {
        assert_true(number < MAX_CALLS);
        int result = attempt(number);
        if (result != (int)struck)
            fail_msg("call %u failed with %d, and the result is %d", number, (int)struck, result);
        if (struck == 0)
            break;
    }
    print_message("%u calls\n", number - 1);
    assert_true(number > 1);
}
