/*
 * Runs single test cases: TEST='*lanes*' test/unit/send_queue_test runs the cases whose names match
 * the pattern (* and ?) and leaves the others out. It is linked into every test program and acts
 * before main(), so that the programs need no argument parsing of their own.
 */
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

__attribute__((constructor)) static void test_filter_from_environment(void)
{
    const char *pattern = getenv("TEST");

    if (pattern != NULL && pattern[0] != '\0')
        cmocka_set_test_filter(pattern);
}
